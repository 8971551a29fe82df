"""The texts of items as sparse matrices, in which many pairs are compared at once.

Shapes: N items, F features of one kind, K neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from schema.arrays import BoolArray, IntArray
from schema.openmp import usable_cores
from serving.alignment.counts import (
    BEGINNINGS,
    COSINES,
    OVERLAPS,
    CountedRecords,
    count_records,
    with_columns_kept,
)
from serving.alignment.records import Record, Records, Side
from serving.alignment.texts import codes, compounds, flat

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Found = TypeVar("Found")

NEIGHBOURS = 10
"""The nearest items of each item that are its rivals, or that it is compared with."""
RETURNED = 50
"""Among how many of an item's nearest ones one is that it is compared with."""
MAX_DOCUMENT_SHARE = 0.05
MIN_FREQUENT = 2000
MAX_FREQUENT = 5000
"""N-grams of more items than that share are left out of the search for neighbours.

They say little, and are most of its cost: it grows with the square of how often one occurs. What
few items have is never left out, and what more than ``MAX_FREQUENT`` have always: from a hundred
thousand items on, the search of an item takes as long in any catalogue.
"""


@dataclass(frozen=True)
class Neighbours:
    """The nearest items of each of R items, the nearest first; -1 where there are fewer than K.

    ``items`` [R, K] and their ``similarities`` [R, K]. An item of one side has those of the other.
    """

    items: IntArray
    similarities: NDArray[np.float32]

    def first(self, count: int) -> Neighbours:
        """Return the nearest ``count`` ones alone."""
        return Neighbours(self.items[:, :count], self.similarities[:, :count])


class OfEach(Generic[Found]):
    """What a function finds in each of N records, found when it is asked for."""

    def __init__(self, records: tuple[Record, ...], find: Callable[[Record], Found]) -> None:
        self._records = records
        self._find = find
        self._found: dict[int, Found] = {}

    def __getitem__(self, row: int) -> Found:
        if row not in self._found:
            self._found[row] = self._find(self._records[row])
        return self._found[row]


class Corpus:
    """N items, of which any two can be compared.

    ``cosines`` are TF-IDF matrices [N, F] of unit length by name; ``overlaps`` are matrices [N, F]
    with the inverse document frequency ln((1 + N) / n) of every feature that an item has, of which
    n items have one. What is ``kept`` of items need not be counted again, and changes nothing.
    """

    def __init__(self, records: Records, kept: CountedRecords | None = None) -> None:
        self.records = records.records
        self.sides = np.array(records.sides, np.int8)
        self.row_of = {record.id: row for row, record in enumerate(self.records)}
        self.title_codes = OfEach(self.records, _title_codes)
        self.text_codes = OfEach(self.records, _text_codes)
        self.flat_texts = OfEach(self.records, _flat_text)
        self.first_words = OfEach(self.records, _first_word)
        self._kept = kept
        self._searches: dict[str, _Search] = {}

    def __len__(self) -> int:
        return len(self.records)

    @cached_property
    def _counts(self) -> CountedRecords:
        return count_records(self.records, self._kept).counted

    @cached_property
    def cosines(self) -> Mapping[str, csr_matrix]:
        """TF-IDF of words and of characters, by name."""
        return {kind.name: self._counts.of_kind(kind).tf_idf(kind.min_items) for kind in COSINES}

    @cached_property
    def overlaps(self) -> Mapping[str, csr_matrix]:
        """Weights of what items have, by name."""
        return {kind.name: self._counts.of_kind(kind).weights() for kind in OVERLAPS}

    @cached_property
    def beginnings(self) -> csr_matrix:
        """TF-IDF [N, F] of the characters that titles begin with."""
        return self._counts.of_kind(BEGINNINGS).tf_idf()

    def neighbours(self, kind: str, rows: IntArray | None = None) -> Neighbours:
        """Return the items that are nearest to some rows [R], or to all, by a kind of cosines.

        What was found once is remembered, so that it costs little to ask for a row again.
        """
        if kind not in self._searches:
            matrix = self.beginnings if kind == BEGINNINGS.name else self.cosines[kind]
            self._searches[kind] = _Search(matrix, self.sides)
        return self._searches[kind].of(np.arange(len(self)) if rows is None else rows)


def _title_codes(record: Record) -> frozenset[str]:
    return frozenset(codes(record.title.casefold()))


def _text_codes(record: Record) -> frozenset[str]:
    return frozenset(codes(record.text.casefold()))


def _flat_text(record: Record) -> str:
    return flat(record.text.casefold())


def _first_word(record: Record) -> str:
    """Return the first word of a title, which is often the brand."""
    return next(iter(compounds(record.title.casefold())), "")


class _Search:
    """Finds the nearest items of the rows that are asked for, and remembers them."""

    def __init__(self, matrix: csr_matrix, sides: NDArray[np.int8]) -> None:
        self._matrix = _without_frequent(matrix)
        self._sides = sides
        self._threads = usable_cores()
        # By side, those that an item of it is compared with, and their matrix on end [F, N'].
        self._others: dict[Side, tuple[IntArray, csr_matrix]] = {}
        self._place = np.full(len(sides), -1)
        self._items = np.zeros((0, RETURNED), np.int32)
        self._similarities = np.zeros((0, RETURNED), np.float32)

    def of(self, rows: IntArray) -> Neighbours:
        """Return the neighbours of rows [R]."""
        is_missing: BoolArray = np.zeros(len(self._sides), bool)
        is_missing[rows] = True
        is_missing &= self._place < 0
        missing = np.flatnonzero(is_missing)
        if len(missing):
            items, similarities = self._search(missing)
            self._place[missing] = len(self._items) + np.arange(len(missing))
            self._items = np.concatenate([self._items, items])
            self._similarities = np.concatenate([self._similarities, similarities])
        places = self._place[rows]
        return Neighbours(self._items[places].astype(np.int64), self._similarities[places])

    def _search(self, rows: IntArray) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        from sparse_dot_topn import sp_matmul_topn

        items = np.full((len(rows), RETURNED), -1, np.int32)
        similarities = np.zeros((len(rows), RETURNED), np.float32)
        for side in Side:
            own = np.flatnonzero(self._sides[rows] == side)
            if not len(own):
                continue
            others, matrix = self._compared(side)
            if not len(others):
                continue
            # One more, since an item of either side finds itself.
            nearest = sp_matmul_topn(
                self._matrix[rows[own]],
                matrix,
                top_n=RETURNED + 1,
                sort=True,
                n_threads=self._threads,
            )
            found = others[nearest.indices]
            source = np.repeat(own, np.diff(nearest.indptr))
            is_other = found != rows[source]
            found, source, cosine = found[is_other], source[is_other], nearest.data[is_other]
            rank = np.arange(len(source)) - np.searchsorted(source, source)
            is_near = rank < RETURNED
            items[source[is_near], rank[is_near]] = found[is_near]
            similarities[source[is_near], rank[is_near]] = cosine[is_near]
        return items, similarities

    def _compared(self, side: Side) -> tuple[IntArray, csr_matrix]:
        if side not in self._others:
            others = np.arange(len(self._sides))
            matrix = self._matrix
            if side is not Side.EITHER:
                others = np.flatnonzero(self._sides != side)
                matrix = matrix[others]
            self._others[side] = others, matrix.T.tocsr()
        return self._others[side]


def _without_frequent(matrix: csr_matrix) -> csr_matrix:
    frequencies = np.bincount(matrix.indices, minlength=matrix.shape[1])
    limit = min(MAX_FREQUENT, max(MIN_FREQUENT, MAX_DOCUMENT_SHARE * matrix.shape[0]))
    kept = frequencies <= limit
    return matrix if kept.all() else with_columns_kept(matrix, kept)
