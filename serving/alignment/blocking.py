"""Blocking: the pairs that are worth comparing, out of all pairs of items.

Every item is paired with its nearest ones by several kinds of similarity. What blocking misses, no
model can find; :func:`recall` says how much of it that is where matches are known.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from schema.arrays import IntArray
from serving.alignment.corpus import NEIGHBOURS, Corpus
from serving.alignment.records import Side

KINDS = ("title n-grams", "title beginning", "text words")
"""The cosines by which neighbours are found."""
ROWS_AT_ONCE = 5000
"""Items whose neighbours are compared with those of their neighbours at once."""


def candidate_pairs(
    corpus: Corpus,
    kinds: Sequence[str] = KINDS,
    nearest: int = NEIGHBOURS,
    asked: IntArray | None = None,
) -> tuple[IntArray, IntArray]:
    """Return the rows ``left`` [M] and ``right`` [M] of the pairs to compare, each pair once.

    Two items are a pair if, by one of the ``kinds``, one is among the ``nearest`` ones of the
    other, and that one among the 50 nearest of the first. So the pairs of few items are few,
    however many the others are, and are found without a search for each of the others. With rows
    that are ``asked``, only pairs that have one of them are returned.

    The item of the left side is named first, and otherwise the one with the lower row.
    """
    begun = _smaller_side(corpus) if asked is None else asked
    found = [_pairs_of(corpus, kind, nearest, begun) for kind in kinds]
    pairs = np.concatenate(found) if found else np.zeros((0, 2), np.int64)
    pairs = np.unique(np.sort(pairs, axis=1), axis=0)
    swapped = corpus.sides[pairs[:, 0]] > corpus.sides[pairs[:, 1]]
    pairs[swapped] = pairs[swapped][:, ::-1]
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    return pairs[order, 0], pairs[order, 1]


def _smaller_side(corpus: Corpus) -> IntArray:
    """Return rows of which every pair has one: of two sides, those of the smaller one."""
    left, right, either = (np.flatnonzero(corpus.sides == side) for side in Side)
    if len(either):
        return np.arange(len(corpus))
    return left if len(left) <= len(right) else right


def _pairs_of(corpus: Corpus, kind: str, nearest: int, begun: IntArray) -> IntArray:
    """Return the pairs [M, 2] of the rows at which the search begins with their partners."""
    there = corpus.neighbours(kind, begun).items
    partners = np.unique(there[there >= 0]).astype(np.int64)
    back = corpus.neighbours(kind, partners).items
    found = [np.zeros((0, 2), np.int64)]
    for start in range(0, len(begun), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        found.append(_mutual(begun[part], there[part], partners, back, nearest))
    return np.concatenate(found)


def _mutual(
    rows: IntArray,
    items: NDArray[np.int32],
    partners: IntArray,
    back: NDArray[np.int32],
    nearest: int,
) -> IntArray:
    """Return the pairs [M, 2] of rows [R] and neighbours of theirs that have them in turn.

    ``items`` [R, K] are the neighbours of the rows, and ``back`` [P, K] those of the ``partners``
    [P], which are in order and have all of ``items``. One of the two is among the ``nearest`` of
    the other.
    """
    own = np.repeat(rows, items.shape[1])
    other = items.ravel()
    rank = np.tile(np.arange(items.shape[1]), len(rows))
    is_there = other >= 0
    own, other, rank = own[is_there], other[is_there], rank[is_there]
    is_own = back[np.searchsorted(partners, other)] == own[:, None]
    is_near = is_own.any(1) & (np.minimum(rank, is_own.argmax(1)) < nearest)
    return np.stack([own[is_near], other[is_near]], axis=1)


def recall(
    candidates: tuple[IntArray, IntArray], matches: tuple[IntArray, IntArray]
) -> float | None:
    """Return the share of known matches that are among the candidates; None without any match."""
    known = {frozenset(pair) for pair in zip(*(each.tolist() for each in matches), strict=True)}
    if not known:
        return None
    found = {frozenset(pair) for pair in zip(*(each.tolist() for each in candidates), strict=True)}
    return len(known & found) / len(known)
