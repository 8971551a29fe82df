"""Type-constrained negatives: values that the asked property could have had."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def type_constrained(ranges: Ints, asked: Ints, positives: Ints, most: int, rng: np.random.Generator) -> Ints:
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
        drawn = [ranges[p] + rng.choice(size, share, replace=False) for p, size, share in zip(asked, sizes, shares, strict=True) if size]
    return np.unique(np.concatenate([*drawn, positives])).astype(np.int64)
