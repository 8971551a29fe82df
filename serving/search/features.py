"""Features: how well an item fits a query, as numbers between 0 and 1.

They depend on the query, the item and the index, and not on what else was found, so that a score
means the same wherever it is computed.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schema.arrays import FloatArray
from serving.search.database import FIELDS, read_known
from serving.search.query import Query, Reading, Vocabulary
from serving.search.words import BREAK

K1 = 1.2
B = 0.75
"""The usual parameters of BM25."""
NAMED = 0.4
"""What it counts that an item has the head word of a query, but is none."""
_MAX_USES = 5_000
"""Uses of words by groups that are read: where nearly every item has a category of its own, they
say little."""
_GROUP_PRIOR = 2.0
"""Of a group of few items it is not believed that all are what a query wants."""
WORD_FEATURES = ("text", "title", "values", "phrase", "head", "group", "code")
"""The features that take no vectors, in the order of their columns."""
FeatureMatrix = NDArray[np.float64]


@dataclass(frozen=True)
class Features:
    """How well N items fit a query.

    Attributes:
        words: the features [N, F] of words, for each reading of the query
        meaning: the cosines [N] of the text encoder's vectors; None without such
        match: those of a network's, which was trained to embed queries; None without such
    """

    words: Sequence[FeatureMatrix]
    meaning: FloatArray | None = None
    match: FloatArray | None = None

    @property
    def count(self) -> int:
        """N."""
        return len(self.words[0])


@dataclass(frozen=True)
class Found:
    """An item of the index, with its words by field."""

    number: int
    id: str
    title: str
    category: str
    group: int
    fields: Mapping[str, str]


_COLUMNS = ", ".join(f'"{field}"' for field in FIELDS)


def read_found(connection: sqlite3.Connection, numbers: Sequence[int]) -> list[Found]:
    """Return the items with these numbers, in their order."""
    by_number: dict[int, Found] = {}
    for start in range(0, len(numbers), 500):
        part = [int(number) for number in numbers[start : start + 500]]
        marks = ", ".join("?" * len(part))
        for number, id, title, category, group, *fields in connection.execute(
            f"SELECT number, id, shown, category_path, grp, {_COLUMNS} FROM items "
            f"WHERE number IN ({marks})",
            part,
        ):
            by_number[number] = Found(
                number, id, title, category, group, dict(zip(FIELDS, fields, strict=True))
            )
    return [by_number[int(number)] for number in numbers if int(number) in by_number]


class WordFeatures:
    """Computes the features of words for an index as it is now."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._vocabulary = Vocabulary(connection)
        self._groups = dict(connection.execute("SELECT grp, items FROM groups"))
        (self.items,) = connection.execute("SELECT count(*) FROM items").fetchone()
        text_length, value_length = read_known(connection, "lengths", [0, 0])
        self._text_length = max(1.0, text_length / max(1, self.items))
        self._value_length = max(1.0, value_length / max(1, self.items))

    def compute(self, query: Query, found: Sequence[Found]) -> list[FeatureMatrix]:
        """Return the features [N, F] of N items for each reading of a query."""
        counts = self._vocabulary.counts(query.words)
        text_idf = {word: self._idf(each.texts) for word, each in counts.items()}
        value_idf = {word: self._idf(each.values) for word, each in counts.items()}
        matrices = []
        for reading in query.readings:
            votes = self.group_votes(reading)
            matrix = np.zeros((len(found), len(WORD_FEATURES)))
            padded = {word: f" {word} " for word in reading.words}
            scales = (
                _Scale(padded, text_idf, self._text_length),
                _Scale(padded, value_idf, self._value_length),
            )
            for place, item in enumerate(found):
                matrix[place] = _features(query, reading, item, votes.get(item.group, 0.0), scales)
            matrices.append(matrix)
        return matrices

    def group_votes(self, reading: Reading) -> dict[int, float]:
        """Return how much each group is what a query wants, 1 for the best one.

        It is the share of the group's items that are what the head word says, by the share of those
        that have the other words.
        """
        marks = ", ".join("?" * len(reading.words))
        heads: dict[int, float] = {}
        others: dict[int, float] = {}
        for word, group, items, as_head in self._connection.execute(
            f"SELECT word, grp, items, heads FROM uses WHERE word IN ({marks}) LIMIT ?",
            (*reading.words, _MAX_USES),
        ):
            size = self._groups.get(group, 0) + _GROUP_PRIOR
            if word == reading.head:
                heads[group] = as_head / size
            else:
                others[group] = others.get(group, 0.0) + items / size
        further = len(reading.words) - 1
        votes = {
            group: share * (others.get(group, 0.0) / further if further else 1.0)
            for group, share in heads.items()
        }
        best = max(votes.values(), default=0.0)
        return {group: vote / best for group, vote in votes.items()} if best > 0 else {}

    def _idf(self, count: int) -> float:
        return math.log(1 + (self.items - count + 0.5) / (count + 0.5))


@dataclass(frozen=True)
class _Scale:
    """The words of a reading with a space on both sides, their idf, and the usual length."""

    words: Mapping[str, str]
    idf: Mapping[str, float]
    usual: float

    def bm25(self, text: str) -> float:
        """Return BM25 as a share of what a text with all words could have."""
        length = text.count(" ") - 1 - text.count(f" {BREAK} ")
        usual = K1 * (1 - B + B * length / self.usual)
        total = 0.0
        ideal = 0.0
        for word, padded in self.words.items():
            ideal += self.idf[word] * (K1 + 1)
            count = text.count(padded)
            if count:
                total += self.idf[word] * count * (K1 + 1) / (count + usual)
        return total / ideal if ideal else 0.0

    def covered(self, text: str) -> float:
        """Return the share of the words that a text has, weighted by their idf."""
        total = sum(self.idf[word] for word in self.words)
        have = sum(self.idf[word] for word, padded in self.words.items() if padded in text)
        return have / total if total else 0.0


def _features(
    query: Query, reading: Reading, item: Found, vote: float, scales: tuple[_Scale, _Scale]
) -> list[float]:
    by_text, by_value = scales
    title = item.fields["title"] + item.fields["category"]
    text = title + item.fields["description"]
    own_codes = title + item.fields["codes"]
    head_word = f" {reading.head} "
    head = NAMED if head_word in text else 0.0
    if head_word in item.fields["heads"]:
        head = 1.0
    return [
        by_text.bm25(text),
        by_text.covered(title),
        by_value.bm25(item.fields["values"]),
        float(f" {' '.join(reading.phrase)} " in text),
        head,
        vote,
        sum(f" {code} " in own_codes for code in query.codes) / max(1, len(query.codes)),
    ]
