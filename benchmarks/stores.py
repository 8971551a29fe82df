"""Measure how fast each store writes, scans and looks up the same catalogue.

    python benchmarks/stores.py [--statements 200000] [--only ladybug,rdf,neo4j,rdf+http]

The catalogue is synthetic and has eight statements per item. Every store gets the same Arrow tables
in batches of 50,000 statements. Two of them are compared with a bare peer: Neo4j with the driver's
``UNWIND ... MERGE``, RDF with Oxigraph's bulk load. The peers get the same content in the same
batches, but keep no journal, do not check what exists, and do not count what is new.

Neo4j and Fuseki are started on loopback from their jars, as in the tests. Neo4j and its peer take
turns, six times, and the first round does not count.
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
from collections.abc import Callable
from dataclasses import dataclass
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

BATCH_STATEMENTS = 50_000
PROPERTIES = 8
LOOKUPS = 300
ROUNDS = 5
MERGE_STATEMENTS = """
UNWIND $rows AS row
MERGE (i:Item {id: row.item})
MERGE (v:Value {text: row.value})
MERGE (i)-[h:HAS {id: row.id}]->(v)
SET h.property = row.property, h.rank = row.rank, h.source = row.source, h.batch = row.batch,
    h.row = row.row, h.time = row.time
"""
MERGE_ITEMS = """
UNWIND $rows AS row
MERGE (i:Item {id: row.id})
SET i.title = row.title, i.category = row.category, i.image = row.images[0]
"""


@dataclass(frozen=True)
class Catalogue:
    """Items, and their statements in batches."""

    items: pa.Table
    batches: list[pa.Table]

    @property
    def statements(self) -> int:
        """The number of statements."""
        return sum(batch.num_rows for batch in self.batches)


def make_catalogue(statements: int) -> Catalogue:
    """Return a synthetic catalogue with about this many statements."""
    rng = random.Random(0)
    items = [
        Item(f"{n:07}", f"Product number {n}", f"All > Group {n % 40}", (f"images/{n}.jpg",))
        for n in range(statements // PROPERTIES)
    ]
    rows = []
    for number, item in enumerate(items):
        provenance = Provenance("items.csv", "run", row=number, time="2026-01-01T00:00:00+00:00")
        for property in range(PROPERTIES):
            # A few values are very frequent, and most are rare.
            value = f"value {int(rng.paretovariate(0.7)) % 2000}"
            rows.append(Statement(item.id, f"property {property}", value, provenance=provenance))
    batches = [
        statements_table(rows[start : start + BATCH_STATEMENTS])
        for start in range(0, len(rows), BATCH_STATEMENTS)
    ]
    return Catalogue(items_table(items), batches)


def seconds(work: Callable[[], Any]) -> float:
    """Return how long some work takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure_store(store: GraphStore, catalogue: Catalogue) -> dict[str, float]:
    """Return statements written and scanned per second, and the median lookup in milliseconds."""

    def write() -> None:
        store.put(catalogue.items, catalogue.batches[0])
        for batch in catalogue.batches[1:]:
            store.put(None, batch)

    write_seconds = seconds(write)
    scan_seconds = seconds(lambda: sum(batch.num_rows for batch in store.scan()))
    ids = random.Random(1).choices(catalogue.items["id"].to_pylist(), k=LOOKUPS)
    lookup_seconds = [seconds(partial(store.item, id)) for id in ids]
    counts = store.counts()
    if counts.statements != catalogue.statements:
        raise SystemExit(
            f"{store.url} holds {counts.statements:,} of {catalogue.statements:,} statements"
        )
    return {
        "write": catalogue.statements / write_seconds,
        "scan": catalogue.statements / scan_seconds,
        "lookup_ms": statistics.median(lookup_seconds) * 1e3,
    }


def measure_bare_merge(url: str, catalogue: Catalogue) -> float:
    """Return statements written per second by Neo4j's driver alone; the constraints must exist."""
    import neo4j

    with neo4j.GraphDatabase.driver(url, auth=("neo4j", Neo4jServer.password)) as driver:
        items = catalogue.items.to_pylist()
        batches = [batch.to_pylist() for batch in catalogue.batches]

        def write() -> None:
            driver.execute_query(MERGE_ITEMS, rows=items)
            for rows in batches:
                driver.execute_query(MERGE_STATEMENTS, rows=rows)

        return catalogue.statements / seconds(write)


def measure_bare_bulk_load(folder: Path, catalogue: Catalogue) -> float:
    """Return statements loaded per second by Oxigraph alone, from N-Quads of the same content."""
    from pyoxigraph import RdfFormat, Store

    from kg.stores.rdf_terms import item_nquads, statement_nquads

    items = "".join(map(item_nquads, catalogue.items.to_pylist()))
    files = ["".join(map(statement_nquads, batch.to_pylist())) for batch in catalogue.batches]
    files[0] = items + files[0]
    store = Store(str(folder / "bare"))

    def write() -> None:
        for text in files:
            store.bulk_load(text.encode(), format=RdfFormat.N_QUADS)
        store.flush()

    return catalogue.statements / seconds(write)


def with_peer(figures: dict[str, float], peer: str, peer_write: float) -> dict[str, Any]:
    """Return a store's figures with those of its peer."""
    ratio = figures["write"] / peer_write
    return {**figures, "peer": peer, "peer_write": peer_write, "ratio": ratio}


def measure_neo4j(folder: Path, catalogue: Catalogue) -> dict[str, Any]:
    """Return the medians of a few rounds of the Neo4j store and of its peer, in turns."""
    os.environ["NEO4J_AUTH"] = f"neo4j/{Neo4jServer.password}"
    figures = []
    peer_writes = []
    with Neo4jServer(folder / "neo4j") as server:
        for _ in range(ROUNDS + 1):
            with open_store(emptied(server.url)) as store:
                figures.append(measure_store(store, catalogue))
            peer_writes.append(measure_bare_merge(emptied(server.url), catalogue))
    # The first round of a server is slow, because Java compiles: it does not count.
    medians = {name: statistics.median(each[name] for each in figures[1:]) for name in figures[0]}
    return with_peer(medians, "bare UNWIND … MERGE", statistics.median(peer_writes[1:]))


def measure(kind: str, folder: Path, catalogue: Catalogue) -> dict[str, Any]:
    """Return the figures of a store, and those of its peer if it has one."""
    if kind == "neo4j":
        return measure_neo4j(folder, catalogue)
    if kind == "rdf+http":
        with FusekiServer(folder / "fuseki") as server, open_store(server.url) as store:
            return dict(measure_store(store, catalogue))
    with open_store(f"{kind}:{folder / kind}") as store:
        figures = measure_store(store, catalogue)
    if kind == "rdf":
        return with_peer(figures, "bare bulk load", measure_bare_bulk_load(folder, catalogue))
    return dict(figures)


def main() -> None:
    """Print one line per store, and write all figures to a file if one is given."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--statements", type=int, default=200_000)
    parser.add_argument("--only", default="memory,ladybug,neo4j,rdf,rdf+http")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    Neo4jServer.heap = "4g"
    FusekiServer.heap = "4g"
    catalogue = make_catalogue(args.statements)
    rows = []
    for kind in args.only.split(","):
        with tempfile.TemporaryDirectory() as folder:
            figures = measure(kind, Path(folder), catalogue)
        rows.append({"store": kind, "statements": args.statements, **figures})
        line = (
            f"{kind:<9} write {figures['write']:>9,.0f}/s   scan {figures['scan']:>9,.0f}/s"
            f"   lookup {figures['lookup_ms']:>7.2f} ms"
        )
        if "peer" in figures:
            line += (
                f"   {figures['ratio']:.2f} x {figures['peer']} ({figures['peer_write']:,.0f}/s)"
            )
        print(line, flush=True)
    if args.out:
        args.out.write_text(json.dumps({"stores": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
