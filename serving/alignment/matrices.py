"""Sparse matrices with hundreds of millions of entries, of which no second copy is made.

Shapes: N rows, F columns.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import DTypeLike, NDArray

from schema.arrays import BoolArray, IntArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

ENTRIES_AT_ONCE = 1 << 24
"""Entries of a matrix that are looked at together where all are."""


def csr_of(
    data: NDArray[np.generic], indices: NDArray[np.integer], indptr: IntArray, width: int
) -> csr_matrix:
    """Return a matrix [N, F] of ``width`` F from its arrays, which are not copied."""
    from scipy.sparse import csr_matrix

    return csr_matrix((data, indices, indptr), shape=(len(indptr) - 1, width), copy=False)


def compact(counts: NDArray[np.generic]) -> NDArray[np.unsignedinteger]:
    """Return counts in the smallest unsigned integers that hold all of them."""
    return counts.astype(np.min_scalar_type(int(counts.max(initial=0))))


def rows_with_each(matrix: csr_matrix) -> IntArray:
    """Return how many rows of a matrix [N, F] have each column [F]."""
    found = np.zeros(matrix.shape[1], np.int64)
    # In parts, since bincount makes a copy of what it counts with 64 bits for each.
    for start in range(0, len(matrix.indices), ENTRIES_AT_ONCE):
        part = matrix.indices[start : start + ENTRIES_AT_ONCE]
        found += np.bincount(part, minlength=len(found))
    return found


def with_columns_kept(matrix: csr_matrix, kept: BoolArray) -> csr_matrix:
    """Return a copy of a matrix [N, F] that has the ``kept`` columns [F] alone.

    This is many times faster than indexing the columns of a matrix with millions of them.
    """
    columns = (np.cumsum(kept) - 1).astype(np.int32)
    stays = kept[matrix.indices]
    before = np.zeros(len(stays) + 1, np.int64)
    np.cumsum(stays, out=before[1:])
    indices = columns[matrix.indices[stays]]
    return csr_of(matrix.data[stays], indices, before[matrix.indptr], int(kept.sum()))


def joined(parts: Iterable[csr_matrix], entries: int, dtype: DTypeLike, width: int) -> csr_matrix:
    """Return a matrix of ``width`` F that has the rows of all parts, one part after the other.

    It is filled as the parts come, and so there has to be said how many ``entries`` they have
    together, and their type: to join what is there already takes twice the memory.
    """
    data = np.empty(entries, dtype)
    indices = np.empty(entries, np.int32)
    indptr = [np.zeros(1, np.int64)]
    start = 0
    for part in parts:
        end = start + part.nnz
        data[start:end] = part.data
        indices[start:end] = part.indices
        indptr.append(start + part.indptr[1:].astype(np.int64))
        start = end
    return csr_of(data, indices, np.concatenate(indptr), width)
