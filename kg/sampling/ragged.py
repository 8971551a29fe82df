"""Rows of different length, kept flat: numbers of rows that ascend, one for each entry."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def spread(low: Ints, high: Ints) -> tuple[Ints, Ints]:
    """The ranges ``low`` to ``high`` [N] laid end to end: (number of the range [E], place within [low, high) [E])."""
    count = high - low
    number = np.repeat(np.arange(len(low)), count)
    return number, np.repeat(low - (count.cumsum() - count), count) + np.arange(len(number))


def join(wanted: Ints, keys: Ints) -> tuple[Ints, Ints]:
    """For each wanted key [N] its places in ``keys`` [T], which ascend: (number in wanted [E], place [E])."""
    return spread(np.searchsorted(keys, wanted), np.searchsorted(keys, wanted, "right"))


def first_random(row: Ints, most: int, luck: NDArray[np.float64]) -> NDArray[np.bool_]:
    """At most ``most`` of each row's entries, those of the least ``luck`` [M]: a mask over ``row`` [M], which ascends."""
    order = np.lexsort((luck, row))
    keep = np.empty(len(row), dtype=bool)
    keep[order] = np.arange(len(row)) - np.searchsorted(row, row) < most
    return keep
