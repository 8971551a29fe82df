"""Search in an index: candidates are found by words and by vectors, then ranked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from schema.arrays import BoolArray, FloatArray
from schema.errors import ItemNotFoundError, UsageError
from schema.ontology import Ontology
from serving.search.encoders import Encoders
from serving.search.features import WORD_FEATURES, Features, Found, read_found
from serving.search.filters import EVERYTHING, Condition, Filters
from serving.search.parts import PARTS_OF, Kind, Part, QueryVectors, Vector
from serving.search.query import Query, Vocabulary, WordCounts, parse
from serving.search.ranking import MATCH_FEATURE, VECTOR_FEATURE, Weights, fused_ranks
from serving.search.reading import IndexReader, ReaderPool
from serving.search.shared import Shared, SharedStates
from serving.search.words import words

CANDIDATES = 200
"""Items that words find, and that are ranked, at least."""
NEAREST = 100
"""Items that are ranked, at least, of those that are nearest by each kind of vectors."""
FREQUENT = 6_000
"""Words that more items have are not looked up alone: rarer ones of the query find candidates."""
MAX_RESULTS = 10_000
FACET_ITEMS = 1_000
"""Facets count the best items of a search, at most so many."""
FACET_PROPERTIES = 8
FACET_VALUES = 10


@dataclass(frozen=True)
class Hit:
    """An item that was found.

    Attributes:
        item: its id
        score: how well it fits, from 0 to 1
        title: its title
        category: its category
        features: what the score by words and texts comes from
        by: what it was ranked by: words, and the parts of vectors, with how well it fits by each
    """

    item: str
    score: float
    title: str
    category: str = ""
    features: dict[str, float] = field(default_factory=dict)
    by: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Facet:
    """How many of the found items have each value of a property, the commonest first."""

    property: str
    values: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Results:
    """What was found.

    Attributes:
        hits: the items, the best first
        corrected: words of the query that no item has, with those that were read in their place
        facets: facets, if they were asked for
        parts: the vectors that were compared
    """

    hits: list[Hit]
    corrected: dict[str, str] = field(default_factory=dict)
    facets: list[Facet] = field(default_factory=list)
    parts: tuple[Part, ...] = ()


class Searcher:
    """Searches the newest index in a folder; it may be used by several threads.

    Each call sees one state of the index, and notices by itself when that was brought up to date
    or made anew. Raises DataError if there is no index.

    Args:
        folder: the folder of the index
        ontology: the ontology of its home, which says what values filters mean
        encoders: what encodes queries; without them words alone count in a search
        weights: the ranking's; those of the folder if they are not given
        vectors: whether vectors of items count at all
    """

    def __init__(
        self,
        folder: Path,
        ontology: Ontology | None = None,
        encoders: Encoders | None = None,
        weights: Weights | None = None,
        *,
        vectors: bool = True,
    ) -> None:
        self._ontology = ontology
        self._encoders = encoders or Encoders()
        self._readers = ReaderPool(folder)
        self._states = SharedStates(folder, weights, vectors)
        with self._view():
            pass

    @property
    def items(self) -> int:
        """How many items are indexed."""
        with self._readers.reading() as reader:
            return reader.words.items

    @property
    def weights(self) -> Weights:
        """The weights of the ranking."""
        with self._view() as view:
            return view.shared.weights

    def encoded(self, part: Part = Part.TEXT) -> int:
        """Return how many items have a vector of a part."""
        with self._view() as view:
            space = view.shared.spaces.get(part)
            return 0 if space is None else len(space)

    def outdated(self) -> dict[Part, int]:
        """Return how many items have changed, or come, since the vectors of each part were made."""
        with self._view() as view:
            return {part: count for part, count in view.shared.outdated.items() if count}

    def unusable(self) -> list[Part]:
        """Return the parts whose vectors queries cannot be compared with: their encoder changed."""
        spaces = self._encoders.spaces()
        with self._view() as view:
            return [
                part
                for part, space in view.shared.spaces.items()
                if part in spaces and spaces[part] != space.bank.space
            ]

    def search(
        self,
        text: str,
        count: int = 10,
        filters: Filters = EVERYTHING,
        *,
        facets: bool = False,
        image: bytes | None = None,
    ) -> Results:
        """Return the ``count`` best items for a query: a text, the bytes of an image file, or both.

        Raises UsageError if a text has no word, a filter is none, or images cannot be searched for,
        and ImageRefusedError if the bytes are none of an image.
        """
        if count < 1 or count > MAX_RESULTS:
            raise UsageError(f"{count:,} results are asked for: ask for 1 to {MAX_RESULTS:,}")
        with self._view() as view:
            query = view.parse(text) if text or image is None else None
            condition = filters.condition(view.reader.properties, self._ontology)
            vectors = self._vectors(view, text, image)
            wanted = max(CANDIDATES, 2 * count, FACET_ITEMS if facets else 0)
            numbers: dict[int, None] = {}
            if query is not None:
                numbers.update(dict.fromkeys(view.by_words(query, wanted, condition)))
            near = max(NEAREST, 2 * count, FACET_ITEMS if facets else 0)
            numbers.update(dict.fromkeys(view.nearest(vectors, near, condition)))
            found = read_found(view.reader.connection, list(numbers))
            ranked = view.ranked(query, vectors, found)
            shown = view.facets([found[place] for place in ranked.order]) if facets else []
        return Results(
            [ranked.hit(found, place) for place in ranked.order[:count]],
            {} if query is None else query.corrected,
            shown,
            tuple(vectors),
        )

    def score(self, text: str, items: Sequence[str]) -> list[float]:
        """Return the score of each item for a query, as a search that finds them all gives it.

        Raises ItemNotFoundError if one is not indexed.
        """
        return self.weights.score(self.features(text, items)).tolist()

    def features(self, text: str, items: Sequence[str]) -> Features:
        """Return how well N items fit a text.

        Raises ItemNotFoundError if one is not indexed.
        """
        with self._view() as view:
            query = view.parse(text)
            found = read_found(view.reader.connection, view.numbers(items))
            return view.features(query, self._vectors(view, text, None), found)

    def known(self, items: Collection[str]) -> set[str]:
        """Return those of some items that are indexed."""
        wanted = list(items)
        found: set[str] = set()
        with self._readers.reading() as reader:
            for start in range(0, len(wanted), 500):
                part = wanted[start : start + 500]
                marks = ", ".join("?" * len(part))
                rows = reader.connection.execute(
                    f"SELECT id FROM items WHERE id IN ({marks})", part
                )
                found.update(id for (id,) in rows)
        return found

    @staticmethod
    def has_words(text: str) -> bool:
        """Return whether a query has a word to search for."""
        return bool(words(text))

    def similar(
        self,
        item: str,
        count: int = 10,
        filters: Filters = EVERYTHING,
        by: Collection[Kind] = (),
    ) -> Results:
        """Return the items most like another one, ``by`` all that there is of it if that is empty.

        Words stand for those of titles, for the kinds of things and for the vectors of texts. If
        it is by several kinds, their reciprocal ranks are added. Raises ItemNotFoundError if the
        item is not indexed, and UsageError if it has no vectors of a kind that is asked for.
        """
        with self._view() as view:
            (number,) = view.numbers([item])
            condition = filters.condition(view.reader.properties, self._ontology)
            wanted = max(CANDIDATES, 2 * count) + 1
            vectors = view.shared.own_vectors(number)
            kinds = _kinds_of(item, vectors, view.shared, by)
            numbers: dict[int, None] = {}
            query = None
            if Kind.WORDS in kinds:
                (own,) = read_found(view.reader.connection, [number])
                query = parse(own.title or own.category, Vocabulary(view.reader.connection))
                if query.readings:
                    numbers.update(dict.fromkeys(view.by_words(query, wanted, condition)))
                signatures = view.shared.signatures(view.reader.connection)
                vector = signatures.own(number)
                if vector is not None:
                    alike = signatures.nearest(vector, wanted, view.allowed(condition))
                    numbers.update(dict.fromkeys(alike.tolist()))
            chosen = {
                part: vectors[part] for kind in kinds for part in PARTS_OF[kind] if part in vectors
            }
            near = max(NEAREST, 2 * count) + 1
            numbers.update(dict.fromkeys(view.nearest(chosen, near, condition)))
            numbers.pop(number, None)
            found = read_found(view.reader.connection, list(numbers))
            ranked = view.alike(number, query, chosen, found, kinds)
        hits = [ranked.hit(found, place) for place in ranked.order[:count]]
        return Results(hits, parts=tuple(chosen))

    def close(self) -> None:
        """Close the index."""
        self._readers.close()
        self._states.close()

    @contextmanager
    def _view(self) -> Iterator[_View]:
        with self._readers.reading() as reader:
            yield _View(reader, self._states.of(reader))

    def _vectors(self, view: _View, text: str, image: bytes | None) -> QueryVectors:
        """Return the vectors of a query that those of the items can be compared with."""
        spaces = view.shared.spaces
        found: dict[Part, Vector] = {}
        if text:
            found.update(self._encoders.of_text(text, Part.MATCH in spaces))
        if image is not None:
            found.update(self._encoders.of_image(image))
        own = self._encoders.spaces()
        usable = {
            part: vector
            for part, vector in found.items()
            if part in spaces and spaces[part].bank.space == own[part]
        }
        if image is not None and Part.IMAGE not in usable:
            raise UsageError(
                "the index has no vectors of images that an image can be compared with: make them "
                "with `catalograph index --image-encoder built-in`, or with a folder or --model M"
            )
        return usable


def _kinds_of(
    item: str, vectors: QueryVectors, shared: Shared, by: Collection[Kind]
) -> tuple[Kind, ...]:
    """Return what an item is compared by; raises UsageError if it has no such vectors."""
    there = [
        kind
        for kind in Kind
        if kind is Kind.WORDS or any(part in vectors for part in PARTS_OF[kind])
    ]
    for kind in by:
        if kind not in there:
            made = any(part in shared.spaces for part in PARTS_OF[kind])
            option = "--image-encoder built-in" if kind is Kind.IMAGE else "--model M"
            raise UsageError(
                f"item {item!r} has no {kind} vector: compare it by {' or '.join(there)}"
                if made
                else f"the index has no {kind} vectors: make them with `catalograph index {option}`"
            )
    return tuple(kind for kind in there if not by or kind in by)


@dataclass(frozen=True)
class _Ranked:
    """N items in their order, with their scores [N], and what these come from [N] each."""

    order: list[int]
    scores: FloatArray
    by: Mapping[str, FloatArray]
    features: Mapping[str, FloatArray]

    @classmethod
    def of(
        cls,
        found: Sequence[Found],
        scores: FloatArray,
        by: Mapping[str, FloatArray],
        features: Mapping[str, FloatArray] | None = None,
    ) -> _Ranked:
        order = sorted(range(len(found)), key=lambda place: (-scores[place], found[place].id))
        return cls(order, scores, by, features or {})

    def hit(self, found: Sequence[Found], place: int) -> Hit:
        """Return an item as it is shown."""
        return _hit(
            found[place],
            self.scores[place],
            {name: round(float(each[place]), 4) for name, each in self.features.items()},
            {
                name: round(float(each[place]), 4)
                for name, each in self.by.items()
                if not np.isnan(each[place])
            },
        )


@dataclass(frozen=True)
class _View:
    """One state of an index, as one thread reads it."""

    reader: IndexReader
    shared: Shared

    def parse(self, text: str) -> Query:
        """Read a query; raises UsageError if it has no word."""
        query = parse(text, Vocabulary(self.reader.connection))
        if not query.readings:
            raise UsageError(f"the query {text[:40]!r} has no word: write what is to be found")
        return query

    def numbers(self, items: Sequence[str]) -> list[int]:
        """Return the numbers of items; raises ItemNotFoundError."""
        numbers = []
        for item in items:
            row = self.reader.connection.execute(
                "SELECT number FROM items WHERE id = ?", (item,)
            ).fetchone()
            if row is None:
                raise ItemNotFoundError(
                    f"no item {item!r} in the index: check the id, or run `catalograph index`"
                )
            numbers.append(int(row[0]))
        return numbers

    def by_words(self, query: Query, limit: int, condition: Condition) -> list[int]:
        """Return the numbers of at most ``limit`` items that have words of a query."""
        counts = Vocabulary(self.reader.connection).counts(query.words)
        found: dict[int, None] = {}
        for expression in _expressions(query, counts):
            if len(found) < limit:
                rows = self.reader.connection.execute(*_statement(expression, limit, condition))
                found.update(dict.fromkeys(number for (number,) in rows))
        return list(found)[:limit]

    def nearest(self, vectors: QueryVectors, limit: int, condition: Condition) -> list[int]:
        """Return the numbers of the items that are nearest to a query by each of its vectors."""
        found: dict[int, None] = {}
        allowed = self.allowed(condition) if vectors else None
        for part, vector in vectors.items():
            near = self.shared.spaces[part].nearest(vector, limit, allowed)
            found.update(dict.fromkeys(near.tolist()))
        return list(found)

    def allowed(self, condition: Condition) -> BoolArray | None:
        """Return by number which items fulfil a condition; None if all do."""
        if not condition.sql:
            return None
        (last,) = self.reader.connection.execute("SELECT max(number) FROM items").fetchone()
        allowed = np.zeros(last + 1, dtype=bool)
        rows = self.reader.connection.execute(
            f"SELECT number FROM items WHERE {condition.sql}", condition.parameters
        )
        allowed[[number for (number,) in rows]] = True
        return allowed

    def features(self, query: Query, vectors: QueryVectors, found: Sequence[Found]) -> Features:
        """Return how well N items fit a text."""
        cosines: dict[Part, FloatArray] = {}
        for part in (Part.TEXT, Part.MATCH):
            if part in vectors:
                cosines[part] = self.cosines(part, vectors[part], found, missing=0.0)
        return Features(
            self.reader.words.compute(query, found),
            cosines.get(Part.TEXT),
            cosines.get(Part.MATCH),
        )

    def cosines(
        self, part: Part, vector: Vector, found: Sequence[Found], missing: float = np.nan
    ) -> FloatArray:
        """Return the cosines [N] of N items with a vector; ``missing`` for those without one."""
        space = self.shared.spaces[part]
        numbers = [each.number for each in found]
        cosines = space.cosines(vector, numbers).astype(np.float64)
        cosines[~space.has(numbers)] = missing
        return cosines

    def ranked(self, query: Query | None, vectors: QueryVectors, found: Sequence[Found]) -> _Ranked:
        """Rank items for a query."""
        rankings: list[FloatArray] = []
        by: dict[str, FloatArray] = {}
        shown: dict[str, FloatArray] = {}
        if query is not None and found:
            features = self.features(query, vectors, found)
            weights = self.shared.weights
            scores = weights.score(features)
            by[Kind.WORDS] = weights.score(Features(features.words))
            shown = dict(zip(WORD_FEATURES, features.words[0].T, strict=True))
            for part, name, cosines in (
                (Part.TEXT, VECTOR_FEATURE, features.meaning),
                (Part.MATCH, MATCH_FEATURE, features.match),
            ):
                if cosines is not None:
                    shown[name] = cosines
                    by[part] = cosines
            rankings.append(scores)
        if Part.IMAGE in vectors:
            by[Kind.IMAGE] = self.cosines(Part.IMAGE, vectors[Part.IMAGE], found)
            rankings.append(by[Kind.IMAGE])
        shown.update({Kind.IMAGE: by[Kind.IMAGE]} if Kind.IMAGE in by else {})
        return _Ranked.of(found, _joined(rankings, found), by, _without_nan(shown))

    def alike(
        self,
        number: int,
        query: Query | None,
        vectors: QueryVectors,
        found: Sequence[Found],
        kinds: Collection[Kind],
    ) -> _Ranked:
        """Rank items by how much they are like the one of a number."""
        rankings: list[FloatArray] = []
        by: dict[str, FloatArray] = {}
        if Kind.WORDS in kinds:
            parts: list[FloatArray] = []
            if query is not None and query.readings and found:
                matrices = self.reader.words.compute(query, found)
                parts.append(np.max([matrix[:, 0] for matrix in matrices], axis=0))
            signatures = self.shared.signatures(self.reader.connection)
            own = signatures.own(number)
            if own is not None:
                cosines = signatures.cosines(own, [each.number for each in found])
                parts.append(cosines.astype(np.float64))
            if Part.TEXT in vectors:
                parts.append(self.cosines(Part.TEXT, vectors[Part.TEXT], found, missing=0.0))
            scores = sum(parts, np.zeros(len(found))) / max(1, len(parts))
            by[Kind.WORDS] = scores
            rankings.append(scores)
        for kind in (Kind.IMAGE, Kind.NODE):
            largest = self._largest(kind, vectors, found)
            if largest is not None:
                by[kind] = largest
                rankings.append(largest)
        return _Ranked.of(found, _joined(rankings, found), by)

    def _largest(
        self, kind: Kind, vectors: QueryVectors, found: Sequence[Found]
    ) -> FloatArray | None:
        """Return the largest cosine [N] of a kind's parts, NaN for items without such vectors."""
        parts = [part for part in PARTS_OF[kind] if part in vectors]
        if not parts:
            return None
        return np.fmax.reduce([self.cosines(part, vectors[part], found) for part in parts])

    def facets(self, found: Sequence[Found]) -> list[Facet]:
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
            for name, value, count in self.reader.connection.execute(
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


def _joined(rankings: Sequence[FloatArray], found: Sequence[Found]) -> FloatArray:
    """Return the scores [N] of N items: those of one ranking, or the reciprocal ranks of several.

    Of several, equal ones are in the order of their ids.
    """
    if len(rankings) == 1:
        return np.nan_to_num(rankings[0], nan=-1.0)
    if not rankings or not found:
        return np.zeros(len(found))
    order = sorted(range(len(found)), key=lambda place: found[place].id)
    scores = np.zeros(len(found))
    scores[order] = fused_ranks([each[order] for each in rankings])
    return scores


def _without_nan(features: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    return {name: np.nan_to_num(each) for name, each in features.items()}


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


def _hit(item: Found, score: float, features: dict[str, float], by: dict[str, float]) -> Hit:
    return Hit(item.id, round(float(score), 6), item.title, item.category, features, by)
