"""Negative samples: other values that a property could have, and corrupted statements.

A candidate is a value of one property. ``ranges`` [P + 1] gives the first candidate of each
property: those of property p are ``ranges[p]`` to ``ranges[p + 1] - 1``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kg.sampling.keyed_random import KeyedRandom
from kg.sampling.ragged import expand_ranges
from schema.arrays import BoolArray, FloatArray, IntArray, are_in

MAX_DRAWS = 4
"""How often a corrupted value is drawn at most, if it keeps turning out to be true."""

MAX_TABLE_SIZE = 1 << 25
"""The largest table of (item, candidate) pairs, a byte each."""

ITEMS_PER_CHUNK = 1 << 17
"""The statements of so many items are counted at a time."""


@dataclass(frozen=True)
class Candidates:
    """The candidates that a batch is scored against.

    - ``ids`` [C']: ascending and distinct
    - ``log_weight`` [C']: the logarithm of how many candidates each stands for; None if all values
      of the batch's properties are in play, and each stands for itself
    """

    ids: IntArray
    log_weight: FloatArray | None = None


def type_constrained_candidates(
    ranges: IntArray,
    properties: IntArray,
    positives: IntArray,
    limit: int,
    rng: np.random.Generator,
) -> Candidates:
    """Return the candidates that a batch is scored against.

    They are the batch's ``positives`` and other values of its distinct ``properties`` [Q]. If the
    properties have more than ``limit`` candidates in all, each contributes a random sample whose
    size is in proportion. Leaving out the values that are true of a cell is up to the objective,
    which knows the cell's item.

    A softmax over a sample alone is biased: its denominator lacks the candidates that were not
    drawn. Of a property's n candidates, let S be the batch's positives, and D the m candidates that
    are drawn evenly, without replacement, from the n - |S| others. Given the batch, S is certain,
    and each other candidate is in D with probability m / (n - |S|). Dividing by this probability
    (Horvitz and Thompson, 1952) gives an estimate of the denominator,

        Z' = sum_{c in S} exp(z_c) + (n - |S|) / m sum_{c in D} exp(z_c)        E[Z' | batch] = Z

    which is unbiased for every batch. In terms of logits, log((n - |S|) / m) is added to those of D
    and nothing to those of S: the correction by -log Q of a sampled softmax (Bengio and Senecal,
    2008), where Q is the probability of being in play. How often a positive occurs in batches does
    not matter. Yi et al. (2019) correct for that because their candidates are the batch's own
    values and no others, so that all chance lies in which batch it is; here the values that the
    batch lacks are represented by D.
    """
    sizes = ranges[properties + 1] - ranges[properties]
    positives = np.unique(positives).astype(np.int64)
    if sizes.sum() <= limit:
        every = [np.arange(ranges[p], ranges[p + 1]) for p in properties]
        return Candidates(np.unique(np.concatenate([*every, positives])).astype(np.int64))
    sample_sizes = np.maximum(1, sizes * limit // max(1, sizes.sum()))
    samples = [positives]
    log_weights = [np.zeros(len(positives))]
    for p, size, sample_size in zip(properties, sizes, sample_sizes, strict=True):
        begin, end = np.searchsorted(positives, (ranges[p], ranges[p + 1]))
        others = int(size - (end - begin))
        count = min(int(sample_size), others)
        if count == 0:
            continue
        drawn = rng.choice(others, count, replace=False)
        # Numbers among the others become numbers among all: each positive that comes before one, or
        # at it, moves it up by one.
        others_before = positives[begin:end] - ranges[p] - np.arange(end - begin)
        samples.append(ranges[p] + drawn + np.searchsorted(others_before, drawn, side="right"))
        log_weights.append(np.full(count, np.log(others / count)))
    ids = np.concatenate(samples)
    order = np.argsort(ids)
    return Candidates(ids[order].astype(np.int64), np.concatenate(log_weights)[order])


class TrueStatements:
    """The N statements (item, candidate) that are true.

    They are given in CSR form: ``indptr`` [I + 1] and ``candidate`` [N], which may be
    memory-mapped. For a small catalogue they are kept as a table of all pairs, which is the fastest
    to look up; for a large one, whose table would not fit, each item's own are looked through.
    """

    def __init__(self, indptr: IntArray, candidate: IntArray, candidate_count: int) -> None:
        self.candidate_count = candidate_count
        self._indptr = indptr
        self._candidate = candidate
        item_count = len(indptr) - 1
        self._table: BoolArray | None = None
        if 0 < item_count * candidate_count <= MAX_TABLE_SIZE:
            item = np.repeat(np.arange(item_count), np.diff(indptr))
            self._table = np.zeros(item_count * candidate_count, dtype=bool)
            self._table[item * candidate_count + candidate] = True

    def contains(self, item: IntArray, candidate: IntArray) -> BoolArray:
        """Return whether each statement is true; ``item`` and ``candidate`` are broadcast."""
        if self._table is not None:
            return np.asarray(self._table[item * self.candidate_count + candidate])
        of_item, wanted = np.broadcast_arrays(item, candidate)
        found = np.zeros(of_item.size, dtype=bool)
        if not len(self._candidate):
            return found.reshape(of_item.shape)
        flat = of_item.reshape(-1)
        number, place = expand_ranges(self._indptr[flat], self._indptr[flat + 1])
        found[number[self._candidate[place] == wanted.reshape(-1)[number]]] = True
        return found.reshape(of_item.shape)


@dataclass(frozen=True)
class CorruptedValues:
    """K corrupted values for each of M statements.

    ``possible`` [M, K] is False where no value could be found that is not true as well; the value
    in ``candidate`` [M, K] is then to be ignored.
    """

    candidate: IntArray
    possible: BoolArray


class Corruptor:
    """Draws other values for true statements.

    A drawn value that is true of the item as well is drawn again (PyKEEN calls this filtered
    negative sampling). ``kind`` says which values are drawn from:

    - ``uniform``: all candidates
    - ``category``: the values that the property has on items of the item's category, given by
      ``category`` [I]; if there are fewer than two, all values of the property
    - any other: the values of the property

    ``head_share`` [P] is the share of corruptions which, by :func:`bernoulli_head_share`, should
    replace the item and not the value; that is left to the caller.

    Both the values of a category and the head shares are statistics of the items ``train`` alone,
    or of all items if it is None. What is drawn for an item is compared with that item's own
    statements, so those of a held-out item change nothing about the negatives of the others.
    """

    def __init__(
        self,
        ranges: IntArray,
        indptr: IntArray,
        candidate: IntArray,
        kind: str = "type",
        category: IntArray | None = None,
        train: IntArray | None = None,
    ) -> None:
        self.ranges = ranges
        self.true_statements = TrueStatements(indptr, candidate, int(ranges[-1]))
        self.kind = kind
        self.category = category if kind == "category" else None
        statistics = _Statistics.of(
            ranges, indptr, candidate, self.category, None if train is None else np.sort(train)
        )
        self.head_share = statistics.head_share

        # The pool that is drawn from: all candidates in order, and after them those that occur in
        # each category. In both, the candidates of one property are next to each other.
        candidate_count = self.true_statements.candidate_count
        self._category_keys = statistics.category_keys
        self._pool = np.concatenate(
            [np.arange(candidate_count), self._category_keys % max(1, candidate_count)]
        )

    def __call__(
        self, item: IntArray, candidate: IntArray, count: int, random: KeyedRandom
    ) -> CorruptedValues:
        """Draw ``count`` other values for each of M statements: ``item`` [M], ``candidate`` [M]."""
        first, size = self._pool_range(item, candidate)
        values = np.empty((len(item), count), dtype=np.int64)
        possible = np.zeros((len(item), count), dtype=bool)
        row, column = (axis.reshape(-1) for axis in np.indices(values.shape))
        for draw in range(MAX_DRAWS):
            keys = (item[row], candidate[row], column, draw)
            drawn = self._pool[first[row] + random.integers(size[row], "corrupt", *keys)]
            is_true = self.true_statements.contains(item[row], drawn)
            values[row, column] = drawn
            possible[row, column] = ~is_true
            row = row[is_true]
            column = column[is_true]
            if not len(row):
                break
        return CorruptedValues(values, possible)

    def _pool_range(self, item: IntArray, candidate: IntArray) -> tuple[IntArray, IntArray]:
        """Return where in the pool each statement's values begin, and how many there are."""
        candidate_count = self.true_statements.candidate_count
        if self.kind == "uniform":
            return np.zeros_like(candidate), np.full_like(candidate, candidate_count)

        property_index = np.searchsorted(self.ranges, candidate, side="right") - 1
        low = self.ranges[property_index]
        high = self.ranges[property_index + 1]
        if self.category is None:
            return low, high - low

        key_of_category = self.category[item] * candidate_count
        first = np.searchsorted(self._category_keys, key_of_category + low)
        last = np.searchsorted(self._category_keys, key_of_category + high)
        # A single one may be the true value itself, which would leave nothing to draw.
        too_few = last - first < 2
        return (
            np.where(too_few, low, candidate_count + first),
            np.where(too_few, high - low, last - first),
        )


@dataclass(frozen=True)
class _Statistics:
    """What is counted over statements, without holding them: see :class:`Corruptor`.

    - ``head_share`` [P]: :func:`bernoulli_head_share`
    - ``category_keys`` [K]: the distinct ``category * C + candidate`` of C candidates, ascending
    """

    head_share: FloatArray
    category_keys: IntArray

    @classmethod
    def of(
        cls,
        ranges: IntArray,
        indptr: IntArray,
        candidate: IntArray,
        category: IntArray | None,
        train: IntArray | None,
    ) -> _Statistics:
        """Count over the items ``train``, ascending, or over all."""
        candidate_count = int(ranges[-1])
        counts = PropertyCounts.none(ranges)
        keys = np.zeros(0, np.int64)
        for first in range(0, len(indptr) - 1, ITEMS_PER_CHUNK):
            bounds = indptr[first : min(first + ITEMS_PER_CHUNK, len(indptr) - 1) + 1]
            item = first + np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
            own = candidate[bounds[0] : bounds[-1]]
            if train is not None:
                in_train = are_in(item, train)
                item, own = item[in_train], own[in_train]
            counts.add(item, own)
            if category is not None:
                keys = np.union1d(keys, category[item] * candidate_count + own)
        return cls(counts.head_share(), keys)


@dataclass
class PropertyCounts:
    """Counts of a property's statements, items and values: ``ranges`` [P + 1], others [P] or [C].

    ``heads`` are the items that have the property; ``seen`` says of each candidate whether any has.
    """

    ranges: IntArray
    statements: IntArray
    heads: IntArray
    seen: BoolArray

    @classmethod
    def none(cls, ranges: IntArray) -> PropertyCounts:
        """Return the counts of no statement."""
        nothing = np.zeros(len(ranges) - 1, np.int64)
        return cls(ranges, nothing, nothing.copy(), np.zeros(int(ranges[-1]), dtype=bool))

    def add(self, item: IntArray, candidate: IntArray) -> None:
        """Add all statements [N] of some items."""
        property_count = len(self.ranges) - 1
        property_index = np.searchsorted(self.ranges, candidate, side="right") - 1
        self.statements += np.bincount(property_index, minlength=property_count)
        item_count = item.max(initial=0) + 1
        property_of_pair = np.unique(property_index * item_count + item) // item_count
        self.heads += np.bincount(property_of_pair, minlength=property_count)
        self.seen[candidate] = True

    def head_share(self) -> FloatArray:
        """Return the share [P] of corruptions that should replace the item."""
        known = np.flatnonzero(self.seen)
        property_of_value = np.searchsorted(self.ranges, known, side="right") - 1
        tails = np.bincount(property_of_value, minlength=len(self.ranges) - 1)
        tph = self.statements / np.maximum(1, self.heads)
        hpt = self.statements / np.maximum(1, tails)
        share: FloatArray = tph / np.maximum(tph + hpt, 1e-9)
        return share


def bernoulli_head_share(ranges: IntArray, item: IntArray, candidate: IntArray) -> FloatArray:
    """Return the share [P] of corruptions that should replace the item instead of the value.

    It is tph / (tph + hpt) (Wang et al., 2014), where tph is a property's mean number of values per
    item and hpt that of items per value. Where items tend to have many values, another value is
    often true as well, so the item is replaced instead.
    """
    counts = PropertyCounts.none(ranges)
    counts.add(item, candidate)
    return counts.head_share()
