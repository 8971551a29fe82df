"""Replay of reviews: statements are hidden, completed, reviewed by an oracle, and learned from.

    python -m benchmarks.replay --styles styles.csv --images FOLDER --work FOLDER --out FILE

A share of the statements of a catalogue is hidden, but not its categories (``masterCategory``). In
each round experts are fitted, ``complete --write`` proposes and fills, and an oracle decides about
some of the open proposals: it accepts what is right and edits what is wrong. One replay takes the
cells of greatest expected gain, as ``review list`` does, and one takes cells at random; the first
model is the same. Items of the test split (by the hash of their ids, 26 to 39 of 100) and those
without a value of each property are left out. ``--seed`` draws the items and what is hidden of
them; ``python -m benchmarks.replay --join FILES`` puts the figures of several draws together, with
the mean and the least and the greatest.

Of each round the figures are, before its review: the ``coverage``, the share of the hidden cells
that have a value in the graph, by a model or the oracle; the ``precision`` of those that a model
has filled; ``best right``, the share of all hidden cells whose best value, proposed or decided, is
the hidden one. Of its review: how many of the wrong open proposals were among those decided
(``errors found``), and how many of the wrong values in the graph (``wrong fills found``).
``wrong fills by doubt`` are those that as many decisions would find if they were about values in
the graph alone, in the order of ``review list --state applied``; ``wrong fills by probability`` if
the least probable came first; and ``wrong fills by chance`` what any would find on average.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import random
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.audit import Row
from benchmarks.run_command import run
from kg.home import Home
from kg.source_order import bring_up_to_date
from schema.ledger_proposals import ProposalRecords
from schema.ontology import PropertySpec
from schema.proposals import DECIDED, OPEN, Proposal, ProposalFilter, ProposalOrder, ProposalState
from serving.review.session import Review, open_review

CATEGORY = "masterCategory"
PROPERTIES = (
    "gender",
    "subCategory",
    "articleType",
    "baseColour",
    "season",
    "year",
    "usage",
)
TEST = range(26, 40)
ORDERS = ("expected gain", "random")
ORACLE = "oracle"

Truth = Mapping[tuple[str, str], str]


def read_items(styles: Path, images: Path, count: int, rng: random.Random) -> list[Row]:
    """Return some items that are not of the test split and have a value of each property."""
    found = []
    for row in csv.DictReader(styles.open(encoding="utf-8", newline="")):
        part = int(hashlib.sha1(row["id"].encode()).hexdigest(), 16) % 100
        image = f"{row['id']}.jpg"
        whole = all(row[name] for name in (CATEGORY, *PROPERTIES))
        if part not in TEST and whole and (images / image).is_file():
            own = {name: row[name] for name in (CATEGORY, *PROPERTIES)}
            title = row["productDisplayName"]
            found.append({"id": row["id"], "title": title, "image": image, **own})
    return rng.sample(found, min(count, len(found)))


def hide(rows: Sequence[Row], share: float, rng: random.Random) -> dict[tuple[str, str], str]:
    """Empty a share of the cells; return what they were."""
    cells = [(row, name) for row in rows for name in PROPERTIES]
    hidden = {}
    for row, name in rng.sample(cells, round(share * len(cells))):
        hidden[row["id"], name] = row[name]
        row[name] = ""
    return hidden


def make(options: argparse.Namespace) -> tuple[int, dict[tuple[str, str], str]]:
    """Make a home of each order with what is not hidden, and the same first model.

    Returns the number of items, and what is hidden.
    """
    rng = random.Random(options.seed)
    work: Path = options.work
    work.mkdir(parents=True)
    rows = read_items(options.styles, options.images, options.items, rng)
    hidden = hide(rows, options.hidden, rng)
    with (work / "items.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    first, *others = (work / order.replace(" ", "-") for order in ORDERS)
    run(first, "ingest", work / "items.csv", "--images", options.images, "--mapping", "generic")
    run(first, "train", "--preset", "experts", "--name", "round-1")
    for other in others:
        shutil.copytree(first, other, symlinks=True)
    return len(rows), hidden


def is_right(proposal: Proposal, specs: Mapping[str, PropertySpec], truth: Truth) -> bool:
    """Return whether what is proposed is what was hidden."""
    spec = specs[proposal.property]
    return [spec.key(value) for value in proposal.values] == [spec.key(truth[proposal.cell])]


def state(home: Home, truth: Truth) -> dict[str, Any]:
    """Return the figures of the hidden cells as they are now."""
    specs = home.ontology().properties
    with home.ledger() as ledger:
        every = ProposalRecords(ledger).find(ProposalFilter(states=(*OPEN, *DECIDED)))
    current = [each for each in every if each.cell in truth]
    opened = [each for each in current if each.state in OPEN]
    filled = [each for each in opened if each.state is ProposalState.APPLIED]
    decided = {each.cell for each in current if each.state in DECIDED}
    right = sum(is_right(each, specs, truth) for each in opened)
    right_filled = sum(is_right(each, specs, truth) for each in filled)
    return {
        "decided": len(decided),
        "filled": len(filled),
        "proposed": len(opened) - len(filled),
        "proposals of cells that were not hidden": len(every) - len(current),
        "coverage": round((len(filled) + len(decided)) / len(truth), 4),
        "precision": round(right_filled / max(len(filled), 1), 4),
        "best right": round((right + len(decided)) / len(truth), 4),
    }


def review(home: Home, order: str, count: int, truth: Truth, rng: random.Random) -> dict[str, Any]:
    """Let the oracle decide about open proposals; return the figures of that."""
    began = time.monotonic()
    specs = home.ontology().properties
    with open_review(home) as opened:
        opened.expire()
        found = opened.records.find(ProposalFilter(states=OPEN), ProposalOrder.GAIN)
        found = [each for each in found if each.cell in truth]
        wrong = {each.id: each for each in found if not is_right(each, specs, truth)}
        chosen = rng.sample(found, min(count, len(found))) if order == "random" else found[:count]
        to_edit = [each for each in chosen if each.id in wrong]
        by_order = {
            f"wrong fills by {name}": sum(
                each.id in wrong for each in _applied(opened, order, truth)[:count]
            )
            for name, order in (("doubt", ProposalOrder.DOUBT), ("probability", ProposalOrder.GAIN))
        }
        _decide(home, opened, [each for each in chosen if each.id not in wrong], to_edit, truth)
    fills = sum(each.state is ProposalState.APPLIED for each in found)
    wrong_fills = sum(each.state is ProposalState.APPLIED for each in wrong.values())
    found_fills = sum(each.state is ProposalState.APPLIED for each in to_edit)
    return {
        "reviewed": len(chosen),
        "errors": len(wrong),
        "errors found": len(to_edit),
        "share of errors found": round(len(to_edit) / max(len(wrong), 1), 4),
        "wrong fills": wrong_fills,
        "wrong fills found": found_fills,
        **by_order,
        "wrong fills by chance": round(wrong_fills * min(1, count / max(fills, 1)), 1),
        "seconds of the review": round(time.monotonic() - began, 1),
    }


def _applied(opened: Review, order: ProposalOrder, truth: Truth) -> list[Proposal]:
    """Return what is in the graph of the hidden cells, in an order."""
    found = opened.records.find(ProposalFilter(states=(ProposalState.APPLIED,)), order)
    return [each for each in found if each.cell in truth]


def _decide(
    home: Home,
    opened: Review,
    right: Sequence[Proposal],
    wrong: Sequence[Proposal],
    truth: Truth,
) -> None:
    """Accept and edit, as the commands do; variants and the ontology follow once."""
    last = opened.accept(right, ORACLE)
    for each in wrong:
        last = opened.edit(each, [truth[each.cell]], ORACLE)
    bring_up_to_date(home, opened.store, last.run)
    opened.expire(last.run)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Replay both orders round by round; what is measured is written after each."""
    began = time.monotonic()
    items, truth = make(options)
    figures: dict[str, Any] = {
        "seed": options.seed,
        "items": items,
        "statements": items * len(PROPERTIES),
        "hidden": len(truth),
        "target precision": options.target,
        "reviewed in a round": options.reviewed,
        **{order: {"rounds": []} for order in ORDERS},
    }
    rng = random.Random(options.seed)
    for number in range(1, options.rounds + 1):
        for order in ORDERS:
            home = Home.open(options.work / order.replace(" ", "-"))
            model = f"round-{number}"
            if number > 1:
                run(home.path, "train", "--preset", "experts", "--name", model)
            words = ("--target-precision", options.target, "--write")
            run(home.path, "complete", "--model", model, *words)
            before = state(home, truth)
            done = review(home, order, options.reviewed, truth, rng)
            figures[order]["rounds"].append({"round": number, **before, **done})
            figures[order]["after the last review"] = state(home, truth)
            figures["seconds"] = round(time.monotonic() - began, 1)
            options.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return figures


def join(draws: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the mean, the least and the greatest of each figure of several draws, and the draws.

    Rounds that not all of them have are left out.
    """
    joined: dict[str, Any] = {"seeds": [each["seed"] for each in draws]}
    for order in ORDERS:
        rounds = zip(*(each[order]["rounds"] for each in draws), strict=False)
        joined[order] = {
            "rounds": [_spread(each) for each in rounds],
            "all rounds": _spread([_totals(each[order]["rounds"]) for each in draws]),
            "after the last review": _spread(
                [each[order]["after the last review"] for each in draws]
            ),
        }
    return {**joined, "draws": list(draws)}


def _totals(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    names = [name for name in rounds[0] if name.startswith(("errors found", "wrong fills found"))]
    return {name: sum(each[name] for each in rounds) for name in names}


def _spread(figures: Sequence[dict[str, Any]]) -> dict[str, list[float]]:
    """Return the mean, the least and the greatest of each figure."""
    found = {}
    for name in figures[0]:
        every = [each[name] for each in figures]
        found[name] = [round(sum(every) / len(every), 4), min(every), max(every)]
    return found


def main() -> None:
    """Replay, or join the figures of draws, and print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--join", type=Path, nargs="+", default=[], help="the figures of draws")
    parser.add_argument("--styles", type=Path)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--items", type=int, default=1500)
    parser.add_argument("--hidden", type=float, default=0.2)
    parser.add_argument("--target", type=float, default=0.97)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--reviewed", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", type=Path, help="a folder that is made")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    if options.join:
        figures = join([json.loads(path.read_text(encoding="utf-8")) for path in options.join])
        options.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    elif None in (options.styles, options.images, options.work):
        parser.error("--styles, --images and --work are needed to replay")
    else:
        figures = measure(options)
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
