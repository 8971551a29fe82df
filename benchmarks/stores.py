"""Writes, scans and looks up the same catalogue in each store, beside the bare driver's UNWIND … MERGE and Oxigraph's bare bulk load.

    python benchmarks/stores.py [--statements 200000] [--only ladybug,rdf,neo4j,rdf+http]

A drawn catalogue, eight statements an item. Neo4j and Fuseki are started on loopback from their jars, as in the tests; Neo4j and its
peer take turns, six times, of which the first does not count. Every store gets
the same Arrow tables in batches of 50,000 statements; the bare peers get the same content, batch by batch, with nothing remembered of it:
no journal, no check of what was there, no counts of what is new.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from kg.stores.open import open_store
from kg.stores.protocol import GraphStore
from kg.stores.tables import items_table, statements_table
from schema.terms import Item, Provenance, Statement
from tests.servers import FusekiServer, Neo4jServer, emptied

BATCH = 50_000
PROPERTIES = 8
LOOKUPS = 300
ROUNDS = 5
MERGE = """
UNWIND $rows AS row MERGE (i:Item {id: row.item}) MERGE (v:Value {text: row.value})
MERGE (i)-[h:HAS {id: row.id}]->(v) SET h.property = row.property, h.rank = row.rank, h.source = row.source, h.batch = row.batch,
h.row = row.row, h.time = row.time
"""
MERGE_ITEMS = "UNWIND $rows AS row MERGE (i:Item {id: row.id}) SET i.title = row.title, i.category = row.category, i.image = row.images[0]"


def drawn(statements: int) -> tuple[pa.Table, list[pa.Table]]:
    """Items, and statements in batches."""
    rng = random.Random(0)
    count = statements // PROPERTIES
    items = [
        Item(f"{n:07}", f"Product number {n}", f"All > Group {n % 40}", (f"images/{n}.jpg",))
        for n in range(count)
    ]
    facts = [
        Statement(
            item.id,
            f"property {p}",
            f"value {int(rng.paretovariate(0.7)) % 2000}",
            provenance=Provenance("items.csv", "run", row=row, time="2026-01-01T00:00:00+00:00"),
        )
        for row, item in enumerate(items)
        for p in range(PROPERTIES)
    ]
    return items_table(items), [
        statements_table(facts[start : start + BATCH]) for start in range(0, len(facts), BATCH)
    ]


def timed(work: Callable[[], Any]) -> float:
    """Seconds that it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def bench_store(store: GraphStore, items: pa.Table, batches: list[pa.Table]) -> dict[str, float]:
    """Statements written and scanned a second, and the median lookup in ms."""
    total = sum(batch.num_rows for batch in batches)

    def write() -> None:
        store.put(items, batches[0])
        for batch in batches[1:]:
            store.put(None, batch)

    wrote = timed(write)
    scanned = timed(lambda: sum(batch.num_rows for batch in store.scan()))
    ids = random.Random(1).choices(items["id"].to_pylist(), k=LOOKUPS)
    lookups = [timed(partial(store.item, name)) for name in ids]
    counts = store.counts()
    if counts.statements != total:
        raise SystemExit(f"{store.url} holds {counts.statements:,} of {total:,} statements")
    return {
        "write": total / wrote,
        "scan": total / scanned,
        "lookup_ms": statistics.median(lookups) * 1e3,
    }


def neo4j_round(url: str, items: pa.Table, batches: list[pa.Table]) -> dict[str, float]:
    """The figures of a Neo4j graph that is empty at first."""
    with open_store(emptied(url)) as store:
        return bench_store(store, items, batches)


def bare_merge(url: str, items: pa.Table, batches: list[pa.Table]) -> float:
    """Statements a second by the driver alone, the same constraints there."""
    import neo4j

    with neo4j.GraphDatabase.driver(url, auth=("neo4j", os.environ["NEO4J_PASSWORD"])) as driver:
        rows = [batch.to_pylist() for batch in batches]
        given = items.to_pylist()

        def write() -> None:
            driver.execute_query(MERGE_ITEMS, rows=given)
            for part in rows:
                driver.execute_query(MERGE, rows=part)

        return sum(batch.num_rows for batch in batches) / timed(write)


def bare_bulk_load(folder: Path, items: pa.Table, batches: list[pa.Table]) -> float:
    """Statements a second by Oxigraph alone, from N-Quads of the same content."""
    from pyoxigraph import RdfFormat, Store, serialize

    from kg.stores.rdf_terms import fact_quads, item_quads

    rows = [quad for row in items.to_pylist() for quad in item_quads(row)]
    facts = ([quad for row in batch.to_pylist() for quad in fact_quads(row)] for batch in batches)
    files = [
        serialize([*rows, *quads] if n == 0 else quads, format=RdfFormat.N_QUADS)
        for n, quads in enumerate(facts)
    ]
    store = Store(str(folder / "bare"))

    def write() -> None:
        for data in files:
            store.bulk_load(data, format=RdfFormat.N_QUADS)
        store.flush()

    return sum(batch.num_rows for batch in batches) / timed(write)


@contextmanager
def running(server: Any) -> Iterator[str]:
    """A started server's URL."""
    server.start()
    try:
        yield server.url
    finally:
        server.kill()


def bench(kind: str, folder: Path, items: pa.Table, batches: list[pa.Table]) -> dict[str, Any]:
    """One store's figures, with its peer's where it has one."""
    if kind == "neo4j":
        os.environ["NEO4J_PASSWORD"] = Neo4jServer.password
        with running(Neo4jServer(folder / "neo4j")) as url:
            rounds = [
                (neo4j_round(url, items, batches), bare_merge(emptied(url), items, batches))
                for _ in range(ROUNDS + 1)
            ]
        # A server's first round is slow, while Java compiles: neither side's counts.
        found = {
            name: statistics.median(ours[name] for ours, _ in rounds[1:]) for name in rounds[0][0]
        }
        bare = statistics.median(bare for _, bare in rounds[1:])
        return {
            **found,
            "peer": "bare UNWIND … MERGE",
            "peer_write": bare,
            "ratio": found["write"] / bare,
        }
    if kind == "rdf+http":
        with running(FusekiServer(folder / "fuseki")) as url, open_store(url) as store:
            return dict(bench_store(store, items, batches))
    with open_store(f"{kind}:{folder / kind}") as store:
        found = bench_store(store, items, batches)
    if kind == "rdf":
        bare = bare_bulk_load(folder, items, batches)
        return {
            **found,
            "peer": "bare bulk load",
            "peer_write": bare,
            "ratio": found["write"] / bare,
        }
    return dict(found)


def main() -> None:
    """Print a line a store, and write figures/stores.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--statements", type=int, default=200_000)
    parser.add_argument("--only", default="memory,ladybug,neo4j,rdf,rdf+http")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    Neo4jServer.heap = FusekiServer.heap = "4g"
    items, batches = drawn(args.statements)
    rows = []
    for kind in args.only.split(","):
        with tempfile.TemporaryDirectory() as folder:
            row = {
                "store": kind,
                "statements": args.statements,
                **bench(kind, Path(folder), items, batches),
            }
        rows.append(row)
        figures = f"write {row['write']:>9,.0f}/s   scan {row['scan']:>9,.0f}/s   lookup {row['lookup_ms']:>7.2f} ms"
        peer = (
            f"   {row['ratio']:.2f} x {row['peer']} ({row['peer_write']:,.0f}/s)"
            if "peer" in row
            else ""
        )
        print(f"{kind:<9} {figures}{peer}", flush=True)
    if args.out:
        args.out.write_text(json.dumps({"stores": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
