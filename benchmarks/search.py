"""Measure search on made items: how long the index takes, and queries on the warm index.

    python -m benchmarks.search [--items 100000] [--queries 400] [--json FILE]

Queries are drawn from the catalogue's own words: kinds, brands and attributes (half of the items
have some of the words), model numbers, misspelled words, and queries with a filter. Times are those
of the library in this process, on a home with an embedded graph.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from kg.home import Home
from kg.stores.tables import items_table, statements_table
from schema.terms import Item, Provenance, Rank, Statement
from serving.search.filters import EVERYTHING, Filters
from serving.search.index import catch_up, index_folder, index_home, newest_index
from serving.search.searcher import Searcher

KINDS = 300
BRANDS = 400
ATTRIBUTES = ("red", "blue", "black", "white", "wireless", "portable", "steel", "oak", "large")
PROPERTIES = ("colour", "material", "brand", "size", "power", "style", "room", "season")
VALUES = 40
DESCRIPTION_WORDS = 25
VOCABULARY = 30_000
PUT_ITEMS = 10_000
SOURCE = Provenance("made", time="2026-01-01T00:00:00+00:00")
_SYLLABLES = (
    "ba be bi bo da de di do ka ke ki ko la le li lo ma me mi mo ra re ri ro sa se si so".split()
)


def word_of(number: int) -> str:
    """Return a word for a number, the same for the same number."""
    letters = []
    number += len(_SYLLABLES)
    while number:
        letters.append(_SYLLABLES[number % len(_SYLLABLES)])
        number //= len(_SYLLABLES)
    return "".join(letters) + "n"


class MadeCatalogue:
    """Items whose words are as unevenly common as those of texts are (Zipf)."""

    def __init__(self, items: int, seed: int = 0) -> None:
        self.items = items
        self._random = random.Random(seed)
        rng = np.random.default_rng(seed)
        ranks = np.arange(1, VOCABULARY + 1)
        share = 1 / ranks / (1 / ranks).sum()
        self._drawn = rng.choice(VOCABULARY, (items, DESCRIPTION_WORDS), p=share)

    def put(self, home: Home) -> None:
        """Store the items in a home."""
        with home.store() as store:
            for first in range(0, self.items, PUT_ITEMS):
                items, statements = [], []
                for number in range(first, min(self.items, first + PUT_ITEMS)):
                    item, own = self._item(number)
                    items.append(item)
                    statements += own
                store.put(items_table(items), statements_table(statements))

    def _item(self, number: int) -> tuple[Item, list[Statement]]:
        random_ = self._random
        kind = int(KINDS * random_.random() ** 2)
        brand = word_of(1_000 + int(BRANDS * random_.random() ** 2))
        attribute = random_.choice(ATTRIBUTES)
        title = f"{brand} {attribute} {word_of(kind)} {brand[:2].upper()}-{number}"
        words = " ".join(word_of(5_000 + drawn) for drawn in self._drawn[number].tolist())
        item = Item(
            f"P{number:07}",
            title,
            description=words,
            category=f"Shop > Department {kind % 20} > {word_of(kind)}",
            provenance=SOURCE,
        )
        own = [
            Statement(item.id, name, f"{name} {random_.randrange(VALUES)}", Rank.ASSERTED, SOURCE)
            for name in PROPERTIES
        ]
        return item, own

    def queries(self, count: int) -> list[tuple[str, str, Filters]]:
        """Return queries with their kinds and filters."""
        random_ = random.Random(1)
        found = []
        for number in range(count):
            kind = word_of(int(KINDS * random_.random() ** 2))
            brand = word_of(1_000 + int(BRANDS * random_.random() ** 2))
            attribute = random_.choice(ATTRIBUTES)
            text, filters = kind, EVERYTHING
            name = ("kind", "two words", "three words", "model", "misspelled", "filter", "common")[
                number % 7
            ]
            if name == "two words":
                text = f"{attribute} {kind}"
            elif name == "three words":
                text = f"{brand} {attribute} {kind}"
            elif name == "model":
                text = f"{brand[:2]}{random_.randrange(self.items)}"
            elif name == "misspelled":
                text = f"{attribute} {kind[:-2]}{kind[-1]}"
            elif name == "filter":
                filters = Filters.parse([f"colour=colour {random_.randrange(VALUES)}"])
            elif name == "common":
                text = attribute
            found.append((name, text, filters))
        return found


def timed(call: Callable[[], Any]) -> float:
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Return p50 and p95 in milliseconds."""
    low, high = np.percentile(seconds, [50, 95])
    return {"p50": round(1000 * float(low), 2), "p95": round(1000 * float(high), 2)}


def main() -> None:
    """Measure, print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=400)
    parser.add_argument("--home", type=Path, help="where to make the home, or one that was made")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(arguments.home or Path(folder), arguments.items, arguments.queries)
    text = json.dumps(figures, indent=1)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")


def measure(folder: Path, items: int, queries: int) -> dict[str, Any]:
    """Return the figures of a made home."""
    catalogue = MadeCatalogue(items)
    is_new = not (folder / "home.toml").exists()
    home = Home.open(folder, create=True)
    if is_new:
        catalogue.put(home)
    start, processor = time.perf_counter(), time.process_time()
    index_home(home, anew=True)
    build = time.perf_counter() - start
    build_processor = time.process_time() - processor
    path = newest_index(index_folder(home))
    if path is None:
        raise SystemExit("the index is not there")
    size = path.stat().st_size
    with home.store() as store:
        store.put(items_table([Item("P0000000", "a new red title", provenance=SOURCE)]), None)
    caught_up = timed(lambda: catch_up(home, path))
    opening = time.perf_counter()
    searcher = Searcher(index_folder(home), home.ontology_or_none())
    opening = time.perf_counter() - opening
    asked = catalogue.queries(queries)
    for _, text, filters in asked[:50]:
        searcher.search(text, 10, filters)
    clock: dict[str, list[float]] = {}
    spent: dict[str, list[float]] = {}
    for name, text, filters in asked:
        before = time.process_time()
        clock.setdefault(name, []).append(timed(partial(searcher.search, text, 10, filters)))
        spent.setdefault(name, []).append(time.process_time() - before)
    facets = [timed(partial(searcher.search, text, 10, facets=True)) for _, text, _ in asked[:50]]
    similar = [timed(partial(searcher.similar, f"P{number:07}")) for number in range(1, 51)]
    return {
        "items": items,
        "statements": items * len(PROPERTIES),
        "build_seconds": round(build, 1),
        "build_processor_seconds": round(build_processor, 1),
        "index_megabytes": round(size / 1e6, 1),
        "one_changed_item_seconds": round(caught_up, 2),
        "open_seconds": round(opening, 3),
        "queries": len(asked),
        "milliseconds": percentiles([each for own in clock.values() for each in own]),
        "processor_milliseconds": percentiles([each for own in spent.values() for each in own]),
        "by_kind": {name: percentiles(own) for name, own in clock.items()},
        "processor_by_kind": {name: percentiles(own) for name, own in spent.items()},
        "facets": percentiles(facets),
        "similar": percentiles(similar),
    }


if __name__ == "__main__":
    main()
