"""Blocking: the pairs that are worth comparing, out of all pairs of items.

Every item is paired with its nearest ones by several kinds of similarity. What blocking misses, no
model can find; :func:`recall` says how much of it that is where matches are known.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from schema.arrays import IntArray
from serving.alignment.corpus import NEIGHBOURS, Corpus

KINDS = ("title words", "title n-grams", "text words")
"""The cosines by which neighbours are found."""


def candidate_pairs(
    corpus: Corpus, kinds: Sequence[str] = KINDS, nearest: int = NEIGHBOURS
) -> tuple[IntArray, IntArray]:
    """Return the rows ``left`` [M] and ``right`` [M] of the pairs to compare, each pair once.

    Every item is paired with the ``nearest`` ones of each kind. The item of the left side is
    named first, and otherwise the one with the lower row.
    """
    found = []
    for kind in kinds:
        neighbours = corpus.neighbours(kind).items[:, :nearest]
        own = np.repeat(np.arange(len(corpus)), neighbours.shape[1])
        other = neighbours.ravel()
        found.append(np.stack([own, other], 1)[other >= 0])
    pairs = np.concatenate(found) if found else np.zeros((0, 2), np.int64)
    pairs = np.unique(np.sort(pairs, axis=1), axis=0)
    swapped = corpus.sides[pairs[:, 0]] > corpus.sides[pairs[:, 1]]
    pairs[swapped] = pairs[swapped][:, ::-1]
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    return pairs[order, 0], pairs[order, 1]


def recall(
    candidates: tuple[IntArray, IntArray], matches: tuple[IntArray, IntArray]
) -> float | None:
    """Return the share of known matches that are among the candidates; None without any match."""
    known = {frozenset(pair) for pair in zip(*(each.tolist() for each in matches), strict=True)}
    if not known:
        return None
    found = {frozenset(pair) for pair in zip(*(each.tolist() for each in candidates), strict=True)}
    return len(known & found) / len(known)
