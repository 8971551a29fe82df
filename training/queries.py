"""Pairs of query and item: matching ones from the query log, and negatives as in MBSD (3.5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

import numpy as np
import torch
from torch import Tensor

from encoders.batch import ItemBatch, query_pieces, title_tensors
from encoders.tokenizer import CatalogTokenizer
from fusion.config import ModelConfig
from kg.mapped_arrays import numbers_of
from kg.sampling.keyed_random import KeyedRandom
from kg.sampling.negatives import TrueStatements
from schema.arrays import BoolArray, FloatArray, IntArray
from schema.ontology import Ontology
from schema.wording import plain_words
from training.batches import QueryPairs
from training.data import TrainingData
from training.negative_queries import (
    AllExcept,
    Level,
    Positives,
    QueryDraws,
    Remainder,
    balance,
    group_level,
    listed_level,
)

MAX_TERM_WORDS = 4
"""Values with more words are not looked for in queries."""
MAX_REWRITES = 16
"""Of the logged queries that one term turns a query into, at most this many for each term."""


@dataclass(frozen=True)
class LoggedQuery:
    """A row of the query log."""

    query: str
    item: str
    clicks: int
    purchases: int


@dataclass(frozen=True)
class QueryLog:
    """The rows of a query log whose items are known.

    - ``texts``: the Q distinct queries
    - ``query`` and ``item`` [N]: the matching pairs, as numbers of a query and of an item
    - ``clicked``: every pair of query and item that led to a click or a purchase;
      ``clicked_pairs`` [M, 2]: the same as numbers
    """

    texts: list[str]
    query: IntArray
    item: IntArray
    clicked: TrueStatements
    clicked_pairs: IntArray

    def pairs_of_items(self, index: IntArray) -> IntArray:
        """Return the numbers of the matching pairs of items ``index``."""
        return np.flatnonzero(np.isin(self.item, index))


def read_log(items: Sequence[str], rows: Sequence[LoggedQuery]) -> QueryLog | None:
    """Build a query log over ``items`` (ids); None if fewer than two distinct queries are left.

    A pair matches if it led to a purchase, "since the click-behavior data is easily affected by
    many factors" (MBSD 3.5); in a log without purchases, if it was clicked.
    """
    number = numbers_of(items, {row.item for row in rows})
    useful = [row for row in rows if row.item in number and (row.clicks or row.purchases)]
    matching = [row for row in useful if row.purchases] or useful
    # With a single query there is none that does not match.
    if len({row.query for row in matching}) < 2:
        return None
    # Sorted, so that the numbers, by which queries are drawn, do not depend on the log's order.
    texts = sorted({row.query for row in useful})
    text_number = {text: index for index, text in enumerate(texts)}
    pairs = _numbered_pairs(matching, text_number, number)
    clicked = _numbered_pairs(useful, text_number, number)
    counts = np.bincount(clicked[:, 0], minlength=len(texts))
    indptr = np.concatenate([[0], counts.cumsum()])
    return QueryLog(
        texts=texts,
        query=pairs[:, 0],
        item=pairs[:, 1],
        clicked=TrueStatements(indptr, clicked[:, 1], len(items)),
        clicked_pairs=clicked,
    )


def _numbered_pairs(
    rows: Sequence[LoggedQuery],
    query_number: Mapping[str, int],
    item_number: Mapping[str, int],
) -> IntArray:
    """Return the pairs (query, item) [N, 2] of rows by their numbers, in ascending order."""
    pairs = sorted((query_number[row.query], item_number[row.item]) for row in rows)
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


@dataclass(frozen=True)
class TermSpan:
    """The words from ``begin`` to ``end`` (exclusive) of a query, a value of ``property``."""

    begin: int
    end: int
    property: str


@dataclass(frozen=True)
class RewrittenQuery:
    """A query in which one term became another ``value`` of its ``property``."""

    text: str
    property: str
    value: str


@dataclass
class QueryTerms:
    """Finds the terms of a query: words that are a value of some property of the ontology.

    ``weights`` say in which proportion the values of each property replace another one; all the
    same by default.
    """

    values: Mapping[str, Sequence[str]]
    weights: Mapping[str, FloatArray] = field(default_factory=dict)
    _properties: dict[tuple[str, ...], list[str]] = field(default_factory=dict)
    _numbers: dict[str, dict[tuple[str, ...], int]] = field(default_factory=dict)
    _cumulative: dict[str, FloatArray] = field(default_factory=dict)

    @classmethod
    def from_ontology(cls, ontology: Ontology) -> QueryTerms:
        """Use the values of an ontology's properties."""
        return cls({name: spec.values for name, spec in ontology.properties.items()})

    def __post_init__(self) -> None:
        for name, values in self.values.items():
            numbers = self._numbers.setdefault(name, {})
            for number, value in enumerate(values):
                words = tuple(plain_words(value))
                # If a property has only one value, there is none to replace a term by.
                if 0 < len(words) <= MAX_TERM_WORDS and len(values) > 1 and words not in numbers:
                    self._properties.setdefault(words, []).append(name)
                    numbers[words] = number
            weights = self.weights.get(name, np.ones(len(values)))
            self._cumulative[name] = np.concatenate([[0.0], weights.cumsum()])

    def find(self, words: Sequence[str]) -> list[TermSpan]:
        """Find the terms in the words of a query, from left to right, preferring longer ones."""
        spans = []
        begin = 0
        while begin < len(words):
            for length in range(min(MAX_TERM_WORDS, len(words) - begin), 0, -1):
                end = begin + length
                properties = self._properties.get(tuple(words[begin:end]))
                if properties:
                    spans += [TermSpan(begin, end, name) for name in properties]
                    begin = end - 1
                    break
            begin += 1
        return spans

    def value_number(self, words: Sequence[str], span: TermSpan) -> int:
        """Return the number of the value of its property that a term of ``words`` is."""
        return self._numbers[span.property][tuple(words[span.begin : span.end])]

    def rewrite(self, text: str, term: float, value: float) -> RewrittenQuery | None:
        """Replace one term of a query by another value of its property; None if it has no term.

        ``term`` and ``value`` are random numbers in [0, 1) that choose the term and its new value.
        """
        words = plain_words(text)
        spans = self.find(words)
        if not spans:
            return None
        span = spans[int(term * len(spans))]
        old = words[span.begin : span.end]
        cumulative = self._cumulative[span.property]
        own = self.value_number(words, span)
        before, after = cumulative[own : own + 2]
        # The old value's weight is cut out of the line that is drawn from.
        place = value * (cumulative[-1] - (after - before))
        place = place if place < before else place + (after - before)
        number = min(int(np.searchsorted(cumulative, place, side="right")) - 1, len(cumulative) - 2)
        new = self.values[span.property][number]
        if plain_words(new) == old or cumulative[number] == cumulative[number + 1]:
            return None
        rewritten = [*words[: span.begin], *plain_words(new), *words[span.end :]]
        return RewrittenQuery(" ".join(rewritten), span.property, new)

    def weighted(self, texts: Sequence[str], frequency: IntArray) -> QueryTerms:
        """Replace terms by values as often as they occur in ``texts`` with ``frequency`` [Q]."""
        counts = {name: np.zeros(len(values)) for name, values in self.values.items()}
        for number in np.flatnonzero(frequency).tolist():
            words = plain_words(texts[number])
            spans = self.find(words)
            for span in spans:
                share = frequency[number] / len(spans)
                counts[span.property][self.value_number(words, span)] += share
        weights = {}
        for name, count in counts.items():
            # A value is not replaced by itself, which leaves out the frequent ones most often.
            own = np.arange(len(count))
            group = np.zeros(len(count), np.int64)
            weights[name] = balance(AllExcept(group, group, own, own), count, count).weight
        return QueryTerms(self.values, weights)


class Rewrites(StrEnum):
    """Which queries a term may turn a query into."""

    LOGGED = "logged"
    """Those that led to other items. A text that never does would give the label away."""
    ANY = "any"
    """Any, as in MBSD; the new values are as frequent as in the log."""


class NegativeKind(IntEnum):
    """Where the query of a non-matching pair is from."""

    ANY = 0
    """The whole log."""
    CATEGORY = 1
    """The queries that led to items of the category."""
    REWRITTEN = 2
    """The pair's own query with one term replaced."""


@dataclass(frozen=True)
class NegativeQueries:
    """Queries that do not match the items of N pairs, and the :class:`NegativeKind` [N] of each."""

    texts: list[str]
    kind: IntArray


@dataclass(frozen=True)
class LabelledQueries:
    """The queries of N matching pairs, then N others for the same items.

    ``texts`` [2N], ``label`` [2N] is True if the pair matches, ``kind`` [N] is the
    :class:`NegativeKind` of the others.
    """

    texts: list[str]
    label: BoolArray
    kind: IntArray


class QueryPairBuilder:
    """Builds batches of matching and non-matching pairs from a query log.

    A non-matching pair is the item of a matching pair with another query. A share ``hard`` of these
    queries is hard, half of each of MBSD's kinds: a query that led to items of the same category,
    or the pair's own query with one term replaced. The others are drawn from the whole log. A query
    that ever led to a click on the item is not used, nor is a replacement that the item has.

    Over the matching pairs, each query is drawn as often as it is a positive, so that the query
    alone does not tell whether a pair matches (:mod:`training.negative_queries`). This holds for
    each of the three kinds; what one kind cannot place, the next one draws. It does not hold for
    ``rewrites`` of any kind, whose texts need not be in the log.

    Args:
        data: the items' titles, images, statements and categories.
        log: the query log.
        terms: finds the terms of queries.
        tokenizer: cuts queries and titles into word pieces.
        config: the model's limits on their lengths.
        hard: the share of hard negatives.
        rewrites: which queries a term may turn a query into.
        among: the numbers of the matching pairs that batches are built of, from whose queries the
            negatives are drawn; all pairs of the log if None.
    """

    def __init__(
        self,
        data: TrainingData,
        log: QueryLog,
        terms: QueryTerms,
        tokenizer: CatalogTokenizer,
        config: ModelConfig,
        hard: float = 0.5,
        rewrites: Rewrites = Rewrites.LOGGED,
        among: IntArray | None = None,
    ) -> None:
        self.data = data
        self.log = log
        self.tokenizer = tokenizer
        self.hard = hard
        self.max_query = config.max_query
        self.max_title = config.max_title
        self.facts = TrueStatements(data.indptr, data.candidate, int(data.ranges[-1]))
        every_value = [(name, value) for name, values in terms.values.items() for value in values]
        self.candidate = {pair: number for number, pair in enumerate(every_value)}
        self.number = {text: index for index, text in enumerate(log.texts)}
        self.among = np.arange(len(log.query)) if among is None else np.unique(among)
        self._positives = Positives(log.query[self.among], log.item[self.among])
        frequency = np.bincount(self._positives.query, minlength=len(log.texts))
        self.terms = terms
        if rewrites is Rewrites.ANY and hard > 0:
            self.terms = terms.weighted(log.texts, frequency)
        self.rewrites = rewrites
        self._draws = QueryDraws(self._positives, log.clicked, self._chains())

    def _chains(self) -> list[list[Level]]:
        """Return the levels at which the negatives of each kind are drawn in turn."""
        remainder = Remainder.of_all(self._positives, len(self.log.texts))
        clicked = self.log.clicked_pairs
        category = self.data.category
        # Zeros that nobody writes to take no memory, as a copy of zeros would.
        everywhere = np.zeros(len(category), category.dtype)

        def levels_after(left: Remainder, *groups: IntArray) -> list[Level]:
            levels = []
            for group in groups:
                level, left = group_level(self._positives, group, clicked, left)
                levels.append(level)
            return levels

        # A kind is the number of levels that come after its own.
        chains = [levels_after(remainder, everywhere)]
        if self.hard > 0:
            chains.append(levels_after(remainder, category, everywhere))
            if self.rewrites is Rewrites.LOGGED:
                level, left = listed_level(*self._logged_rewrites(), remainder)
                chains.append([level, *levels_after(left, category, everywhere)])
        return chains

    def _logged_rewrites(self) -> tuple[IntArray, IntArray]:
        """Return the pairs [E], by position, and the queries [E] that they can be rewritten to.

        Sorted by pair. The query is one of a positive pair, did not lead to a click on the item,
        and the item does not have the value that the term becomes.
        """
        positives = self._positives
        edges = logged_rewrites(self.log.texts, np.unique(positives.query), self.terms)
        begin = np.searchsorted(edges.query, positives.query, "left")
        count = np.searchsorted(edges.query, positives.query, "right") - begin
        pair = np.repeat(np.arange(len(count)), count)
        edge = np.arange(len(pair)) + np.repeat(begin - (count.cumsum() - count), count)
        rewritten = edges.rewritten[edge]
        # The candidates of a property are next to each other.
        sizes = [len(values) for values in self.terms.values.values()]
        first = np.cumsum([0, *sizes])
        candidate = first[edges.property[edge]] + edges.value[edge]
        item = positives.item[pair]
        is_true = self.log.clicked.contains(rewritten, item) | self.facts.contains(item, candidate)
        # Two terms may turn a query into the same one; it is used if it is wrong by both.
        keys, number = np.unique(pair * len(self.log.texts) + rewritten, return_inverse=True)
        usable = keys[np.bincount(number, is_true, len(keys)) == 0]
        return usable // len(self.log.texts), usable % len(self.log.texts)

    def batch(
        self,
        pairs: IntArray,
        queries: LabelledQueries,
        all_pairs: IntArray | None = None,
        first: int = 0,
    ) -> QueryPairs:
        """Build a batch of N matching ``pairs`` (numbers) and as many that do not match.

        ``queries`` are those of :meth:`labelled_queries` for these pairs. ``all_pairs`` [G] are the
        pairs of all processes, among which this process's begin at ``first``; None if there is only
        this process.
        """
        log = self.log
        query = log.query[pairs]
        item = log.item[pairs]
        everyone = pairs if all_pairs is None else all_pairs
        query_matches = log.clicked.contains(query[:, None], log.item[everyone][None, :])
        item_matches = log.clicked.contains(log.query[everyone][None, :], item[:, None])
        items = self.items(item)
        # The N matching pairs and the N others have the same items.
        has_both = (items.has_image & (items.pieces != 0).any(1)).repeat(2)
        pieces = self.query_pieces(queries)
        return QueryPairs(
            query=pieces,
            query_limit=int((pieces != 0).sum()),
            items=items,
            label=torch.from_numpy(queries.label.astype(np.float32)),
            query_matches=torch.from_numpy(query_matches),
            item_matches=torch.from_numpy(item_matches),
            first=first,
            complete=has_both.nonzero()[:, 0],
        )

    def labelled_queries(self, pairs: IntArray, random: KeyedRandom) -> LabelledQueries:
        """Return the queries of N matching ``pairs``, and as many that do not match."""
        negatives = self.draw_negatives(pairs, random)
        # If every drawn query was clicked, the last one is kept, and labelled as a match.
        known = np.array([self.number.get(text, -1) for text in negatives.texts], np.int64)
        item = self.log.item[pairs]
        matches_anyway = (known >= 0) & self.log.clicked.contains(np.maximum(known, 0), item)
        matching = [self.log.texts[number] for number in self.log.query[pairs].tolist()]
        return LabelledQueries(
            texts=[*matching, *negatives.texts],
            label=np.concatenate([np.ones(len(pairs), dtype=bool), matches_anyway]),
            kind=negatives.kind,
        )

    def query_pieces(self, queries: LabelledQueries) -> Tensor:
        """Return the word pieces [2N, L] of the queries of N matching pairs and N others."""
        return query_pieces(self.tokenizer, queries.texts, self.max_query)

    def items(self, index: IntArray) -> ItemBatch:
        """Read titles and images of items ``index`` [N], unchanged."""
        words = [self.data.words[i] for i in index]
        images = self.data.item_images(index)
        titles = title_tensors(self.tokenizer, words, self.max_title)
        return ItemBatch.of(titles, images.pixels, images.has_image, images.regions)

    def negatives(self, pairs: IntArray, random: KeyedRandom) -> list[str]:
        """Return a query that does not match for each of N matching ``pairs``."""
        return self.draw_negatives(pairs, random).texts

    def draw_negatives(self, pairs: IntArray, random: KeyedRandom) -> NegativeQueries:
        """Draw a query that does not match for each of N matching ``pairs``, with its kind.

        Raises ValueError if a pair is not one of those that the builder was made for.
        """
        position = np.searchsorted(self.among, pairs)
        if not np.array_equal(self.among[np.minimum(position, len(self.among) - 1)], pairs):
            raise ValueError("negatives are drawn only for the pairs that a builder is made for")
        share = random.uniform("kind", pairs)
        wanted = np.full(len(pairs), int(NegativeKind.ANY))
        wanted[share < self.hard] = NegativeKind.CATEGORY
        wanted[share < self.hard / 2] = NegativeKind.REWRITTEN
        chain = wanted
        if self.rewrites is Rewrites.ANY:
            chain = np.minimum(wanted, NegativeKind.CATEGORY)
        drawn = self._draws(chain, position, random)
        kind = drawn.after
        texts = [self.log.texts[number] for number in drawn.query.tolist()]
        if self.rewrites is Rewrites.ANY:
            is_rewritten = wanted == NegativeKind.REWRITTEN
            self._rewrite_any(texts, kind, pairs, is_rewritten, random)
        return NegativeQueries(texts, kind)

    def _rewrite_any(
        self,
        texts: list[str],
        kind: IntArray,
        pairs: IntArray,
        wanted: BoolArray,
        random: KeyedRandom,
    ) -> None:
        """Replace ``texts`` by rewritten queries of the ``pairs`` where ``wanted`` and possible.

        A query that cannot be rewritten is replaced by another one of the category, as drawn.
        """
        query = self.log.query[pairs].tolist()
        item = self.log.item[pairs].tolist()
        term = random.uniform("term", pairs)
        value = random.uniform("value", pairs)
        for row in np.flatnonzero(wanted).tolist():
            rewritten = self._rewrite(query[row], item[row], term[row], value[row])
            if rewritten is not None:
                texts[row] = rewritten
                kind[row] = NegativeKind.REWRITTEN

    def _rewrite(self, query: int, item: int, term: float, value: float) -> str | None:
        """Rewrite a term of a query so that it does not match the item; None if that fails."""
        rewritten = self.terms.rewrite(self.log.texts[query], term, value)
        if rewritten is None:
            return None
        number = self.number.get(rewritten.text)
        if number is not None and self._is_true(self.log.clicked, number, item):
            return None
        candidate = self.candidate[rewritten.property, rewritten.value]
        return None if self._is_true(self.facts, item, candidate) else rewritten.text

    @staticmethod
    def _is_true(facts: TrueStatements, first: int, second: int) -> bool:
        return bool(facts.contains(np.array(first), np.array(second)))


@dataclass(frozen=True)
class LoggedRewrites:
    """E ways in which one term turns a query of a log into another one, sorted by ``query``.

    ``query`` [E] becomes ``rewritten`` [E], whose term is the value number ``value`` [E] of the
    property number ``property`` [E].
    """

    query: IntArray
    rewritten: IntArray
    property: IntArray
    value: IntArray


def logged_rewrites(texts: Sequence[str], queries: IntArray, terms: QueryTerms) -> LoggedRewrites:
    """Find which of the ``queries`` [U], numbers in ``texts``, differ from others by one term.

    Of the queries that only differ in the same term, each is turned into the next
    ``MAX_REWRITES``, since their number would otherwise grow by the square.
    """
    property_number = {name: number for number, name in enumerate(terms.values)}
    # Queries with the same words around a term of the same property, with its value's number.
    alike: dict[tuple[tuple[str, ...], int, tuple[str, ...]], list[tuple[int, int]]] = {}
    for number in queries.tolist():
        words = plain_words(texts[number])
        for span in terms.find(words):
            name = property_number[span.property]
            around = (tuple(words[: span.begin]), name, tuple(words[span.end :]))
            value = terms.value_number(words, span)
            alike.setdefault(around, []).append((number, value))
    edges = []
    for (_, name, _), members in alike.items():
        query, value = np.array(members).T
        place = np.arange(len(members))
        for step in range(1, min(len(members), MAX_REWRITES + 1)):
            other = (place + step) % len(members)
            edge = np.stack([query, query[other], np.full_like(query, name), value[other]])
            # Texts of the same words, in other letters, are no rewriting.
            edges.append(edge[:, value != value[other]])
    edge = np.concatenate([np.zeros((4, 0), np.int64), *edges], axis=1)
    edge = edge[:, np.argsort(edge[0], kind="stable")]
    return LoggedRewrites(edge[0], edge[1], edge[2], edge[3])
