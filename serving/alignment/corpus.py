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
)
from serving.alignment.records import Record, Records, Side
from serving.alignment.texts import codes, compounds, flat
from serving.alignment.weights import ROWS_AT_ONCE, Weights

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

    items: NDArray[np.int32]
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

    ``cosines`` are TF-IDF [N, F] of unit length by name; ``overlaps`` are the inverse document
    frequency [N, F], ln((1 + N) / n), of every feature that an item has, of which n items have one.
    What is ``kept`` of items need not be counted again, and changes nothing.
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
        self._found: dict[str, _FoundNeighbours] = {}
        self._search: _Search | None = None

    def __len__(self) -> int:
        return len(self.records)

    @cached_property
    def _counts(self) -> CountedRecords:
        return count_records(self.records, self._kept).counted

    @cached_property
    def cosines(self) -> Mapping[str, Weights]:
        """TF-IDF of words and of characters, by name."""
        return {kind.name: self._counts.of_kind(kind).tf_idf(kind.min_items) for kind in COSINES}

    @cached_property
    def overlaps(self) -> Mapping[str, Weights]:
        """Weights of what items have, by name."""
        return {kind.name: self._counts.of_kind(kind).rarities() for kind in OVERLAPS}

    @cached_property
    def beginnings(self) -> Weights:
        """TF-IDF [N, F] of the characters that titles begin with."""
        return self._counts.of_kind(BEGINNINGS).tf_idf()

    def neighbours(self, kind: str, rows: IntArray | None = None) -> Neighbours:
        """Return the items that are nearest to some rows [R], or to all, by a kind of cosines.

        What was found once is remembered, so that it costs little to ask for a row again.
        """
        if kind not in self._found:
            self._found[kind] = _FoundNeighbours(len(self))
        found = self._found[kind]
        rows = np.arange(len(self)) if rows is None else rows
        missing = found.missing(rows)
        if len(missing):
            found.add(missing, self._search_by(kind).nearest(missing))
        if found.is_complete:
            self._search = None
        return found.of(rows)

    def _search_by(self, kind: str) -> _Search:
        if self._search is None or self._search.kind != kind:
            # One at a time: that by the n-grams of texts takes as much memory as what is counted.
            self._search = None
            weights = self.beginnings if kind == BEGINNINGS.name else self.cosines[kind]
            self._search = _Search(kind, _without_frequent(weights), self.sides)
        return self._search


def _title_codes(record: Record) -> frozenset[str]:
    return frozenset(codes(record.title.casefold()))


def _text_codes(record: Record) -> frozenset[str]:
    return frozenset(codes(record.text.casefold()))


def _flat_text(record: Record) -> str:
    return flat(record.text.casefold())


def _first_word(record: Record) -> str:
    """Return the first word of a title, which is often the brand."""
    return next(iter(compounds(record.title.casefold())), "")


class _FoundNeighbours:
    """Remembers the neighbours of those of N items for which they were searched."""

    def __init__(self, items: int) -> None:
        self._place = np.full(items, -1)
        self._found = _no_neighbours(0)

    @property
    def is_complete(self) -> bool:
        """Whether those of all items are known."""
        return len(self._found.items) == len(self._place)

    def missing(self, rows: IntArray) -> IntArray:
        """Return those of rows [R] of which they are not known, in order and each once."""
        is_missing: BoolArray = np.zeros(len(self._place), bool)
        is_missing[rows] = True
        is_missing &= self._place < 0
        return np.flatnonzero(is_missing)

    def add(self, rows: IntArray, found: Neighbours) -> None:
        """Remember those of rows [R], which were missing."""
        self._place[rows] = len(self._found.items) + np.arange(len(rows))
        if not len(self._found.items):
            self._found = found
            return
        self._found = Neighbours(
            np.concatenate([self._found.items, found.items]),
            np.concatenate([self._found.similarities, found.similarities]),
        )

    def of(self, rows: IntArray) -> Neighbours:
        """Return those of rows [R], which are known."""
        places = self._place[rows]
        return Neighbours(self._found.items[places], self._found.similarities[places])


def _no_neighbours(rows: int) -> Neighbours:
    return Neighbours(
        np.full((rows, RETURNED), -1, np.int32), np.zeros((rows, RETURNED), np.float32)
    )


class _Search:
    """Finds the nearest items of any rows by weights [N, F] of one ``kind``."""

    def __init__(self, kind: str, matrix: csr_matrix, sides: NDArray[np.int8]) -> None:
        self.kind = kind
        self._matrix = matrix
        self._sides = sides
        self._threads = usable_cores()
        # By side, those that an item of it is compared with, and their matrix on end [F, N'].
        self._others: dict[Side, tuple[IntArray, csr_matrix]] = {}

    def nearest(self, rows: IntArray) -> Neighbours:
        """Return the neighbours of rows [R]."""
        found = _no_neighbours(len(rows))
        for start in range(0, len(rows), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            self._fill(rows[part], found.items[part], found.similarities[part])
        return found

    def _fill(
        self, rows: IntArray, items: NDArray[np.int32], similarities: NDArray[np.float32]
    ) -> None:
        from sparse_dot_topn import sp_matmul_topn

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

    def _compared(self, side: Side) -> tuple[IntArray, csr_matrix]:
        if side not in self._others:
            others = np.arange(len(self._sides))
            matrix = self._matrix
            if side is not Side.EITHER:
                others = np.flatnonzero(self._sides != side)
                matrix = matrix[others]
            self._others[side] = others, matrix.T.tocsr()
        return self._others[side]


def _without_frequent(weights: Weights) -> csr_matrix:
    limit = min(MAX_FREQUENT, max(MIN_FREQUENT, MAX_DOCUMENT_SHARE * weights.counts.shape[0]))
    return weights.with_features((weights.items_with <= limit) & (weights.of_features > 0))
