"""Names for the numpy arrays that cross module boundaries.

The docstring of each function gives the shapes of the arrays that it takes and returns.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
