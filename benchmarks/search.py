"""Measure search on made items: how long the index takes, and queries on the warm index.

    python -m benchmarks.search [--items 100000] [--queries 400] [--width 384] [--json FILE]

Queries are drawn from the catalogue's own words: kinds, brands and attributes (half of the items
have some of the words), model numbers, misspelled words, and queries with a filter. Times are those
of the library in this process, on a home with an embedded graph. Then the same queries are asked
with vectors of ``--width`` numbers, which are made without an encoder: those of one kind lie
together, and words move them. Last, each way to find the nearest of all vectors is timed in turn on
the same queries, and its recall measured.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from encoders.pretrained_folder import Vectors
from kg.home import Home
from kg.stores.tables import items_table, statements_table
from schema.terms import Item, Provenance, Rank, Statement
from serving.search.encoders import Encoders
from serving.search.filters import EVERYTHING, Filters
from serving.search.index import catch_up, index_folder, index_home, newest_index
from serving.search.nearest import MEASURED, Approximate, Method
from serving.search.opening import approximate_parts, encode_items
from serving.search.parts import Part
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


class MadeEncoder:
    """Texts as vectors whose neighbours are those of the same words.

    A vector is the sum of its words' directions, the rarer ones weigh less, and of noise in 48 of
    its dimensions: about as many as those of pretrained encoders have that matter.
    """

    def __init__(self, width: int) -> None:
        self.space = f"made-{width}"
        self.width = width
        self._words: dict[str, Vectors] = {}
        self._basis = np.random.default_rng(0).standard_normal((48, width)).astype(np.float32)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors [N, W] of texts."""
        return self._unit(self._of_text(text) for text in texts)

    def _of_text(self, text: str) -> Vectors:
        words = text.split()[:6]
        total = 0.5 * self._noise(sum(map(ord, text)) + len(text))
        for place, word in enumerate(words):
            total = total + self._direction(word) / (1 + place)
        return total

    def _direction(self, word: str) -> Vectors:
        if word not in self._words:
            self._words[word] = self._noise(int.from_bytes(word.encode()[:6]))
        return self._words[word]

    def _noise(self, seed: int) -> Vectors:
        drawn = np.random.default_rng(seed).standard_normal(48).astype(np.float32)
        return np.asarray(drawn @ self._basis / 48, np.float32)

    @staticmethod
    def _unit(vectors: Iterable[Vectors]) -> Vectors:
        stacked = np.stack(list(vectors))
        length = np.linalg.norm(stacked, axis=1, keepdims=True)
        return np.divide(stacked, length, dtype=np.float32)


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
    parser.add_argument("--width", type=int, default=384, help="numbers of a vector")
    parser.add_argument("--home", type=Path, help="where to make the home, or one that was made")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = arguments.home or Path(folder)
        figures = measure(home, arguments.items, arguments.queries)
        figures["vectors"] = measure_vectors(
            Home.open(home), arguments.items, arguments.queries, arguments.width
        )
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


def measure_vectors(home: Home, items: int, queries: int, width: int) -> dict[str, Any]:
    """Return the figures of the same home with vectors of texts."""
    encoder = MadeEncoder(width)
    encoders = Encoders(encoder)
    folder = index_folder(home)
    encoding = timed(lambda: encode_items(home, encoders))
    for path in folder.glob("nearest-*"):
        path.unlink()
    building = timed(lambda: approximate_parts(folder, [Part.TEXT]))
    (report,) = approximate_parts(folder, [Part.TEXT]).values()
    start = time.perf_counter()
    searcher = Searcher(folder, home.ontology_or_none(), encoders)
    opening = time.perf_counter() - start
    asked = MadeCatalogue(items).queries(queries)
    for _, text, filters in asked[:50]:
        searcher.search(text, 10, filters)
    clock: dict[str, list[float]] = {}
    for name, text, filters in asked:
        clock.setdefault(name, []).append(timed(partial(searcher.search, text, 10, filters)))
    similar = [timed(partial(searcher.similar, f"P{number:07}")) for number in range(1, 51)]
    with searcher._view() as view:
        vectors = np.ascontiguousarray(view.shared.spaces[Part.TEXT].bank.base)
    rng = np.random.default_rng(1)
    asked_vectors = encoder.encode([text for _, text, _ in asked])
    by_method = _by_method(vectors, asked_vectors[rng.permutation(len(asked_vectors))[:200]])
    return {
        "width": width,
        "method": report.method,
        "recall": report.recall,
        "encode_and_store_seconds": round(encoding, 1),
        "build_seconds": round(building, 1),
        "open_seconds": round(opening, 2),
        "milliseconds": percentiles([each for own in clock.values() for each in own]),
        "by_kind": {name: percentiles(own) for name, own in clock.items()},
        "similar": percentiles(similar),
        "nearest_100_by_method": by_method,
    }


def _by_method(vectors: Vectors, queries: Vectors) -> dict[str, Any]:
    """Return build seconds, recall and milliseconds a query of each way to find the nearest."""
    import faiss

    figures: dict[str, Any] = {}
    count = min(MEASURED, len(vectors))

    def by_product(query: Vectors) -> Any:
        cosines = vectors @ query
        best = np.argpartition(-cosines, count - 1)[:count]
        return best[np.argsort(-cosines[best], kind="stable")]

    exact = [set(by_product(query).tolist()) for query in queries]
    flat: Any = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(vectors)
    ways: dict[str, tuple[float, Callable[[Vectors], Any]]] = {
        "numpy": (0.0, by_product),
        "faiss flat": (0.0, lambda query: flat.search(query[None], count)[1][0]),
    }
    for method in (Method.HNSW, Method.IVF):
        start = time.perf_counter()
        approximate = Approximate.build(vectors, method)
        seconds = time.perf_counter() - start
        ways[method] = (seconds, partial(approximate.nearest, count=count, usable=None))
        figures[f"{method} effort"] = approximate.effort
    for name, (seconds, find) in ways.items():
        found = [set(find(query).tolist()) for query in queries]
        shares = [len(one & other) / count for one, other in zip(found, exact, strict=True)]
        times = [timed(partial(find, query)) for query in queries]
        figures[name] = {
            "build_seconds": round(seconds, 1),
            "recall": round(float(np.mean(shares)), 4),
            **percentiles(times),
        }
    return figures


if __name__ == "__main__":
    main()
