"""Choose the items with which all others are compared, by randomly pivoted Cholesky.

Each landmark is drawn in proportion to what those before it leave unexplained of an item's kernel
(Chen, Epperly, Tropp and Webber, 2022). On 3,714 fashion products with 2,048 landmarks, experts
were right for .0025 more of the cells by the title and .006 more by the blind title than with
landmarks drawn at random: half of what the Nyström method loses.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular

from schema.arrays import IntArray

BLOCK = 32
"""Landmarks that are drawn at once."""
_JITTER = 1e-6


def choose_landmarks(kernel: NDArray[np.float32], count: int, rng: np.random.Generator) -> IntArray:
    """Choose ``count`` of N items by their kernel [N, N]; their numbers are in order."""
    size = len(kernel)
    rest = np.diag(kernel).astype(np.float64)
    least = _JITTER * float(rest.max(initial=0))
    features = np.zeros((size, count))
    chosen: list[int] = []
    while len(chosen) < min(count, size):
        rest[chosen] = 0
        left = np.where(rest > least, rest, 0)
        drawable = int(np.count_nonzero(left))
        if not drawable:
            # What is left is like the landmarks, or like nothing.
            others = np.setdiff1d(np.arange(size), chosen)
            chosen += rng.permutation(others)[: count - len(chosen)].tolist()
            break
        before = len(chosen)
        drawn = min(BLOCK, count - before, drawable)
        block = rng.choice(size, drawn, replace=False, p=left / left.sum())
        known = features[:, :before]
        columns = kernel[:, block] - known @ known[block].T
        corner = columns[block] + least * np.eye(drawn)
        new = solve_triangular(cholesky(corner, lower=True), columns.T, lower=True).T
        features[:, before : before + drawn] = new
        rest -= np.square(new).sum(1)
        chosen += block.tolist()
    return np.sort(np.array(chosen, np.int64))
