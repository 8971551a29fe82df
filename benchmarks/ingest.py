"""Ingest made-up products end to end, beside bare loads of the same triples.

    python benchmarks/ingest.py [--statements 1000000] [--rounds 1] [--only catalograph,bare-copy]
        [--sizes 10000,100000,1000000,5000000] [--out benchmarks/figures/ingest.json]

The table has ten properties, of which a few have a handful of values and others one for each item
(an EAN), besides a title and a category. Each load is a process of its own, started afresh, which
is timed as a whole, from its start to its end:

- ``catalograph``: ``catalograph ingest`` into a new home with the embedded store
- ``bare-copy``: the table read and turned into triples by Arrow, and COPY into Ladybug, once
- ``rdflib``: rdflib's parse of the same triples as N-Triples, into memory
- ``oxigraph``: Oxigraph's bulk load of that file into a store on disk

The peers keep no journal, clean nothing, know no provenance and infer no ontology. A second process
of Catalograph's tells how its time divides into stages, since to time each takes time itself.

Catalograph then ingests into one home three times, in processes of their own: ``unchanged`` is the
same table once more, and of ``1% changed`` one row in a hundred has another price. The ratios say
how many times as long the first ingest took. With ``--sizes`` the cost of an ingest is measured at
each number of statements, and the slope of its logarithm by that of the size is printed: 1 means
that twice as much takes twice as long.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

PROPERTIES = 10
ROOT_CATEGORIES = "Home Garden Office Sport Toys Fashion".split()
WORDS = "red blue cotton steel mug lamp large small round outdoor light solid oak glass".split()
COUNTRIES = "Germany France Italy Spain Poland China Japan India Brazil Mexico".split()
SIZES = "XS S M L XL XXL".split()
HEADER = (
    *("id", "title", "category"),
    *("brand", "colour", "material", "size", "weight", "width", "price", "ean", "model", "country"),
)
NAMESPACE = "https://shop.example/"
NO_STAGE = "rest"
UNCHANGED = "unchanged"
CHANGED = "1% changed"


@dataclass
class Stages:
    """The seconds that the stages of an ingest take, of the wall clock and of the processors."""

    wall: dict[str, float] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)
    _running: list[str] = field(default_factory=list)
    _since: tuple[float, float] = (0.0, 0.0)

    def begin(self, stage: str) -> None:
        """Begin a stage within the one that runs, which stops meanwhile."""
        self._count()
        self._running.append(stage)

    def end(self) -> None:
        """End the stage that began last."""
        self._count()
        self._running.pop()

    def _count(self) -> None:
        now = time.perf_counter(), time.process_time()
        if self._running:
            stage = self._running[-1]
            self.wall[stage] = self.wall.get(stage, 0.0) + now[0] - self._since[0]
            self.cpu[stage] = self.cpu.get(stage, 0.0) + now[1] - self._since[1]
        self._since = now

    def timed(self, stage: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that does some work as a stage."""

        def wrapped(*arguments: Any, **named: Any) -> Any:
            self.begin(stage)
            try:
                return work(*arguments, **named)
            finally:
                self.end()

        return wrapped

    def timed_steps(
        self, stage: str, work: Callable[..., Iterator[Any]]
    ) -> Callable[..., Iterator[Any]]:
        """Return a generator function whose every step is a stage."""

        def wrapped(*arguments: Any, **named: Any) -> Iterator[Any]:
            steps = work(*arguments, **named)
            while (step := self.timed(stage, next)(steps, None)) is not None:
                yield step

        return wrapped


@dataclass(frozen=True)
class Measured:
    """One load: seconds from the process's start to its end, of processors, and peak memory."""

    seconds: float
    cpu_seconds: float
    peak_mb: int
    stages: dict[str, dict[str, float]] | None = None


def write_table(path: Path, items: int) -> None:
    """Write a table of products; the same number gives the same bytes."""
    rng = random.Random(items)
    categories = [
        f"{rng.choice(ROOT_CATEGORIES)} > {rng.choice(WORDS).title()} > Group {number}"
        for number in range(200)
    ]
    brands = [f"{rng.choice(WORDS).title()} & Sons {number}" for number in range(800)]
    colours = [f"{first} {second}" for first in WORDS[:6] for second in WORDS[4:10]]
    with path.open("w", encoding="utf-8") as stream:
        stream.write(",".join(HEADER) + "\n")
        for number in range(items):
            cells = (
                f"I{number:07}",
                f"{rng.choice(WORDS).title()} {rng.choice(WORDS)} {rng.choice(WORDS)} {number}",
                rng.choice(categories),
                rng.choice(brands),
                rng.choice(colours),
                rng.choice(WORDS),
                rng.choice(SIZES),
                f"{rng.randrange(1, 9000) / 100:.2f} kg",
                f"{rng.randrange(10, 2500) / 10:.1f} cm",
                f"{rng.randrange(100, 30_000) / 100:.2f} EUR",
                ean_of(400_000_000_000 + number),
                f"{rng.choice('ABCDEFGH')}X-{rng.randrange(10 * items):06}",
                rng.choice(COUNTRIES),
            )
            stream.write(",".join(cells) + "\n")


def ean_of(number: int) -> str:
    """Return twelve digits with the check digit of an EAN."""
    digits = f"{number:012}"
    total = sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(digits))
    return f"{digits}{-total % 10}"


def write_triples(table: Path, path: Path) -> None:
    """Write the triples of a table as N-Triples, titles and categories included."""
    names = [f"<{NAMESPACE}property/{name}>" for name in HEADER[1:]]
    with table.open(encoding="utf-8") as rows, path.open("w", encoding="utf-8") as stream:
        next(rows)
        for row in rows:
            id, *cells = row.rstrip("\n").split(",")
            item = f"<{NAMESPACE}item/{id}>"
            stream.writelines(
                f'{item} {name} "{cell}" .\n' for name, cell in zip(names, cells, strict=True)
            )


def ingest_table(table: Path, folder: Path) -> None:
    """Ingest a table with Catalograph."""
    from kg.home import Home
    from kg.ingest.pipeline import ingest

    report = ingest(Home.open(folder / "home", create=True), [table])
    if report.rejected or report.new_statements != PROPERTIES * report.read:
        raise SystemExit(f"{report.new_statements:,} statements of {report.read:,} items")


def ingest_again(table: Path, folder: Path) -> None:
    """Ingest a table with Catalograph into the home beside it, which has ingested it before."""
    from kg.home import Home
    from kg.ingest.pipeline import ingest

    report = ingest(Home.open(table.parent / "home", create=True), [table])
    if report.rejected or not report.read:
        raise SystemExit(f"{report.rejected:,} of {report.read:,} rows were rejected")


def change_prices(table: Path, rows: int) -> None:
    """Write other prices into some rows of a table, which lie all over it."""
    lines = table.read_text(encoding="utf-8").splitlines(keepends=True)
    place = HEADER.index("price")
    rng = random.Random(rows)
    for number in rng.sample(range(1, len(lines)), rows):
        cells = lines[number].split(",")
        amount, currency = cells[place].split()
        cells[place] = f"{float(amount) + 1:.2f} {currency}"
        lines[number] = ",".join(cells)
    table.write_text("".join(lines), encoding="utf-8")


def ingest_in_stages(table: Path, folder: Path) -> Stages:
    """Ingest a table with Catalograph, and tell how the time divides into stages."""
    stages = Stages()
    stages.begin("start")
    import kg.ingest.assemble as assemble
    import kg.ingest.pipeline as pipeline
    import kg.ingest.source as source
    import kg.ingest.source_plan as source_plan
    import kg.stores.journal as journal
    import kg.stores.journaled as journaled
    import kg.stores.ladybug_graph as graph

    stages.end()
    for stage, place, name in (
        ("plan", pipeline, "plan_sources"),
        ("assemble", source_plan, "rows_of_batch"),
        ("assemble", assemble.Assembler, "assemble_rows"),
        ("journal", journal.Journal, "add"),
        ("graph", journaled.JournaledStore, "put"),
        ("graph", graph.LadybugGraph, "apply"),
        ("graph", journaled.JournaledStore, "close"),
        ("ontology", pipeline, "refresh_ontology"),
    ):
        setattr(place, name, stages.timed(stage, getattr(place, name)))
    read = stages.timed_steps("read", source.Source.batches)
    setattr(source.Source, "batches", read)  # noqa: B010  # mypy refuses to assign a method
    stages.timed(NO_STAGE, ingest_table)(table, folder)
    return stages


def copy_bare(table: Path, folder: Path) -> None:
    """Load the triples of a table into Ladybug by COPY alone."""
    import ladybug
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import csv

    read = csv.read_csv(
        table,
        convert_options=csv.ConvertOptions(column_types=dict.fromkeys(HEADER, pa.string())),
    ).combine_chunks()
    properties = HEADER[-PROPERTIES:]
    count = read.num_rows
    values = pa.concat_arrays([read[name].combine_chunks() for name in properties])
    triples = pa.table(
        {
            "item": pa.concat_arrays([read["id"].combine_chunks()] * PROPERTIES),
            "value": values,
            "property": pa.concat_arrays(
                [pa.repeat(pa.scalar(name, pa.string()), count) for name in properties]
            ),
        }
    )
    database = ladybug.Database(str(folder / "bare.lbug"), buffer_pool_size=1 << 31)
    connection = ladybug.Connection(database)
    for text in (
        "CREATE NODE TABLE Item(id STRING PRIMARY KEY, title STRING, category STRING)",
        "CREATE NODE TABLE Value(text STRING PRIMARY KEY)",
        "CREATE REL TABLE HAS(FROM Item TO Value, property STRING)",
    ):
        connection.execute(text)
    items = read.select(["id", "title", "category"])
    distinct = pa.table({"text": pc.unique(values)})
    for name, rows in (("Item", items), ("Value", distinct), ("HAS", triples)):
        connection.execute(f"COPY {name} FROM $rows", {"rows": rows})
    connection.execute("CHECKPOINT")
    connection.close()
    database.close()


def parse_with_rdflib(triples: Path, folder: Path) -> None:
    """Parse N-Triples into rdflib's memory."""
    import rdflib

    rdflib.Graph().parse(triples, format="nt")


def load_into_oxigraph(triples: Path, folder: Path) -> None:
    """Load N-Triples into an Oxigraph store on disk."""
    from pyoxigraph import RdfFormat, Store

    store = Store(str(folder / "oxigraph"))
    store.bulk_load(path=str(triples), format=RdfFormat.N_TRIPLES)
    store.flush()


PEERS: dict[str, Callable[[Path, Path], None]] = {
    "bare-copy": copy_bare,
    "rdflib": parse_with_rdflib,
    "oxigraph": load_into_oxigraph,
}


def measure(name: str, source: Path) -> Measured:
    """Load a file in a process of its own; raises SystemExit if that fails."""
    with tempfile.TemporaryDirectory(dir=source.parent) as folder:
        words = [sys.executable, __file__, "--child", name, str(source), folder]
        out = Path(folder) / "stages.json"
        started = time.perf_counter()
        process = subprocess.Popen(words, cwd=ROOT)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{name} failed with exit code {process.returncode}")
        stages = json.loads(out.read_text()) if out.exists() else None
    cpu = usage.ru_utime + usage.ru_stime
    return Measured(round(seconds, 2), round(cpu, 2), usage.ru_maxrss // 1000, stages)


def measure_again(folder: Path, statements: int, rounds: int) -> dict[str, Any]:
    """Return the figures of an ingest, and of those of the same and of nearly the same table."""
    names = ("first", UNCHANGED, CHANGED)
    measured: dict[str, list[Measured]] = {name: [] for name in names}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(dir=folder) as place:
            table = Path(place) / "items.csv"
            write_table(table, statements // PROPERTIES)
            for name in names:
                if name == CHANGED:
                    change_prices(table, max(1, statements // PROPERTIES // 100))
                measured[name].append(measure("again", table))
    figures: dict[str, Any] = {}
    medians = {name: median_of(each) for name, each in measured.items()}
    first = medians["first"]
    for name, one in medians.items():
        figures[name] = {
            **asdict(one),
            "first_by_this": round(first.seconds / one.seconds, 2),
            "first_by_this_cpu": round(first.cpu_seconds / one.cpu_seconds, 2),
        }
        del figures[name]["stages"]
        print(
            f"{name:<12} {one.seconds:>7.2f} s   cpu {one.cpu_seconds:>7.2f} s   "
            f"{figures[name]['first_by_this']:>6.2f} x as fast   {one.peak_mb:>6,} MB",
            flush=True,
        )
    return figures


def run_child(name: str, source: Path, folder: Path) -> None:
    """Do what a process of its own was started for."""
    if name == "catalograph":
        ingest_table(source, folder)
    elif name == "again":
        ingest_again(source, folder)
    elif name == "stages":
        stages = ingest_in_stages(source, folder)
        total = sum(stages.wall.values())
        document = {
            stage: {
                "seconds": round(stages.wall[stage], 3),
                "cpu_seconds": round(stages.cpu[stage], 3),
                "share": round(stages.wall[stage] / total, 3),
            }
            for stage in stages.wall
        }
        (folder / "stages.json").write_text(json.dumps(document))
    else:
        PEERS[name](source, folder)


def median_of(measured: list[Measured]) -> Measured:
    """Return the load of the median time."""
    ordered = sorted(measured, key=lambda each: each.seconds)
    return ordered[len(ordered) // 2]


def slope_of(points: list[tuple[int, float]]) -> float:
    """Return the slope of the line through the logarithms of sizes and costs."""
    sizes, costs = zip(*((math.log(size), math.log(cost)) for size, cost in points), strict=True)
    return statistics.linear_regression(sizes, costs).slope


def compare(folder: Path, statements: int, rounds: int, only: list[str]) -> dict[str, Any]:
    """Return the figures of Catalograph and of its peers, which take turns."""
    table = folder / "items.csv"
    triples = folder / "items.nt"
    write_table(table, statements // PROPERTIES)
    if not {"rdflib", "oxigraph"}.isdisjoint(only):
        write_triples(table, triples)
    loads: dict[str, list[Measured]] = {name: [] for name in only}
    for _ in range(rounds):
        for name in only:
            source = triples if name in ("rdflib", "oxigraph") else table
            loads[name].append(measure(name, source))
    figures: dict[str, Any] = {"statements": statements, "items": statements // PROPERTIES}
    for name, measured in loads.items():
        one = median_of(measured)
        rate = round(statements / one.seconds)
        figures[name] = {**asdict(one), "statements_per_second": rate}
        del figures[name]["stages"]
        print(
            f"{name:<12} {one.seconds:>7.2f} s   cpu {one.cpu_seconds:>7.2f} s   "
            f"{rate:>9,} statements/s   {one.peak_mb:>6,} MB",
            flush=True,
        )
    if "catalograph" in only:
        own = figures["catalograph"]["seconds"]
        figures["ratios"] = {
            name: round(figures[name]["seconds"] / own, 2) for name in only if name in PEERS
        }
        figures["stages"] = measure("stages", table).stages
        for name, ratio in figures["ratios"].items():
            print(f"{ratio:.2f} x {name}", flush=True)
        for name, each in figures["stages"].items():
            print(
                f"  {name:<10} {each['seconds']:>7.2f} s   cpu {each['cpu_seconds']:>7.2f} s   "
                f"{each['share']:>6.1%}",
                flush=True,
            )
    return figures


def scale(folder: Path, sizes: list[int]) -> dict[str, Any]:
    """Return the cost of an ingest of each number of statements, and the slope."""
    rows = []
    for size in sizes:
        table = folder / f"{size}.csv"
        write_table(table, size // PROPERTIES)
        one = measure("catalograph", table)
        table.unlink()
        rows.append({"statements": size, **asdict(one)})
        del rows[-1]["stages"]
        print(
            f"{size:>10,} statements {one.seconds:>7.2f} s   cpu {one.cpu_seconds:>7.2f} s   "
            f"{one.peak_mb:>6,} MB",
            flush=True,
        )
    slope = slope_of([(row["statements"], row["cpu_seconds"]) for row in rows])
    print(f"slope of the processors' seconds: {slope:.3f}", flush=True)
    return {"sizes": rows, "slope": round(slope, 3)}


def main() -> None:
    """Compare, measure the sizes if some are given, and write the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--statements", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", default=",".join(("catalograph", *PEERS)))
    parser.add_argument("--sizes", default="")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        name, source, folder = arguments.child
        run_child(name, Path(source), Path(folder))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        only = arguments.only.split(",")
        figures = compare(folder, arguments.statements, arguments.rounds, only)
        if "catalograph" in only:
            figures["again"] = measure_again(folder, arguments.statements, arguments.rounds)
        figures["processors"] = os.cpu_count()
        if arguments.sizes:
            figures |= scale(folder, [int(size) for size in arguments.sizes.split(",")])
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
