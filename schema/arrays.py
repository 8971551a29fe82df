"""Names for the numpy arrays that cross module boundaries, and what several modules ask of them.

The docstring of each function gives the shapes of the arrays that it takes and returns.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def are_in(numbers: IntArray, among: IntArray) -> BoolArray:
    """Return which numbers [N] are among others [M], which are in order."""
    if not len(among):
        return np.zeros(len(numbers), bool)
    places = np.minimum(np.searchsorted(among, numbers), len(among) - 1)
    found: BoolArray = among[places] == numbers
    return found
