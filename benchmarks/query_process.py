"""Measure what it costs to answer users' queries in a process of their own.

    python benchmarks/query_process.py [--items 25000] [--rdf-items 200] [--rounds 9] [--out FILE]

Each query of docs/cypher.md and docs/sparql.md is answered by the library within this process, as
internal reads are, and by a warm process in its sandbox, in turns; both read the same files and
have to give the same rows. Besides: a query that asks for nothing, a long answer, and the start of
a process.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from kg.stores.answer import OpenGraph
from kg.stores.ladybug_answers import LadybugAnswers
from kg.stores.open import open_store
from kg.stores.query_child import Engine
from kg.stores.query_limits import QueryLimits
from kg.stores.query_pool import QueryPool
from kg.stores.query_process import GraphSource
from kg.stores.sparql import OxigraphAnswers
from tests.kg.stores.lookups import fill, read_lookups

LIMITS = QueryLimits(rows=10_000_000, answer_bytes=10_000_000_000)
NOTHING = {Engine.LADYBUG: "RETURN 1 AS one", Engine.OXIGRAPH: "SELECT (1 AS ?one) { }"}
LONG = {
    Engine.LADYBUG: "MATCH (i:Item)-[h:HAS]->(v:Value) RETURN i.id, h.property, v.text",
    Engine.OXIGRAPH: "SELECT ?i ?p ?v { ?s rdf:subject ?i ; rdf:predicate ?p ; rdf:object ?v }",
}
SCHEMES = {Engine.LADYBUG: "ladybug", Engine.OXIGRAPH: "rdf"}
LANGUAGES = {Engine.LADYBUG: "cypher", Engine.OXIGRAPH: "sparql"}


@dataclass(frozen=True)
class Question:
    """A query with its parameters."""

    name: str
    text: str
    params: dict[str, Any]


def questions(engine: Engine) -> list[Question]:
    """Return the queries of a document, and the two of this file."""
    lookups = read_lookups(LANGUAGES[engine])
    return [
        Question("nothing", NOTHING[engine], {}),
        Question("a long answer", LONG[engine], {}),
        *(Question(each.question, each.query, each.params) for each in lookups),
    ]


@contextmanager
def filled_path(engine: Engine, folder: Path, items: int) -> Iterator[Path]:
    """Fill a store; yield the path of its graph."""
    url = f"{SCHEMES[engine]}:{folder / engine}"
    with open_store(url) as store:
        fill(store, items)
    with open_store(url, read_only=True) as opened:
        reader: Any = opened
        yield reader._graph.queries._source.path


def seconds(work: Callable[[], Any]) -> float:
    """Return how long some work takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure(engine: Engine, path: Path, rounds: int) -> dict[str, Any]:
    """Return the quickest of some rounds, in milliseconds."""
    opener = LadybugAnswers if engine is Engine.LADYBUG else OxigraphAnswers
    inside: OpenGraph = opener(path, LIMITS.memory_bytes)
    processes = QueryPool(GraphSource(engine, path))
    rows = []
    for question in questions(engine):

        def ask_inside(question: Question = question) -> list[list[Any]]:
            return list(inside.answer(question.text, question.params).rows)

        def ask_process(question: Question = question) -> list[list[Any]]:
            return processes.answer(question.text, question.params, 300.0, LIMITS).rows

        # Also fills both buffer pools.
        count = len(ask_inside())
        if len(ask_process()) != count:
            raise SystemExit(f"{question.name}: the process gives another answer")
        pairs = [(seconds(ask_inside), seconds(ask_process)) for _ in range(rounds)]
        # The quickest of each: other programs can only make it slower.
        within, beyond = (min(each) * 1e3 for each in zip(*pairs, strict=True))
        rows.append({"name": question.name, "rows": count, "inside": within, "process": beyond})
    starts = []
    for _ in range(rounds):
        processes.close()
        starts.append(seconds(lambda: processes.answer(NOTHING[engine], {}, 300.0, LIMITS)) * 1e3)
    processes.close()
    lookups = rows[2:]
    return {
        "engine": str(engine),
        "start_ms": min(starts),
        "nothing_ms": rows[0],
        "long_answer_ms": rows[1],
        "lookups_inside_ms": sum(each["inside"] for each in lookups),
        "lookups_process_ms": sum(each["process"] for each in lookups),
        "most_added_ms": max(each["process"] - each["inside"] for each in lookups),
        "median_added_ms": statistics.median(each["process"] - each["inside"] for each in lookups),
        "lookups": lookups,
    }


def main() -> None:
    """Print a few lines per engine, and write all figures to a file if one is given."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--items", type=int, default=25_000)
    # Some of the lookups compare all pairs of items, for which Oxigraph has no better way.
    parser.add_argument("--rdf-items", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    items = {Engine.LADYBUG: args.items, Engine.OXIGRAPH: args.rdf_items}
    figures = []
    for engine in Engine:
        with (
            tempfile.TemporaryDirectory() as folder,
            filled_path(engine, Path(folder), items[engine]) as path,
        ):
            result = measure(engine, path, args.rounds)
        figures.append(result)
        nothing, long = result["nothing_ms"], result["long_answer_ms"]
        print(
            f"{engine}: start {result['start_ms']:.0f} ms; a query that asks for nothing "
            f"{nothing['inside']:.2f} ms inside, {nothing['process']:.2f} ms in its process; "
            f"{long['rows']:,} rows {long['inside']:,.0f} and {long['process']:,.0f} ms; "
            f"{len(result['lookups'])} lookups {result['lookups_inside_ms']:,.0f} and "
            f"{result['lookups_process_ms']:,.0f} ms, added to each {result['median_added_ms']:.2f}"
            f" ms (median), {result['most_added_ms']:.2f} ms (most)",
            flush=True,
        )
    if args.out:
        args.out.write_text(json.dumps({"items": items, "engines": figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
