"""Pairs of query and item: matching ones from the query log, and negatives as in MBSD (3.5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from encoders.batch import ItemBatch, query_pieces, title_tensors
from encoders.tokenizer import CatalogTokenizer
from fusion.config import ModelConfig
from kg.sampling.keyed_random import KeyedRandom
from kg.sampling.negatives import TrueStatements
from schema.arrays import IntArray
from schema.ontology import Ontology
from schema.wording import plain_words
from training.batches import QueryPairs
from training.data import TrainingData

MAX_DRAWS = 4
"""How often a non-matching query is drawn from the item's category, and then from the whole log."""
MAX_TERM_WORDS = 4
"""Values with more words are not looked for in queries."""


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
    - ``clicked``: every pair of query and item that led to a click or a purchase
    """

    texts: list[str]
    query: IntArray
    item: IntArray
    clicked: TrueStatements

    def pairs_of_items(self, index: IntArray) -> IntArray:
        """Return the numbers of the matching pairs of items ``index``."""
        return np.flatnonzero(np.isin(self.item, index))


def read_log(items: Sequence[str], rows: Sequence[LoggedQuery]) -> QueryLog | None:
    """Build a query log over ``items`` (ids); None if fewer than two distinct queries are left.

    A pair matches if it led to a purchase, "since the click-behavior data is easily affected by
    many factors" (MBSD 3.5); in a log without purchases, if it was clicked.
    """
    number = {item: index for index, item in enumerate(items)}
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
    """Finds the terms of a query: words that are a value of some property of the ontology."""

    values: Mapping[str, Sequence[str]]
    _properties: dict[tuple[str, ...], list[str]] = field(default_factory=dict)

    @classmethod
    def from_ontology(cls, ontology: Ontology) -> QueryTerms:
        """Use the values of an ontology's properties."""
        return cls({name: spec.values for name, spec in ontology.properties.items()})

    def __post_init__(self) -> None:
        for name, values in self.values.items():
            for value in values:
                words = tuple(plain_words(value))
                # If a property has only one value, there is none to replace a term by.
                if 0 < len(words) <= MAX_TERM_WORDS and len(values) > 1:
                    self._properties.setdefault(words, []).append(name)

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
        others = [each for each in self.values[span.property] if plain_words(each) != old]
        if not others:
            return None
        new = others[int(value * len(others))]
        rewritten = [*words[: span.begin], *plain_words(new), *words[span.end :]]
        return RewrittenQuery(" ".join(rewritten), span.property, new)


class QueryPairBuilder:
    """Builds batches of matching and non-matching pairs from a query log.

    A non-matching pair is the item of a matching pair with another query. A share ``hard`` of these
    queries is hard, half of each of MBSD's kinds: a query that led to items of the same category,
    or the pair's own query with one term replaced. The others are drawn from the whole log. A query
    that ever led to a click on the item is not used, nor is a replacement that the item has.
    """

    def __init__(
        self,
        data: TrainingData,
        log: QueryLog,
        terms: QueryTerms,
        tokenizer: CatalogTokenizer,
        config: ModelConfig,
        hard: float = 0.5,
    ) -> None:
        self.data = data
        self.log = log
        self.terms = terms
        self.tokenizer = tokenizer
        self.hard = hard
        self.max_query = config.max_query
        self.max_title = config.max_title
        self.facts = TrueStatements(data.indptr, data.candidate, int(data.ranges[-1]))
        every_value = [(name, value) for name, values in terms.values.items() for value in values]
        self.candidate = {pair: number for number, pair in enumerate(every_value)}
        self.number = {text: index for index, text in enumerate(log.texts)}
        # The distinct queries of each category, one category after another.
        by_category = np.unique(np.stack([data.category[log.item], log.query]), axis=1)
        self._queries = by_category[1]
        categories = np.arange(int(data.category.max(initial=0)) + 2)
        self._category_begins = np.searchsorted(by_category[0], categories)

    def batch(
        self,
        pairs: IntArray,
        random: KeyedRandom,
        all_pairs: IntArray | None = None,
        first: int = 0,
    ) -> QueryPairs:
        """Build a batch of N matching ``pairs`` (numbers) and as many that do not match.

        ``all_pairs`` [G] are the pairs of all processes, among which this process's begin at
        ``first``; None if there is only this process.
        """
        log = self.log
        query = log.query[pairs]
        item = log.item[pairs]
        other_queries = self.negatives(pairs, random)
        # If every drawn query was clicked, the last one is kept, and labelled as a match.
        known = np.array([self.number.get(text, -1) for text in other_queries])
        matches_anyway = (known >= 0) & log.clicked.contains(np.maximum(known, 0), item)
        label = np.concatenate([np.ones(len(pairs)), matches_anyway]).astype(np.float32)

        everyone = pairs if all_pairs is None else all_pairs
        query_matches = log.clicked.contains(query[:, None], log.item[everyone][None, :])
        item_matches = log.clicked.contains(log.query[everyone][None, :], item[:, None])
        texts = [*(log.texts[number] for number in query.tolist()), *other_queries]
        items = self.items(item)
        # The N matching pairs and the N others have the same items.
        has_both = (items.has_image & (items.pieces != 0).any(1)).repeat(2)
        return QueryPairs(
            query=query_pieces(self.tokenizer, texts, self.max_query),
            items=items,
            label=torch.from_numpy(label),
            query_matches=torch.from_numpy(query_matches),
            item_matches=torch.from_numpy(item_matches),
            first=first,
            complete=has_both.nonzero()[:, 0],
        )

    def items(self, index: IntArray) -> ItemBatch:
        """Read titles and images of items ``index`` [N], unchanged."""
        words = [self.data.words[i] for i in index]
        images = self.data.item_images(index)
        titles = title_tensors(self.tokenizer, words, self.max_title)
        return ItemBatch.of(titles, images.pixels, images.has_image, images.regions)

    def negatives(self, pairs: IntArray, random: KeyedRandom) -> list[str]:
        """Return a query that does not match for each of N matching ``pairs``."""
        item = self.log.item[pairs]
        query = self.log.query[pairs]
        kind = random.uniform("kind", pairs)
        category = np.where(kind < self.hard, self.data.category[item], -1)
        texts = [self.log.texts[n] for n in self._draw_queries(pairs, category, random).tolist()]
        term = random.uniform("term", pairs)
        value = random.uniform("value", pairs)
        # A query that cannot be rewritten is replaced by another one of the category, as drawn.
        for row in np.flatnonzero(kind < self.hard / 2).tolist():
            rewritten = self._rewrite(int(query[row]), int(item[row]), term[row], value[row])
            if rewritten is not None:
                texts[row] = rewritten
        return texts

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

    def _draw_queries(
        self,
        pairs: IntArray,
        category: IntArray,
        random: KeyedRandom,
    ) -> IntArray:
        """Draw a query for each pair that never led to a click on the pair's item.

        It comes from the queries of the ``category`` [N], or from the whole log if the category is
        -1 or has no such query.
        """
        item = self.log.item[pairs]
        # Category -1 reads the last entry of the table, which is then not used.
        anywhere = category < 0
        low = np.where(anywhere, 0, self._category_begins[category])
        size = self._category_begins[category + 1] - low
        total = len(self.log.texts)
        chosen = self.log.query[pairs]
        wrong = np.ones(len(item), dtype=bool)
        for draw in range(2 * MAX_DRAWS):
            anywhere |= draw >= MAX_DRAWS
            place = random.integers(np.where(anywhere, total, size), "query", pairs, draw)
            in_category = self._queries[np.where(anywhere, 0, low + place)]
            drawn = np.where(anywhere, place, in_category)
            chosen = np.where(wrong, drawn, chosen)
            wrong = self.log.clicked.contains(chosen, item)
            if not wrong.any():
                break
        return chosen
