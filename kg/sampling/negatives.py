"""Negatives: values that the asked property could have had, and corrupted statements."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kg.sampling.keyed_random import KeyedRandom

Ints = NDArray[np.int64]
DRAWS = 4
MOST_PAIRS = 1 << 25


def type_constrained(
    ranges: Ints, asked: Ints, positives: Ints, most: int, rng: np.random.Generator
) -> Ints:
    """The candidates [C'] that a batch is scored against: its ``positives``, and others of the ``asked`` properties.

    ``ranges`` [P + 1] says where each property's candidates begin, ``asked`` [Q] are distinct properties. Where the properties have more
    than ``most`` candidates in all, each keeps its share of them, drawn uniformly and without repetition; ascending, without doubles.
    Which of them are true of a cell, and so no negatives there, is the objective's to leave out: it knows the item.
    """
    sizes = ranges[asked + 1] - ranges[asked]
    if sizes.sum() <= most:
        drawn = [np.arange(ranges[p], ranges[p + 1]) for p in asked]
    else:
        shares = np.maximum(1, sizes * most // max(1, sizes.sum()))
        drawn = [
            ranges[p] + rng.choice(size, share, replace=False)
            for p, size, share in zip(asked, sizes, shares, strict=True)
            if size
        ]
    return np.unique(np.concatenate([*drawn, positives])).astype(np.int64)


class TrueStatements:
    """What is true: N statements (item, candidate), ``indptr`` [I + 1] and ``candidate`` [N] in CSR form.

    A small catalogue's are a table of all pairs, which is looked up; a large one's a sorted list, which is searched.
    """

    def __init__(self, indptr: Ints, candidate: Ints, candidates: int) -> None:
        self.width = candidates
        keys = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr)) * candidates + candidate
        self._table = None
        self._keys = keys[:0]
        if 0 < (len(indptr) - 1) * candidates <= MOST_PAIRS:
            self._table = np.zeros((len(indptr) - 1) * candidates, dtype=bool)
            self._table[keys] = True
        else:
            self._keys = np.unique(keys)

    def contains(self, item: Ints, candidate: Ints) -> NDArray[np.bool_]:
        """Whether each statement is true; ``item`` and ``candidate`` broadcast against each other."""
        key = item * self.width + candidate
        if self._table is not None:
            return np.asarray(self._table[key])
        if not len(self._keys):
            return np.zeros(key.shape, dtype=bool)
        place = np.minimum(np.searchsorted(self._keys, key), len(self._keys) - 1)
        return self._keys[place] == key


class Corrupted(NamedTuple):
    """K corrupted values [M, K] of each of M statements, and which of them are possible [M, K]: neither true nor missing."""

    candidate: Ints
    possible: NDArray[np.bool_]


class Corruptor:
    """Draws other values for true statements; what is true of the item is drawn anew, and in the end marked impossible (filtered).

    ``kind`` says among which values: ``uniform`` all of them; ``type`` the property's (type-constrained); ``category`` those that the
    property has on items of the item's category, ``category`` [I], or the property's where there are fewer than two. ``ranges`` [P + 1]
    says where each property's candidates begin.
    """

    def __init__(
        self,
        ranges: Ints,
        indptr: Ints,
        candidate: Ints,
        kind: str = "type",
        category: Ints | None = None,
    ) -> None:
        self.ranges = ranges
        self.facts = TrueStatements(indptr, candidate, int(ranges[-1]))
        self.kind = kind
        self.category = category if kind == "category" else None
        item = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
        self.head_share = bernoulli(ranges, item, candidate)
        # All candidates, then each category's: a property's lie together in both.
        width = self.facts.width
        self._of_category = (
            np.zeros(0, np.int64)
            if self.category is None
            else np.unique(self.category[item] * width + candidate)
        )
        self._pool = np.concatenate([np.arange(width), self._of_category % max(1, width)])

    def __call__(self, item: Ints, candidate: Ints, count: int, random: KeyedRandom) -> Corrupted:
        """``count`` other values for each of M statements: ``item`` [M], ``candidate`` [M]."""
        low, size = self._range(item, candidate)
        values = np.empty((len(item), count), dtype=np.int64)
        possible = np.zeros((len(item), count), dtype=bool)
        row, column = (place.reshape(-1) for place in np.indices(values.shape))
        for draw in range(DRAWS):
            place = random.integers(size[row], "corrupt", item[row], candidate[row], column, draw)
            drawn = self._pool[low[row] + place]
            values[row, column] = drawn
            wrong = self.facts.contains(item[row], drawn)
            possible[row, column] = ~wrong
            row = row[wrong]
            column = column[wrong]
            if not len(row):
                break
        return Corrupted(values, possible)

    def _range(self, item: Ints, candidate: Ints) -> tuple[Ints, Ints]:
        """Where in the pool each statement's values begin, and how many they are."""
        if self.kind == "uniform":
            return np.zeros_like(candidate), np.full_like(candidate, self.facts.width)
        known = np.searchsorted(self.ranges, candidate, side="right") - 1
        low = self.ranges[known]
        high = self.ranges[known + 1]
        if self.category is None:
            return low, high - low
        base = self.category[item] * self.facts.width
        first, last = (np.searchsorted(self._of_category, base + end) for end in (low, high))
        few = last - first < 2
        return np.where(few, low, self.facts.width + first), np.where(few, high - low, last - first)


def bernoulli(ranges: Ints, item: Ints, candidate: Ints) -> NDArray[np.float64]:
    """The share [P] of corruptions that replace the item, not the value: tph / (tph + hpt) (Wang et al., 2014).

    tph is a property's mean number of values an item, hpt of items a value.
    """
    known = np.searchsorted(ranges, candidate, side="right") - 1
    properties = len(ranges) - 1
    statements = np.bincount(known, minlength=len(ranges) - 1)
    heads = np.bincount(
        np.unique(known * (item.max(initial=0) + 1) + item) // (item.max(initial=0) + 1),
        minlength=properties,
    )
    tails = np.bincount(
        np.searchsorted(ranges, np.unique(candidate), side="right") - 1, minlength=properties
    )
    tph = statements / np.maximum(1, heads)
    hpt = statements / np.maximum(1, tails)
    return tph / np.maximum(tph + hpt, 1e-9)
