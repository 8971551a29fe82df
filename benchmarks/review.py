"""Measure the review of many proposals: lists with filters, a bulk decision, and its undo.

    python -m benchmarks.review [--proposals 50000] [--accepted 10000] [--json FILE]

A made catalogue has an item for every five proposals. Times are those of the library in this
process, on a home with an embedded graph; a command adds its start, which is measured as well.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from kg.home import Home
from kg.home_ontology import refresh_ontology
from kg.ingest.run_id import new_run_id
from kg.source_order import bring_up_to_date
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

    with home.store(read_only=True) as store:
        before = store.content_hash()
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
    words = ("--home", str(home.path), "review", "list", "--min-probability", "0.4")
    figures["command review list"] = seconds(
        lambda: subprocess.run(
            [sys.executable, "cli.py", *words], cwd=ROOT, check=True, capture_output=True
        )
    )
    began = time.process_time()
    figures["accept"] = seconds(lambda: _accept(home, accepted, figures))
    figures["accept, processor"] = round(time.process_time() - began, 3)
    figures["stats"] = seconds(lambda: _decided(home))

    def undo(run: str) -> None:
        with open_review(home) as review:
            by = new_run_id()
            review.undo(run, by)
            bring_up_to_date(home, review.store, by)

    figures["undo of the decision"] = seconds(lambda: undo(figures["accepting run"]))
    figures["undo of the completion"] = seconds(lambda: undo(figures["run"]))
    with home.store(read_only=True) as store:
        figures["content as before"] = store.content_hash() == before
    for name in ("run", "accepting run"):
        del figures[name]
    return figures


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
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="review-") as folder:
        figures = measure(Path(folder), args.proposals, args.accepted)
    text = json.dumps(figures, indent=1)
    if args.json is not None:
        args.json.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
