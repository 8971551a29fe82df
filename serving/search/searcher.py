"""Search in an index: candidates are found by words and by vectors, then ranked."""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from encoders.pretrained_folder import Vectors
from encoders.pretrained_text import TextEncoder
from schema.arrays import BoolArray, FloatArray
from schema.errors import DataError, ItemNotFoundError, UsageError
from schema.ontology import Ontology
from serving.search import database
from serving.search.database import sqlite_errors
from serving.search.features import (
    WORD_FEATURES,
    FeatureMatrix,
    Found,
    WordFeatures,
    read_found,
)
from serving.search.filters import EVERYTHING, Condition, Filters
from serving.search.index import newest_index
from serving.search.query import Query, Vocabulary, WordCounts, parse
from serving.search.ranking import VECTOR_FEATURE, Weights, read_weights
from serving.search.vectors import NearestItems, read_signatures, read_vectors
from serving.search.words import words

CANDIDATES = 200
"""Items that are ranked, at least, of those that words find and of those that vectors find."""
FREQUENT = 6_000
"""Words that more items have are not looked up alone: rarer ones of the query find candidates."""
MAX_RESULTS = 10_000
FACET_ITEMS = 1_000
"""Facets count the best items of a search, at most so many."""
FACET_PROPERTIES = 8
FACET_VALUES = 10


@dataclass(frozen=True)
class Hit:
    """An item that was found, with its score and the features that it comes from."""

    item: str
    score: float
    title: str
    category: str = ""
    features: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Facet:
    """How many of the found items have each value of a property, the commonest first."""

    property: str
    values: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Results:
    """What was found, how the query was read, and facets if they were asked for."""

    hits: list[Hit]
    corrected: dict[str, str] = field(default_factory=dict)
    facets: list[Facet] = field(default_factory=list)


class Searcher:
    """Searches the newest index in a folder; it may be used by several threads.

    It notices by itself when the index has been brought up to date or made anew. Raises DataError
    if there is no index. Without an ``encoder``, or without vectors, words alone count.
    """

    def __init__(
        self,
        folder: Path,
        ontology: Ontology | None = None,
        encoder: TextEncoder | None = None,
        weights: Weights | None = None,
    ) -> None:
        self._folder = folder
        self._ontology = ontology
        self._encoder = encoder
        self._given_weights = weights
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection
        self._path: Path | None = None
        self._version = -1
        self._refresh()

    @property
    def items(self) -> int:
        """How many items are indexed."""
        return self._words.items

    @property
    def weights(self) -> Weights:
        """The weights of the ranking."""
        return self._weights

    @property
    def encoded(self) -> int:
        """How many items have a vector of the encoder."""
        return 0 if self._vectors is None else len(self._vectors.numbers)

    def search(
        self, text: str, count: int = 10, filters: Filters = EVERYTHING, *, facets: bool = False
    ) -> Results:
        """Return the ``count`` best items for a query.

        Raises UsageError if the query has no word, or a filter is none.
        """
        if count < 1 or count > MAX_RESULTS:
            raise UsageError(f"{count:,} results are asked for: ask for 1 to {MAX_RESULTS:,}")
        with self._lock, sqlite_errors(self._folder):
            self._refresh()
            query = self._parse(text)
            condition = filters.condition(self._properties, self._ontology)
            vector = self._encode(query)
            wanted = max(CANDIDATES, 2 * count, FACET_ITEMS if facets else 0)
            numbers = self._by_words(query, wanted, condition)
            if vector is not None and self._vectors is not None:
                near = self._vectors.nearest(vector, wanted, self._allowed(condition))
                numbers = list(dict.fromkeys([*numbers, *near.tolist()]))
            found = read_found(self._connection, numbers)
            ranked = self._ranked(query, vector, found)
            shown = self._facets([each for each, _, _ in ranked]) if facets else []
        return Results(
            [_hit(item, score, features) for item, score, features in ranked[:count]],
            query.corrected,
            shown,
        )

    def score(self, text: str, items: Sequence[str]) -> list[float]:
        """Return the score of each item for a query, the same that a search gives it.

        Raises ItemNotFoundError if one is not indexed.
        """
        features = self.features(text, items)
        return self._weights.score(*features).tolist()

    def features(
        self, text: str, items: Sequence[str]
    ) -> tuple[list[FeatureMatrix], FloatArray | None]:
        """Return the features [N, F] of N items for each reading of a query, and the cosines [N].

        The cosines are None where there are no vectors.
        """
        with self._lock, sqlite_errors(self._folder):
            self._refresh()
            query = self._parse(text)
            numbers = self._numbers(items)
            found = read_found(self._connection, numbers)
            vector = self._encode(query)
            return self._words.compute(query, found), self._cosines(vector, found)

    def known(self, items: Collection[str]) -> set[str]:
        """Return those of some items that are indexed."""
        with self._lock, sqlite_errors(self._folder):
            wanted = list(items)
            found: set[str] = set()
            for start in range(0, len(wanted), 500):
                part = wanted[start : start + 500]
                marks = ", ".join("?" * len(part))
                rows = self._connection.execute(f"SELECT id FROM items WHERE id IN ({marks})", part)
                found.update(id for (id,) in rows)
        return found

    @staticmethod
    def has_words(text: str) -> bool:
        """Return whether a query has a word to search for."""
        return bool(words(text))

    def similar(self, item: str, count: int = 10, filters: Filters = EVERYTHING) -> Results:
        """Return the items most like another one, by their words, kinds and vectors.

        Raises ItemNotFoundError if that is not indexed.
        """
        with self._lock, sqlite_errors(self._folder):
            self._refresh()
            (number,) = self._numbers([item])
            (own,) = read_found(self._connection, [number])
            condition = filters.condition(self._properties, self._ontology)
            wanted = max(CANDIDATES, 2 * count) + 1
            allowed = self._allowed(condition)
            query = parse(own.title or own.category, Vocabulary(self._connection))
            numbers: dict[int, None] = {}
            if query.readings:
                numbers.update(dict.fromkeys(self._by_words(query, wanted, condition)))
            spaces = [space for space in (self._signatures, self._vectors) if space is not None]
            vectors = [_own_vector(space, number) for space in spaces]
            for space, vector in zip(spaces, vectors, strict=True):
                if vector is not None:
                    numbers.update(dict.fromkeys(space.nearest(vector, wanted, allowed).tolist()))
            numbers.pop(number, None)
            found = read_found(self._connection, list(numbers))
            scores = np.zeros(len(found))
            parts = 0
            if query.readings:
                matrices = self._words.compute(query, found)
                scores += np.max([matrix[:, 0] for matrix in matrices], axis=0)
                parts += 1
            for space, vector in zip(spaces, vectors, strict=True):
                if vector is not None:
                    scores += space.cosines(vector, [each.number for each in found])
                    parts += 1
        scores = scores / max(1, parts)
        order = sorted(range(len(found)), key=lambda place: (-scores[place], found[place].id))
        return Results([_hit(found[place], scores[place], {}) for place in order[:count]])

    def close(self) -> None:
        """Close the index."""
        with self._lock:
            self._connection.close()

    def _refresh(self) -> None:
        """Read the index again if it has changed."""
        path = newest_index(self._folder)
        if path is None:
            raise DataError(
                f"there is no index in {self._folder}: make one with `catalograph index`"
            )
        if path != self._path:
            if self._path is not None:
                self._connection.close()
            self._connection = database.connect(path)
            self._path = path
            self._version = -1
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        if version == self._version:
            return
        self._version = version
        self._words = WordFeatures(self._connection)
        self._weights = self._given_weights or read_weights(self._folder)
        self._properties = [
            name for (name,) in self._connection.execute("SELECT name FROM properties")
        ]
        self._lazy_signatures: NearestItems | None = None
        self._vectors: NearestItems | None = None
        if self._encoder is not None:
            vectors = read_vectors(self._folder, self._connection, self._encoder.space)
            self._vectors = vectors if len(vectors.numbers) else None

    @property
    def _signatures(self) -> NearestItems:
        if self._lazy_signatures is None:
            self._lazy_signatures = read_signatures(self._connection)
        return self._lazy_signatures

    def _parse(self, text: str) -> Query:
        query = parse(text, Vocabulary(self._connection))
        if not query.readings:
            raise UsageError(f"the query {text[:40]!r} has no word: write what is to be found")
        return query

    def _encode(self, query: Query) -> Vectors | None:
        """Return the vector of a query; None without vectors."""
        if self._encoder is None or self._vectors is None:
            return None
        return self._encoder.encode([query.text])[0]

    def _cosines(self, vector: Vectors | None, found: Sequence[Found]) -> FloatArray | None:
        if vector is None or self._vectors is None:
            return None
        return self._vectors.cosines(vector, [each.number for each in found]).astype(np.float64)

    def _ranked(
        self, query: Query, vector: Vectors | None, found: Sequence[Found]
    ) -> list[tuple[Found, float, dict[str, float]]]:
        """Return items with their scores and features, the best first."""
        if not found:
            return []
        matrices = self._words.compute(query, found)
        cosines = self._cosines(vector, found)
        scores = self._weights.score(matrices, cosines)
        order = sorted(range(len(found)), key=lambda place: (-scores[place], found[place].id))
        names = WORD_FEATURES if cosines is None else (*WORD_FEATURES, VECTOR_FEATURE)
        ranked = []
        for place in order:
            values = matrices[0][place].tolist()
            values += [] if cosines is None else [float(cosines[place])]
            features = {name: round(value, 4) for name, value in zip(names, values, strict=True)}
            ranked.append((found[place], float(scores[place]), features))
        return ranked

    def _numbers(self, items: Sequence[str]) -> list[int]:
        numbers = []
        for item in items:
            row = self._connection.execute(
                "SELECT number FROM items WHERE id = ?", (item,)
            ).fetchone()
            if row is None:
                raise ItemNotFoundError(
                    f"no item {item!r} in the index: check the id, or run `catalograph index`"
                )
            numbers.append(int(row[0]))
        return numbers

    def _by_words(self, query: Query, limit: int, condition: Condition) -> list[int]:
        """Return the numbers of at most ``limit`` items that have words of a query."""
        counts = Vocabulary(self._connection).counts(query.words)
        found: dict[int, None] = {}
        for expression in _expressions(query, counts):
            if len(found) < limit:
                rows = self._connection.execute(*_statement(expression, limit, condition))
                found.update(dict.fromkeys(number for (number,) in rows))
        return list(found)[:limit]

    def _allowed(self, condition: Condition) -> BoolArray | None:
        """Return by number which items fulfil a condition; None if all do."""
        if not condition.sql:
            return None
        (last,) = self._connection.execute("SELECT max(number) FROM items").fetchone()
        allowed = np.zeros(last + 1, dtype=bool)
        rows = self._connection.execute(
            f"SELECT number FROM items WHERE {condition.sql}", condition.parameters
        )
        allowed[[number for (number,) in rows]] = True
        return allowed

    def _facets(self, found: Sequence[Found]) -> list[Facet]:
        """Return the facets of items: their categories, and the properties that divide them."""
        found = found[:FACET_ITEMS]
        facets = []
        categories = Counter(each.category for each in found if each.category)
        if len(categories) > 1:
            facets.append(Facet("category", tuple(categories.most_common(FACET_VALUES))))
        counts: dict[str, Counter[str]] = {}
        numbers = [each.number for each in found]
        for start in range(0, len(numbers), 500):
            part = numbers[start : start + 500]
            marks = ", ".join("?" * len(part))
            for name, value, count in self._connection.execute(
                "SELECT properties.name, vocabulary.text, count(*) FROM facts "
                "JOIN properties USING (property) JOIN vocabulary USING (value) "
                f"WHERE facts.item IN ({marks}) GROUP BY properties.property, vocabulary.value",
                part,
            ):
                counts.setdefault(name, Counter())[value] += count
        dividing = [
            (values.total(), name)
            for name, values in counts.items()
            if 1 < len(values) <= max(2, values.total() // 2)
        ]
        for _, name in sorted(dividing, key=lambda pair: (-pair[0], pair[1]))[:FACET_PROPERTIES]:
            values = sorted(counts[name].items(), key=lambda pair: (-pair[1], pair[0]))
            facets.append(Facet(name, tuple(values[:FACET_VALUES])))
        return facets


def _expressions(query: Query, counts: dict[str, WordCounts]) -> list[str]:
    """Return expressions of FTS5, to be tried until enough items are found.

    Words have no quotes, and no other character that means something there. A query of common words
    alone would match a large part of the catalogue: then all words have to be there, or the rarer
    ones, or the words of titles.
    """
    codes = [f'"{code}"' for code in query.codes]
    known = [word for word in query.words if counts[word].known or len(word) == 1]
    terms = {word: _term(word) for word in known}
    frequency = {word: counts[word].texts + counts[word].values for word in known}
    every = " OR ".join([*codes, *terms.values()])
    if not every:
        return []
    if sum(frequency.values()) <= FREQUENT:
        return [every]
    expressions = [" OR ".join(codes)] if codes else []
    for reading in query.readings:
        own = [terms[word] for word in reading.words if word in terms]
        if len(own) > 1:
            expressions.append(" AND ".join(own))
    rare: list[str] = []
    left = FREQUENT
    for word in sorted(known, key=lambda word: frequency[word]):
        left -= frequency[word]
        if left >= 0:
            rare.append(terms[word])
    if rare:
        expressions.append(" OR ".join(rare))
    heads = [terms[each.head] for each in query.readings if each.head in terms]
    if heads:
        expressions.append(f"{{title category heads}} : ({' OR '.join(dict.fromkeys(heads))})")
    expressions.append(every)
    return expressions


def _term(word: str) -> str:
    """Return a word as FTS5 takes it; one character of Chinese is the beginning of a pair."""
    return f'"{word}"*' if len(word) == 1 and not word.isascii() else f'"{word}"'


def _statement(expression: str, limit: int, condition: Condition) -> tuple[str, tuple[Any, ...]]:
    if not condition.sql:
        sql = "SELECT rowid FROM found WHERE found MATCH ? ORDER BY rank LIMIT ?"
        return sql, (expression, limit)
    sql = (
        "SELECT found.rowid FROM found JOIN items ON items.number = found.rowid "
        f"WHERE found MATCH ? AND {condition.sql} ORDER BY found.rank LIMIT ?"
    )
    return sql, (expression, *condition.parameters, limit)


def _own_vector(space: NearestItems, number: int) -> Vectors | None:
    place = int(np.searchsorted(space.numbers, number))
    if place >= len(space.numbers) or space.numbers[place] != number:
        return None
    return np.asarray(space.vectors[place])


def _hit(item: Found, score: float, features: dict[str, float]) -> Hit:
    return Hit(item.id, round(float(score), 6), item.title, item.category, features)
