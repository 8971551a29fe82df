"""Logarithms of sums of exponentials."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from schema.arrays import FloatArray


def log_sum_exp(logits: NDArray[Any]) -> FloatArray:
    """Return log of the sum of the exponentials of each row of logits [N, V]: [N].

    Each row needs a finite largest logit. SciPy's logsumexp also takes signs, weights and infinite
    rows into account, which takes several times as long.
    """
    top = logits.max(axis=1, keepdims=True)
    return np.asarray(np.log(np.exp(logits - top).sum(1)) + top[:, 0])
