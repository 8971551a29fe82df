"""Rows of different lengths, kept flat: each entry has the number of its row, ascending."""

from __future__ import annotations

import numpy as np

from schema.arrays import BoolArray, FloatArray, IntArray


def expand_ranges(low: IntArray, high: IntArray) -> tuple[IntArray, IntArray]:
    """Lay the ranges from ``low`` [N] to ``high`` [N] (exclusive) end to end.

    Returns the number of the range [E] and the position within ``low`` to ``high`` [E] of each
    entry. Lows (2, 7) and highs (4, 8) give ranges (0, 0, 1) and positions (2, 3, 7).
    """
    count = high - low
    number = np.repeat(np.arange(len(low)), count)
    start_of_range = count.cumsum() - count
    return number, np.repeat(low - start_of_range, count) + np.arange(len(number))


def find_in_sorted(wanted: IntArray, keys: IntArray) -> tuple[IntArray, IntArray]:
    """Find every occurrence of the ``wanted`` keys [N] in ``keys`` [T], which ascend.

    Returns, for each of E occurrences, the index into ``wanted`` and the index into ``keys``.
    """
    first = np.searchsorted(keys, wanted, "left")
    last = np.searchsorted(keys, wanted, "right")
    return expand_ranges(first, last)


def sample_per_row(row: IntArray, limit: int, values: FloatArray) -> BoolArray:
    """Choose at most ``limit`` entries of each row, those with the smallest random ``values``.

    ``row`` [M] ascends; returns a mask [M].
    """
    order = np.lexsort((values, row))
    position_in_row = np.arange(len(row)) - np.searchsorted(row, row)
    chosen = np.empty(len(row), dtype=bool)
    chosen[order] = position_in_row < limit
    return chosen
