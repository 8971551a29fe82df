"""Pairs of a query and an item: positive ones from the log, negative ones as MBSD makes them (3.5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from encoders.batch import ItemBatch, query_pieces, text_tensors
from encoders.tokenizer import CatalogTokenizer
from fusion.config import ModelConfig
from kg.sampling.keyed_random import KeyedRandom
from kg.sampling.negatives import TrueStatements
from schema.ontology import Ontology
from schema.wording import plain_words
from training.batches import MatchBatch
from training.data import TrainingData

Ints = NDArray[np.int64]
DRAWS = 4
LONGEST_TERM = 4


@dataclass(frozen=True)
class QueryLog:
    """Q distinct ``texts``; N positive pairs ``query`` [N], ``item`` [N]; ``clicked`` knows every pair with a click or a purchase."""

    texts: list[str]
    query: Ints
    item: Ints
    clicked: TrueStatements

    def of_items(self, index: Ints) -> Ints:
        """Numbers of the positive pairs of items ``index``."""
        return np.flatnonzero(np.isin(self.item, index))


def read_log(items: Sequence[str], rows: Sequence[tuple[str, str, int, int]]) -> QueryLog | None:
    """A query log's (query, item id, clicks, purchases) over known items; None where fewer than two queries are left.

    A pair is positive where it led to a purchase, "since the click-behavior data is easily affected by many factors" (MBSD 3.5); in a log
    without purchases, where it was clicked.
    """
    number = {item: index for index, item in enumerate(items)}
    kept = [
        (query, number[item], bought)
        for query, item, clicks, bought in rows
        if item in number and (clicks or bought)
    ]
    positive = [row for row in kept if row[2]] or kept
    if len({query for query, _, _ in positive}) < 2:
        return None
    texts = sorted({query for query, _, _ in kept})
    place = {text: index for index, text in enumerate(texts)}
    query, item = _columns(place, positive)
    asked, clicked = _columns(place, kept)
    indptr = np.concatenate([[0], np.bincount(asked, minlength=len(texts)).cumsum()])
    return QueryLog(texts, query, item, TrueStatements(indptr, clicked, len(items)))


def _columns(place: Mapping[str, int], rows: Sequence[tuple[str, int, int]]) -> tuple[Ints, Ints]:
    """Queries by their numbers, ascending, and items of a log's rows."""
    pairs = np.array(
        sorted((place[query], item) for query, item, _ in rows), dtype=np.int64
    ).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


@dataclass
class Terms:
    """Words of values to the properties that have them: what tells the type of a query's term."""

    values: Mapping[str, Sequence[str]]
    _types: dict[tuple[str, ...], list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, ontology: Ontology) -> Terms:
        """Those of an ontology's properties."""
        return cls({name: spec.values for name, spec in ontology.properties.items()})

    def __post_init__(self) -> None:
        for name, values in self.values.items():
            for value in values:
                words = tuple(plain_words(value))
                if 0 < len(words) <= LONGEST_TERM and len(values) > 1:
                    self._types.setdefault(words, []).append(name)

    def typed(self, words: Sequence[str]) -> list[tuple[int, int, str]]:
        """The terms of a query given as words, longest first from the left: (begin, end, property)."""
        found = []
        begin = 0
        while begin < len(words):
            for length in range(min(LONGEST_TERM, len(words) - begin), 0, -1):
                names = self._types.get(tuple(words[begin : begin + length]))
                if names:
                    found += [(begin, begin + length, name) for name in names]
                    begin += length - 1
                    break
            begin += 1
        return found

    def rewrite(self, text: str, luck: tuple[float, float]) -> tuple[str, str, str] | None:
        """The query with one term replaced by another value of its property, and that property and value; None where no term is known.

        ``luck`` in [0, 1) chooses the term and the value.
        """
        words = plain_words(text)
        spans = self.typed(words)
        if not spans:
            return None
        begin, end, name = spans[int(luck[0] * len(spans))]
        old = words[begin:end]
        others = [value for value in self.values[name] if plain_words(value) != old]
        if not others:
            return None
        new = others[int(luck[1] * len(others))]
        return " ".join([*words[:begin], *plain_words(new), *words[end:]]), name, new


class Matcher:
    """Makes pairs to match from a log; ``hard`` of the negatives are hard, half of those of each of MBSD's two kinds.

    A negative is the positive's item with another query: of those that items of its category were bought for, or the positive's own with
    one term rewritten by the ontology's values; else any. None was ever clicked with the item, and no rewritten value is the item's.
    """

    def __init__(
        self,
        data: TrainingData,
        log: QueryLog,
        terms: Terms,
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
        every = ((name, value) for name, values in terms.values.items() for value in values)
        self.candidate = {each: number for number, each in enumerate(every)}
        self.number = {text: index for index, text in enumerate(log.texts)}
        # Distinct queries of each category, flat, and where each category's begin.
        distinct = np.unique(np.stack([data.category[log.item], log.query]), axis=1)
        self._queries = distinct[1]
        self._begins = np.searchsorted(
            distinct[0], np.arange(int(data.category.max(initial=0)) + 2)
        )

    def negatives(self, pairs: Ints, random: KeyedRandom) -> list[str]:
        """A query that does not match for each of N positive ``pairs``."""
        item = self.log.item[pairs]
        query = self.log.query[pairs]
        kind, term, value = (random.uniform(name, pairs) for name in ("kind", "term", "value"))
        category = np.where(kind < self.hard, self.data.category[item], -1)
        texts = [
            self.log.texts[number]
            for number in self._others(item, query, category, pairs, random).tolist()
        ]
        for row in np.flatnonzero(kind < self.hard / 2).tolist():
            texts[row] = (
                self._rewritten(int(query[row]), int(item[row]), (term[row], value[row]))
                or texts[row]
            )
        return texts

    def _rewritten(self, query: int, item: int, luck: tuple[float, float]) -> str | None:
        made = self.terms.rewrite(self.log.texts[query], luck)
        if made is None:
            return None
        text, name, new = made
        known = self.number.get(text)
        clicked = known is not None and bool(
            self.log.clicked.contains(np.array(known), np.array(item))
        )
        return (
            None
            if clicked
            or bool(self.facts.contains(np.array(item), np.array(self.candidate[name, new])))
            else text
        )

    def _others(
        self, item: Ints, query: Ints, category: Ints, pairs: Ints, random: KeyedRandom
    ) -> Ints:
        """A query of the item's ``category`` [N], or of any where that is -1 or none is found, that the item was never clicked for."""
        anywhere = category < 0
        low = np.where(anywhere, 0, self._begins[category])
        size = np.where(anywhere, len(self.log.texts), self._begins[category + 1] - low)
        chosen = query.copy()
        wrong = np.ones(len(item), dtype=bool)
        for draw in range(2 * DRAWS):
            anywhere |= draw >= DRAWS
            place = random.integers(
                np.where(anywhere, len(self.log.texts), size), "query", pairs, draw
            )
            drawn = np.where(anywhere, place, self._queries[np.where(anywhere, 0, low + place)])
            chosen[wrong] = drawn[wrong]
            wrong = self.log.clicked.contains(chosen, item)
            if not wrong.any():
                break
        return chosen

    def batch(
        self, pairs: Ints, random: KeyedRandom, everyone: Ints | None = None, first: int = 0
    ) -> MatchBatch:
        """N positive ``pairs`` and as many negatives; ``everyone`` [G] are those of all processes, one's own from ``first`` on."""
        log = self.log
        query = self.log.query[pairs]
        item = self.log.item[pairs]
        negatives = self.negatives(pairs, random)
        # What was found nowhere else may match after all, and is then labelled so.
        known = np.array([self.number.get(text, -1) for text in negatives])
        label = np.concatenate(
            [np.ones(len(pairs)), (known >= 0) & log.clicked.contains(np.maximum(known, 0), item)]
        )
        all_pairs = pairs if everyone is None else everyone
        queries = log.query[all_pairs]
        items = log.item[all_pairs]
        same = np.stack(
            [
                log.clicked.contains(query[:, None], items[None, :]),
                log.clicked.contains(queries[None, :], item[:, None]),
            ]
        )
        asked = query_pieces(
            self.tokenizer, [*(log.texts[q] for q in query.tolist()), *negatives], self.max_query
        )
        return MatchBatch(
            asked,
            self.items(item),
            torch.from_numpy(label.astype(np.float32)),
            torch.from_numpy(same),
            first,
        )

    def items(self, index: Ints) -> ItemBatch:
        """Titles and images of items ``index`` [N] as they are."""
        texts = text_tensors(self.tokenizer, [self.data.words[i] for i in index], self.max_title)
        return ItemBatch(*texts, *self.data.item_images(index))
