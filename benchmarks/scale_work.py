"""The parts of ``benchmarks/scale.py`` that no command does, each as a process of its own.

    python -m benchmarks.scale_work catalogue FOLDER ITEMS
    python -m benchmarks.scale_work snapshot HOME
    python -m benchmarks.scale_work search HOME QUERIES
    python -m benchmarks.scale_work similar HOME QUERIES

Each prints one JSON document. The queries of ``search`` and ``similar`` are the lines of a file:
texts, and ids of items.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.ingest import ean_of
from kg.home import Home
from kg.sample.catalogue import write_csv
from kg.sample.kinds import KINDS
from kg.sample.offers import Offer, corrupt, make_offers
from kg.sample.pairs import labelled_pairs
from kg.sample.queries import write_query

SEED = 0
PAIRED = 4_000
"""Offers from which labelled pairs are drawn: the first ones, in a catalogue of any size."""
CHANGED = 100
"""One row in so many has another colour in the table of changes."""
QUERIES = 100
IN_TITLE = 0.5
"""Share of the titles that say the model number."""
IDENTIFIERS = ("model", "ean")


def write_catalogue(folder: Path, items: int) -> dict[str, Any]:
    """Write the sample's table, with a model number and an EAN for each product, and no images.

    The sample has 80 words and values, whatever its size; with the numbers, the words and the
    values of a catalogue grow with it. Beside ``items.csv`` are written ``changed.csv``, in which
    one row in a hundred has another colour, ``pairs.csv``, ``searches.txt`` and ``items.txt``.
    """
    rng = random.Random(SEED)
    offers = make_offers(items, rng)
    folder.mkdir(parents=True, exist_ok=True)
    numbers = _identify(offers, rng)
    for offer in offers:
        corrupt(offer, rng)
    columns = sorted({name for offer in offers for name in offer.truth})
    header = ["id", "title", "category", "seller", *columns, *IDENTIFIERS]
    rows = [
        [
            *(offer.id, offer.title, KINDS[offer.kind].category, offer.seller),
            *(offer.values.get(column, "") for column in columns),
            *own,
        ]
        for offer, own in zip(offers, numbers, strict=True)
    ]
    write_csv(folder / "items.csv", header, rows)
    place = header.index("colour")
    for row in rows[::CHANGED]:
        row[place] = "gold" if row[place] != "gold" else "silver"
    write_csv(folder / "changed.csv", header, rows)
    pairs = labelled_pairs(offers[:PAIRED], SEED)
    write_csv(folder / "pairs.csv", ["left", "right", "label"], pairs)
    asked = [rng.choice(offers) for _ in range(QUERIES)]
    queries = [_query(offer, rng) for offer in asked]
    (folder / "searches.txt").write_text("\n".join(queries) + "\n", encoding="utf-8")
    (folder / "items.txt").write_text("\n".join(offer.id for offer in asked) + "\n")
    return {"items": len(offers), "pairs": len(pairs)}


def _identify(offers: Sequence[Offer], rng: random.Random) -> list[tuple[str, str]]:
    """Return the model number and the EAN of each offer; the first is put into many titles."""
    found: list[tuple[str, str]] = []
    for number, offer in enumerate(offers):
        # Two sellers' offers of one product are neighbours, and share its true values.
        is_same = number > 0 and offers[number - 1].truth is offer.truth
        model = f"{rng.choice('ABCDEFGH')}X-{rng.randrange(10 * len(offers)):06}"
        found.append(found[-1] if is_same else (model, ean_of(400_000_000_000 + number)))
        if offer.title and rng.random() < IN_TITLE:
            offer.title += f" {found[-1][0]}"
    return found


def _query(offer: Offer, rng: random.Random) -> str:
    names = rng.sample(("colour", "material", "pattern", "shape", "brand"), rng.choice((1, 2, 3)))
    return write_query(offer.kind, {name: offer.truth[name] for name in names}, rng)


def read_snapshot_of(home: Path) -> dict[str, Any]:
    """Read a home's snapshot."""
    snapshot = Home.open(home).snapshot(details=True)
    return {"items": len(snapshot.items)}


def search_each(home: Path, queries: Path) -> dict[str, Any]:
    """Search for each query, the index being open."""
    from serving.search.opening import open_searcher

    searcher = open_searcher(Home.open(home))
    return _timed(lambda text: searcher.search(text, 10), queries)


def similar_each(home: Path, queries: Path) -> dict[str, Any]:
    """Look for what is similar to each item, the index being open."""
    from serving.search.opening import open_searcher

    searcher = open_searcher(Home.open(home))
    return _timed(lambda item: searcher.similar(item, 10), queries)


def _timed(ask: Callable[[str], object], queries: Path) -> dict[str, Any]:
    """Return the processor's milliseconds of each query, after a first one that counts alone."""
    asked = queries.read_text(encoding="utf-8").splitlines()
    times = []
    for text in asked:
        began = time.process_time()
        ask(text)
        times.append(1000 * (time.process_time() - began))
    rest = sorted(times[1:])
    return {
        "first_ms": round(times[0], 2),
        "p50_ms": round(statistics.median(rest), 2),
        "p95_ms": round(rest[int(0.95 * len(rest))], 2),
        "queries": len(rest),
    }


def main() -> None:
    """Do one part, and print what it says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parts = parser.add_subparsers(dest="part", required=True)
    catalogue = parts.add_parser("catalogue")
    catalogue.add_argument("folder", type=Path)
    catalogue.add_argument("items", type=int)
    parts.add_parser("snapshot").add_argument("home", type=Path)
    for name in ("search", "similar"):
        part = parts.add_parser(name)
        part.add_argument("home", type=Path)
        part.add_argument("queries", type=Path)
    arguments = parser.parse_args()
    match arguments.part:
        case "catalogue":
            said = write_catalogue(arguments.folder, arguments.items)
        case "snapshot":
            said = read_snapshot_of(arguments.home)
        case "search":
            said = search_each(arguments.home, arguments.queries)
        case _:
            said = similar_each(arguments.home, arguments.queries)
    json.dump(said, sys.stdout)


if __name__ == "__main__":
    main()
