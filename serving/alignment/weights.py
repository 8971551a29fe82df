"""Weights of features, computed for the items that are asked for.

A catalogue's weights take twice the memory of its counts, and few of them are needed at once.

Shapes: N items, R rows of items, F features of one kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from schema.arrays import BoolArray, IntArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

ROWS_AT_ONCE = 20_000
"""Items whose weights are computed together where those of all are."""


@dataclass(frozen=True)
class Weights:
    """Weights of the features of N items: the ``counts`` [N, F] and the weight of each feature.

    An item's weight of a feature that it has is that of the feature, ``of_features`` [F]. If the
    counts matter (``is_tf_idf``), it is (1 + ln count) times that, and an item's weights are
    brought to unit length.
    """

    counts: csr_matrix
    of_features: NDArray[np.float32]
    is_tf_idf: bool

    def of_rows(self, rows: IntArray | slice) -> csr_matrix:
        """Return the weights [R, F] of some items."""
        from sklearn.utils.sparsefuncs_fast import inplace_csr_row_normalize_l2

        found = self.counts[rows]
        weights = self.of_features[found.indices]
        if not self.is_tf_idf:
            found.data = weights
            return found
        weights *= 1 + np.log(found.data, dtype=np.float32)
        found.data = weights
        inplace_csr_row_normalize_l2(found)
        return found

    def whole(self) -> csr_matrix:
        """Return the weights of all items [N, F]."""
        return self.of_rows(slice(None))

    def with_features(self, kept: BoolArray) -> csr_matrix:
        """Return the weights [N, F'] of the ``kept`` features [F] alone, which stay as they are."""
        from scipy.sparse import csr_matrix

        places = (np.cumsum(kept) - 1).astype(np.int32)
        items = self.counts.shape[0]
        parts = [slice(at, at + ROWS_AT_ONCE) for at in range(0, items, ROWS_AT_ONCE)]
        # The result is filled in place: to join parts of it would take twice its memory.
        lengths = [_kept_in_rows(self.counts[part], kept) for part in parts]
        indptr = np.concatenate([[0], np.cumsum(np.concatenate(lengths))])
        indices = np.empty(indptr[-1], np.int32)
        data = np.empty(indptr[-1], np.float32)
        for part in parts:
            found = self.of_rows(part)
            stays = kept[found.indices]
            filled = slice(indptr[part.start], indptr[part.start + found.shape[0]])
            indices[filled] = places[found.indices[stays]]
            data[filled] = found.data[stays]
        return csr_matrix((data, indices, indptr), shape=(items, int(kept.sum())))


def _kept_in_rows(matrix: csr_matrix, kept: BoolArray) -> IntArray:
    """Return how many of the ``kept`` features [F] each row has [R]."""
    before = np.zeros(len(matrix.indices) + 1, np.int64)
    np.cumsum(kept[matrix.indices], out=before[1:])
    return np.diff(before[matrix.indptr])
