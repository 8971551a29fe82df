"""VTM: does the title belong to the image (VT-BERT 4.2)?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kg.sampling.keyed_random import KeyedRandom


def swap_titles(
    pairs: NDArray[np.bool_],
    item: NDArray[np.int64],
    pool: NDArray[np.int64],
    random: KeyedRandom,
    rate: float = 0.5,
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Give ``rate`` of the items that have a title and an image, ``pairs`` [B], the title of an arbitrary product of ``pool``.

    Returns which of ``item`` [B] are given another's, [B] bool, and whose, [B].
    """
    swapped = pairs & (random.uniform("swap", item) < rate)
    return swapped, pool[random.integers(len(pool), "other title", item)]
