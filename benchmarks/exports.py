"""Export a catalogue in each format, beside plain writers of the same table.

    python benchmarks/exports.py [--statements 1000000] [--only source,csv-wide]
        [--out FILE]

The catalogue is that of ``benchmarks/ingest.py``, in the embedded store; the colour of every tenth
item is missing in its file, and accepted in the store, so that ``source`` fills it in. Each export
is a process of its own, which is timed as a whole. A peer writes the same wide table from memory,
which it reads with pyarrow first: it looks up nothing, sorts nothing and checks nothing.

- ``pyarrow``: pyarrow's CSV writer
- ``polars``, ``xlsxwriter``: its CSV writer, and a workbook in constant memory, if installed
- ``cp``: the bytes of the source's file
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.ingest import HEADER, PROPERTIES, ROOT, write_table

COLOUR = HEADER.index("colour")
FORMATS: dict[str, tuple[str, str, str | None]] = {
    # The name of the file or folder, the options, and the peer that writes the same.
    "source": ("items.csv", "--format source", "cp"),
    "csv-wide": ("wide.csv", "--format csv --wide", "polars"),
    "xlsx": ("items.xlsx", "--format xlsx", "xlsxwriter"),
    "google-merchant": ("feed.tsv", "--format google-merchant", "polars"),
    "google-merchant-xml": ("feed.xml", "--format google-merchant", None),
    "shopify": ("shopify.csv", "--format shopify", "polars"),
    "csv": ("csv", "--format csv", None),
    "parquet": ("parquet", "--format parquet", None),
    "pykeen": ("pykeen", "--format pykeen", None),
    "neo4j-import": ("neo4j", "--format neo4j-import", None),
    "jsonld": ("items.jsonld", "--format jsonld", None),
    "graphml": ("items.graphml", "--format graphml", None),
    "ttl": ("items.ttl", "--format ttl", None),
    "nq": ("items.nq", "--format nq", None),
}


@dataclass(frozen=True)
class Measured:
    """One process: seconds from its start to its end, seconds of processors, and peak memory."""

    seconds: float
    cpu_seconds: float
    peak_mb: int


def measure(words: list[str]) -> Measured:
    """Run a process to its end; raises SystemExit if it fails."""
    started = time.perf_counter()
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(words)} failed with exit code {process.returncode}")
    cpu = usage.ru_utime + usage.ru_stime
    return Measured(round(seconds, 2), round(cpu, 2), usage.ru_maxrss // 1000)


def make_home(folder: Path, items: int) -> None:
    """Ingest a table without some colours into the folder ``home``, and accept these."""
    from kg.home import Home
    from kg.ingest.pipeline import ingest
    from kg.stores.tables import statements_table
    from schema.terms import Provenance, Rank, Statement

    whole = folder / "whole.csv"
    write_table(whole, items)
    accepted = []
    with (
        whole.open(encoding="utf-8") as lines,
        (folder / "items.csv").open("w", encoding="utf-8") as table,
    ):
        for number, line in enumerate(lines):
            cells = line.split(",")
            if number and number % 10 == 0:
                accepted.append((cells[0], cells[COLOUR]))
                cells[COLOUR] = ""
            table.write(",".join(cells))
    home = Home.open(folder / "home", create=True)
    ingest(home, [folder / "items.csv"])
    reviewed = Provenance("review", reviewer="mo")
    with home.store() as store:
        store.put(
            None,
            statements_table(
                Statement(item, "colour", colour, Rank.ACCEPTED, reviewed)
                for item, colour in accepted
            ),
        )


def read_wide(folder: Path) -> Any:
    """Return the wide table, with every cell as text."""
    import pyarrow as pa
    from pyarrow import csv

    types = dict.fromkeys(HEADER, pa.string())
    return csv.read_csv(
        folder / "items.csv", convert_options=csv.ConvertOptions(column_types=types)
    )


def write_with_pyarrow(folder: Path) -> None:
    """Write the wide table as CSV with pyarrow."""
    from pyarrow import csv

    csv.write_csv(read_wide(folder), folder / "peer.csv")


def write_with_polars(folder: Path) -> None:
    """Write the wide table as CSV with polars."""
    polars = import_module("polars")
    polars.from_arrow(read_wide(folder)).write_csv(folder / "peer.csv")


def write_with_xlsxwriter(folder: Path) -> None:
    """Write the wide table as a workbook with XlsxWriter."""
    xlsxwriter = import_module("xlsxwriter")
    workbook = xlsxwriter.Workbook(folder / "peer.xlsx", {"constant_memory": True})
    sheet = workbook.add_worksheet()
    for at, row in enumerate(zip(*(c.to_pylist() for c in read_wide(folder).columns), strict=True)):
        for column, text in enumerate(row):
            if text:
                sheet.write_string(at, column, text)
    workbook.close()


def copy_file(folder: Path) -> None:
    """Copy the source's file."""
    (folder / "peer.csv").write_bytes((folder / "items.csv").read_bytes())


PEERS: dict[str, Callable[[Path], None]] = {
    "pyarrow": write_with_pyarrow,
    "polars": write_with_polars,
    "xlsxwriter": write_with_xlsxwriter,
    "cp": copy_file,
}


def peer_of(name: str | None) -> str | None:
    """Return a peer that is installed in place of one that may not be."""
    if name in ("polars", "xlsxwriter") and importlib.util.find_spec(name) is None:
        return "pyarrow" if name == "polars" else None
    return name


def main() -> None:
    """Measure each format and its peer, print the figures, and write them if asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--statements", type=int, default=1_000_000)
    parser.add_argument("--only", default=",".join(FORMATS))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        name, place = arguments.child
        if name == "home":
            make_home(Path(place), arguments.statements // PROPERTIES)
        else:
            PEERS[name](Path(place))
        return
    figures: dict[str, Any] = {"statements": arguments.statements}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        child = [sys.executable, __file__, "--statements", str(arguments.statements), "--child"]
        # Not in this process: what it has had in memory would count as that of its children.
        measure([*child, "home", str(folder)])
        peers: dict[str, Measured] = {}
        for name in arguments.only.split(","):
            out, options, peer = FORMATS[name]
            words = [
                sys.executable,
                "cli.py",
                "--home",
                str(folder / "home"),
                "export",
                *options.split(),
            ]
            one = measure([*words, str(folder / "out" / out)])
            figures[name] = asdict(one)
            line = f"{name:<20} {one.seconds:>7.2f} s   cpu {one.cpu_seconds:>7.2f} s"
            line += f"   {one.peak_mb:>6,} MB"
            if (peer := peer_of(peer)) is not None:
                if peer not in peers:
                    peers[peer] = measure([*child, peer, str(folder)])
                ratio = round(peers[peer].cpu_seconds / one.cpu_seconds, 3)
                figures[name] |= {"peer": peer, "ratio": ratio}
                line += f"   {ratio:.3f} x {peer}"
            print(line, flush=True)
        figures["peers"] = {name: asdict(each) for name, each in peers.items()}
    figures["processors"] = os.cpu_count()
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
