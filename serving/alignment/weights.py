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
from serving.alignment.matrices import joined, with_columns_kept

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

ROWS_AT_ONCE = 20_000
"""Items whose weights are computed together where those of all are."""


@dataclass(frozen=True)
class Weights:
    """Weights of the features of N items: the ``counts`` [N, F] and the weight of each feature.

    ``items_with`` [F] is how many items have each feature.
    An item's weight of a feature that it has is that of the feature, ``of_features`` [F]. If the
    counts matter (``is_tf_idf``), it is (1 + ln count) times that, and an item's weights are
    brought to unit length.
    """

    counts: csr_matrix
    items_with: IntArray
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
        items = self.counts.shape[0]
        starts = range(0, items, ROWS_AT_ONCE)
        parts = (self.of_rows(slice(start, start + ROWS_AT_ONCE)) for start in starts)
        left = (with_columns_kept(part, kept) for part in parts)
        entries = int(self.items_with[kept].sum())
        return joined(left, entries, np.float32, int(kept.sum()))
