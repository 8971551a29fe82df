"""Measure the embedded store: storing, looking up an item, and `show` and `stats` as processes.

    python benchmarks/lookup.py [--statements 1000000] [--lookups 1000] [--rounds 5] [--out FILE]

The catalogue has ten statements about each item. It is stored in the batches that `ingest` makes.
Peers get the same tables in the same run: for storing, three COPY of everything at once into a bare
Ladybug database without provenance; for a lookup, SQLite with an index on the statements' item, and
the bare database with two queries on one connection. Where it says CPU, user and system time are
meant, which other programs on the machine change less than the time on the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from kg.home import Home
from kg.stores.open import open_store
from kg.stores.tables import ITEM_SCHEMA, STATEMENT_SCHEMA, statement_ids

ROOT = Path(__file__).resolve().parent.parent
PROPERTIES = 10
BATCH_ITEMS = 7_692
VALUES = (5_000,) * 8 + (50_000,) * 2
"""How many values each property has."""
Batch = tuple[pa.Table, pa.Table]
"""Items, and the statements about them."""


def batches(items: int) -> Iterator[Batch]:
    """Yield a synthetic catalogue in batches."""
    rng = np.random.default_rng(0)
    for first in range(0, items, BATCH_ITEMS):
        count = min(BATCH_ITEMS, items - first)
        yield _items(first, count), _statements(first, count, rng)


def _items(first: int, count: int) -> pa.Table:
    numbers = range(first, first + count)
    columns = {
        "id": [_id(number) for number in numbers],
        "title": [f"Product number {number}" for number in numbers],
        "category": [f"All > Group {number % 40}" for number in numbers],
        "images": [[f"images/{number}.jpg"] for number in numbers],
    }
    return _filled(columns, count, ITEM_SCHEMA)


def _statements(first: int, count: int, rng: np.random.Generator) -> pa.Table:
    drawn = np.stack([rng.integers(0, values, count) for values in VALUES], axis=1)
    rows = count * PROPERTIES
    item = pa.array([_id(first + row // PROPERTIES) for row in range(rows)])
    names = pa.array([f"property {row % PROPERTIES}" for row in range(rows)])
    texts = [f"value {row % PROPERTIES}-{text}" for row, text in enumerate(drawn.ravel().tolist())]
    value = pa.array(texts)
    columns = {
        "id": statement_ids(item, names, value, pa.nulls(rows, pa.string())),
        "item": item,
        "property": names,
        "value": value,
        "rank": ["asserted"] * rows,
        "source": ["items.csv"] * rows,
        "batch": ["20260101T000000-0a1b2c3d"] * rows,
        "row": [first + row // PROPERTIES + 2 for row in range(rows)],
        "time": ["2026-01-01T00:00:00+00:00"] * rows,
    }
    return _filled(columns, rows, STATEMENT_SCHEMA)


def _id(number: int) -> str:
    return f"I{number:07}"


def _filled(columns: dict[str, Any], rows: int, schema: pa.Schema) -> pa.Table:
    """Return a table in a schema; the columns that are not given are empty."""
    given = {field.name: columns.get(field.name, pa.nulls(rows, field.type)) for field in schema}
    return pa.table(given, schema=schema)


def cpu_seconds(work: Callable[[], Any]) -> float:
    """Return how much CPU time some work takes."""
    began = time.process_time()
    work()
    return time.process_time() - began


def store_catalogue(url: str, items: int) -> dict[str, float]:
    """Store a catalogue; return the CPU time for that alone."""
    store = open_store(url)
    spent = sum(cpu_seconds(partial(store.put, *batch)) for batch in batches(items))
    spent += cpu_seconds(store.close)
    return {"cpu_seconds": spent, "statements_per_cpu_second": items * PROPERTIES / spent}


class BareLadybug:
    """A Ladybug database with items, values and the property between them, and nothing else."""

    name = "bare Ladybug"

    def __init__(self, folder: Path, catalogue: list[Batch]) -> None:
        import ladybug

        self._database = ladybug.Database(str(folder / "bare"), buffer_pool_size=1 << 30)
        self._connection = ladybug.Connection(self._database)
        for text in (
            "CREATE NODE TABLE Item(id STRING PRIMARY KEY, title STRING, category STRING)",
            "CREATE NODE TABLE Value(text STRING PRIMARY KEY)",
            "CREATE REL TABLE HAS(FROM Item TO Value, property STRING)",
        ):
            self._connection.execute(text)
        items = pa.concat_tables([each[0] for each in catalogue])
        statements = pa.concat_tables([each[1] for each in catalogue])
        self.cpu_seconds = cpu_seconds(lambda: self._load(items, statements))

    def _load(self, items: pa.Table, statements: pa.Table) -> None:
        values = pa.table({"text": statements["value"].unique()})
        for label, rows in (
            ("Item", items.select(["id", "title", "category"])),
            ("Value", values),
            ("HAS", statements.select(["item", "value", "property"])),
        ):
            self._connection.execute(f"COPY {label} FROM $rows", {"rows": rows})

    def item(self, id: str) -> tuple[list[Any], list[Any]]:
        """Return an item and its statements."""
        match = "MATCH (i:Item {id: $id})"
        params = {"id": id}
        found: Any = self._connection.execute(f"{match} RETURN i.id, i.title, i.category", params)
        text = f"{match} MATCH (i)-[h:HAS]->(v:Value) RETURN h.property, v.text"
        rows: Any = self._connection.execute(text, params)
        return found.get_all(), rows.get_all()

    def close(self) -> None:
        """Release the database."""
        self._connection.close()
        self._database.close()


class SQLite:
    """A table of items and one of statements with all their columns, indexed by the item."""

    name = "SQLite"

    def __init__(self, folder: Path, catalogue: list[Batch]) -> None:
        self._database = sqlite3.connect(folder / "lookup.sqlite")
        # One of them is a word of SQL.
        names = [f'"{name}"' for name in STATEMENT_SCHEMA.names]
        self._database.execute("CREATE TABLE items(id TEXT PRIMARY KEY, title, category)")
        self._database.execute(f"CREATE TABLE statements({', '.join(names)})")
        for items, statements in catalogue:
            rows = items.select(["id", "title", "category"])
            self._insert("items", rows)
            self._insert("statements", statements)
        self._database.execute("CREATE INDEX by_item ON statements(item)")
        self._database.commit()

    def _insert(self, table: str, rows: pa.Table) -> None:
        places = ", ".join("?" * rows.num_columns)
        columns = [column.to_pylist() for column in rows.columns]
        cells = zip(*columns, strict=True)
        self._database.executemany(f"INSERT INTO {table} VALUES ({places})", cells)

    def item(self, id: str) -> tuple[list[Any], list[Any]]:
        """Return an item and its statements."""
        found = self._database.execute("SELECT * FROM items WHERE id = ?", (id,)).fetchall()
        rows = self._database.execute("SELECT * FROM statements WHERE item = ?", (id,))
        return found, rows.fetchall()

    def close(self) -> None:
        """Release the database."""
        self._database.close()


def measure_lookups(lookup: Callable[[str], Any], ids: list[str]) -> dict[str, float]:
    """Return the median and the 99th percentile of lookups, in milliseconds on the clock."""
    milliseconds = []
    for id in ids:
        began = time.perf_counter()
        found = lookup(id)
        milliseconds.append((time.perf_counter() - began) * 1e3)
        if len(found[1]) != PROPERTIES:
            raise SystemExit(f"{id} has {len(found[1])} statements, not {PROPERTIES}")
    quantiles = statistics.quantiles(milliseconds, n=100)
    return {"p50_ms": statistics.median(milliseconds), "p99_ms": quantiles[98]}


def measure_process(home: Path, words: tuple[str, ...], rounds: int) -> dict[str, float]:
    """Return the medians of a command's time on the clock and of its CPU time, in seconds."""
    clock = []
    cpu = []
    for _ in range(rounds):
        began = time.perf_counter()
        command = [sys.executable, str(ROOT / "cli.py"), "--home", str(home), "--json", *words]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        # wait4() gives the resources that this one process has used.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{' '.join(words)} ends with exit code {process.returncode}")
        clock.append(time.perf_counter() - began)
        cpu.append(usage.ru_utime + usage.ru_stime)
    return {"seconds": statistics.median(clock), "cpu_seconds": statistics.median(cpu)}


def measure(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Return all figures."""
    items = args.statements // PROPERTIES
    home = Home.open(folder / "home", create=True)
    figures: dict[str, Any] = {"statements": items * PROPERTIES, "items": items}
    figures["store"] = store_catalogue(home.store_url, items)

    catalogue = list(batches(items))
    ids = [_id(number) for number in random.Random(1).choices(range(items), k=args.lookups)]
    lookups: dict[str, dict[str, float]] = {}
    with home.store(read_only=True) as store:
        store.item(ids[0])
        lookups["store"] = measure_lookups(store.item, ids)
    for kind in (BareLadybug, SQLite):
        with closing(kind(folder, catalogue)) as peer:
            peer.item(ids[0])
            lookups[peer.name] = measure_lookups(peer.item, ids)
            if isinstance(peer, BareLadybug):
                figures["bare_copy_cpu_seconds"] = peer.cpu_seconds
    figures["ratio_to_bare_copy"] = (
        figures["bare_copy_cpu_seconds"] / (figures["store"]["cpu_seconds"])
    )
    figures["lookups"] = lookups
    figures["show"] = measure_process(folder / "home", ("show", ids[0]), args.rounds)
    figures["stats"] = measure_process(folder / "home", ("stats",), args.rounds)
    return figures


def main() -> None:
    """Print the figures, and write them to a file if one is given."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--statements", type=int, default=1_000_000)
    parser.add_argument("--lookups", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), args)
    print(json.dumps(figures, indent=1))
    if args.out:
        args.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
