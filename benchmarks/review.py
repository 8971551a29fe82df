"""Measure the review of many proposals: lists with filters, a bulk decision, and its undo.

    python -m benchmarks.review [--proposals 50000] [--accepted 10000] [--undone 5000] [--json FILE]

A made catalogue has an item for every five proposals. Times are those of the library in this
process, on a home with an embedded graph; a command adds its start, which is measured as well.
In another home two runs fill a property each, and are taken back one after the other.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from kg.home import Home
from kg.home_ontology import refresh_ontology
from kg.ingest.run_id import new_run_id
from kg.source_order import bring_up_to_date
from kg.stores.protocol import Pattern
from kg.stores.tables import items_table, statements_table
from schema.ledger_proposals import ProposalRecords
from schema.proposals import (
    OPEN,
    NewProposal,
    ProposalFilter,
    ProposalOrder,
    ProposedDecision,
    ProposedValue,
    RunKind,
)
from schema.terms import Item, Provenance, Statement
from serving.review.session import open_review

ROOT = Path(__file__).parents[1]
PROPERTIES = ("colour", "material", "season", "usage", "gender")
VALUES = tuple(f"value {number}" for number in range(20))
COMMANDS = 7
"""Calls of a command, of which the median is taken."""
PAST = "2000-01-01T00:00:00+00:00"
EVIDENCE = {
    "title": 0.31,
    "description": None,
    "category": 0.02,
    "image": 0.11,
    "known": [{"property": "kind", "value": "mug", "effect": 0.05}] * 3,
}


def make_home(folder: Path, items: int) -> Home:
    """Make a home whose items have a title and one statement."""
    home = Home.open(folder, create=True)
    with home.store() as store:
        store.put(
            items_table(
                Item(f"{number}", f"Product number {number}", provenance=Provenance("shop"))
                for number in range(items)
            ),
            statements_table(
                Statement(f"{number}", "kind", "mug", provenance=Provenance("shop"))
                for number in range(items)
            ),
            run=new_run_id(),
        )
        refresh_ontology(home, store)
    return home


def make_proposals(items: int, seed: int) -> list[NewProposal]:
    """Return a proposal for each item and property, half of them to fill."""
    rng = random.Random(seed)
    made = []
    for number in range(items):
        for property in PROPERTIES:
            values = rng.sample(VALUES, 5)
            probability = rng.random()
            shares = (probability, *((1 - probability) / 5 for _ in range(4)))
            made.append(
                NewProposal(
                    f"{number}",
                    property,
                    (values[0],),
                    probability,
                    tuple(map(ProposedValue, values, shares)),
                    ProposedDecision.FILL if probability > 0.5 else ProposedDecision.REVIEW,
                    evidence=EVIDENCE,
                    model="m",
                    due=PAST,
                )
            )
    return made


def seconds(act: Callable[[], Any]) -> float:
    """Return how long something takes."""
    began = time.perf_counter()
    act()
    return round(time.perf_counter() - began, 3)


def measure(folder: Path, proposals: int, accepted: int) -> dict[str, Any]:
    """Measure everything on a home in a folder."""
    items = proposals // len(PROPERTIES)
    home = make_home(folder / "home", items)
    new = make_proposals(items, 0)
    figures: dict[str, Any] = {"proposals": len(new), "items": items, "accepted": accepted}

    def add() -> None:
        with open_review(home) as review:
            run = review.begin(RunKind.COMPLETE)
            figures["run"] = run.id
            review.add(run, new, apply=True)
            review.end(run)

    before = _hash(home)
    figures["add and apply"] = seconds(add)
    filters = {
        "all": ProposalFilter(states=OPEN),
        "item": ProposalFilter(item="17", states=OPEN),
        "property": ProposalFilter(property="colour", states=OPEN),
        "value": ProposalFilter(value="value 3", states=OPEN),
        "run": ProposalFilter(run=figures["run"], states=OPEN),
        "probability": ProposalFilter(min_probability=0.4, max_probability=0.6, states=OPEN),
        "state": ProposalFilter(states=(OPEN[1],)),
        "several": ProposalFilter(
            property="colour", value="value 3", min_probability=0.5, states=OPEN
        ),
    }
    lists = {}
    for name, wanted in filters.items():
        for order in ProposalOrder:
            lists[f"{name}, by {order}"] = seconds(partial(_list, home, wanted, order))
    figures["list"] = lists
    figures["slowest list"] = max(lists.values())
    figures |= _command(home, "review", "list")
    began = time.process_time()
    figures["accept"] = seconds(lambda: _accept(home, accepted, figures))
    figures["accept, processor"] = round(time.process_time() - began, 3)
    figures["stats"] = seconds(lambda: _decided(home))
    figures["undo of the decision"] = seconds(lambda: _undo(home, figures["accepting run"]))
    figures["undo of the completion"] = seconds(lambda: _undo(home, figures["run"]))
    figures["content as before"] = _hash(home) == before
    for name in ("run", "accepting run"):
        del figures[name]
    return figures


def _command(home: Home, *words: str) -> dict[str, float]:
    """Return the median time of a command as a process, and how much of that it computes."""
    times = []
    processor = []
    for _ in range(COMMANDS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        call = [sys.executable, "cli.py", "--home", str(home.path), *words]
        times.append(
            seconds(partial(subprocess.run, call, cwd=ROOT, check=True, capture_output=True))
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        processor.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    name = f"command {' '.join(words)}"
    return {
        name: statistics.median(times),
        f"{name}, processor": round(statistics.median(processor), 3),
    }


def measure_undo(folder: Path, predictions: int) -> dict[str, Any]:
    """Take back two runs, each of which has filled a property of all items."""
    home = make_home(folder / "home", predictions)
    probability = 0.99
    hashes = [_hash(home)]
    runs = []
    for property in PROPERTIES[:2]:
        new = [
            NewProposal(
                f"{number}",
                property,
                (VALUES[number % len(VALUES)],),
                probability,
                (ProposedValue(VALUES[number % len(VALUES)], probability),),
                ProposedDecision.FILL,
                evidence=EVIDENCE,
                model="m",
                due=PAST,
            )
            for number in range(predictions)
        ]
        with open_review(home) as review:
            run = review.begin(RunKind.COMPLETE)
            review.add(run, new, apply=True)
            review.end(run)
        runs.append(run.id)
        hashes.append(_hash(home))
    first, second = runs
    of_second = _written_by(home, second)
    figures: dict[str, Any] = {"predictions of each run": predictions}
    figures["undo of the first"] = seconds(lambda: _undo(home, first))
    figures["statements of the first"] = len(_written_by(home, first))
    left = _written_by(home, second)
    figures["statements of the second"] = len(left)
    figures["the second is as it was"] = left == of_second and len(left) == predictions
    figures["undo of the second"] = seconds(lambda: _undo(home, second))
    figures["content as before"] = _hash(home) == hashes[0]
    figures["contents differed"] = len(set(hashes)) == len(hashes)
    return figures


def _hash(home: Home) -> str:
    with home.store(read_only=True) as store:
        return store.content_hash()


def _written_by(home: Home, run: str) -> set[tuple[str, ...]]:
    """Return the items, properties, values and evidence of the statements that a run has made."""
    columns = ("item", "property", "value", "rank", "model", "evidence", "time")
    found: set[tuple[str, ...]] = set()
    with home.store(read_only=True) as store:
        for batch in store.scan(Pattern()):
            own = batch.filter(pc.equal(batch["batch"], run))
            found.update(zip(*(own[name].to_pylist() for name in columns), strict=True))
    return found


def _undo(home: Home, run: str) -> None:
    with open_review(home) as review:
        by = new_run_id()
        review.undo(run, by)
        bring_up_to_date(home, review.store, by)


def _list(home: Home, wanted: ProposalFilter, order: ProposalOrder) -> None:
    with home.ledger() as ledger:
        records = ProposalRecords(ledger)
        records.count(wanted)
        records.find(wanted, order, 20)


def _accept(home: Home, count: int, figures: dict[str, Any]) -> None:
    with open_review(home) as review:
        found = review.records.find(ProposalFilter(states=OPEN), ProposalOrder.PROBABILITY, count)
        report = review.accept(found, "reviewer")
        bring_up_to_date(home, review.store, report.run)
        review.expire(report.run)
        figures["accepting run"] = report.run


def _decided(home: Home) -> None:
    from schema.proposals import DECIDED
    from serving.review.statistics import by_kind, drifts, proven_by_decisions

    with home.ledger() as ledger:
        found = ProposalRecords(ledger).find(ProposalFilter(states=DECIDED))
    by_kind(found)
    proven_by_decisions(found)
    drifts(found)


def main() -> None:
    """Measure, and print the figures or write them to a file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--proposals", type=int, default=50_000)
    parser.add_argument("--accepted", type=int, default=10_000)
    parser.add_argument("--undone", type=int, default=5_000)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="review-") as folder:
        figures = measure(Path(folder, "many"), args.proposals, args.accepted)
        figures["two runs"] = measure_undo(Path(folder, "two"), args.undone)
    text = json.dumps(figures, indent=1)
    if args.json is not None:
        args.json.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
