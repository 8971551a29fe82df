"""Groups of like items, for a catalogue whose items have no category.

An item's *signature* is a short vector: what its title's words and the properties that it has say
of its kind, by truncated singular value decomposition of their TF-IDF. Notebooks have processors
and displays, whatever their titles say. Items of like signatures are a group.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schema.arrays import FloatArray, IntArray
from serving.search.documents import Document, SearchedItem
from serving.search.words import BREAK

SIZE = 64
"""Dimensions of a signature."""
LEAST_ITEMS = 5
"""Features of fewer items say nothing about a kind."""
MAX_FEATURES = 20_000
MAX_GROUPS = 1_000
ITEMS_PER_GROUP = 40
FITTED_ITEMS = 40_000
"""The decomposition and the groups are fitted to at most so many items."""
Signatures = NDArray[np.float32]


def features_of(item: SearchedItem, document: Document) -> set[str]:
    """Return the features of an item: words of its title and category, and its properties."""
    found = {word for word in (*document.title, *document.category) if word != BREAK}
    found.update(f":{name}" for name, _ in item.statements)
    return found


def fitted_places(items: int) -> range:
    """Return the places of the items that the decomposition is fitted to."""
    return range(0, items, max(1, math.ceil(items / FITTED_ITEMS)))


@dataclass(frozen=True)
class GroupModel:
    """F features with their weights [F], the projection [F, D], and the centres [K, D]."""

    features: dict[str, int]
    weight: FloatArray
    projection: Signatures
    centres: Signatures

    @classmethod
    def fit(cls, features: Sequence[Iterable[str]], with_groups: bool) -> GroupModel:
        """Fit signatures to items given by their features, and groups if they are wanted.

        Of more items than ``FITTED_ITEMS``, those at :func:`fitted_places` are enough.
        """
        from scipy import sparse
        from sklearn.utils.extmath import randomized_svd

        sample = [list(features[place]) for place in fitted_places(len(features))]
        counts = Counter(name for each in sample for name in each)
        names = [name for name, count in counts.most_common(MAX_FEATURES) if count >= LEAST_ITEMS]
        index = {name: place for place, name in enumerate(sorted(names))}
        weight = np.zeros(len(index))
        for name, place in index.items():
            weight[place] = math.log(len(sample) / counts[name])
        if min(len(index), len(sample)) <= SIZE:
            projection = _random_projection(len(index))
        else:
            matrix = sparse.csr_matrix(
                _rows(sample, index, weight), shape=(len(sample), len(index))
            )
            projection = randomized_svd(matrix, SIZE, n_iter=2, random_state=0)[2].T
        model = cls(index, weight, projection.astype(np.float32), np.zeros((0, SIZE), np.float32))
        if not with_groups or not sample:
            return model
        return cls(index, weight, model.projection, _centres(model.signatures(sample)))

    def signatures(self, features: Sequence[Iterable[str]]) -> Signatures:
        """Return the signatures [N, D] of items, of length 1, or 0 if nothing is known of them."""
        from scipy import sparse

        if not self.features:
            return np.zeros((len(features), SIZE), np.float32)
        matrix = sparse.csr_matrix(
            _rows(features, self.features, self.weight),
            shape=(len(features), len(self.features)),
        )
        found = np.asarray(matrix @ self.projection, np.float32)
        return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)

    def groups(self, signatures: Signatures) -> IntArray:
        """Return the nearest centre [N] of each signature [N, D]."""
        if not len(self.centres):
            return np.zeros(len(signatures), np.int64)
        half = (self.centres**2).sum(1) / 2
        parts = [
            (signatures[start : start + 10_000] @ self.centres.T - half).argmax(1)
            for start in range(0, len(signatures), 10_000)
        ]
        return np.concatenate([np.zeros(0, np.int64), *parts])

    def as_bytes(self) -> dict[str, bytes]:
        """Return the model as named bytes, for :meth:`from_bytes`."""
        return {
            "group_features": json.dumps(list(self.features)).encode(),
            "group_weight": self.weight.astype("<f8").tobytes(),
            "group_projection": self.projection.astype("<f4").tobytes(),
            "group_centres": self.centres.astype("<f4").tobytes(),
        }

    @classmethod
    def from_bytes(cls, parts: dict[str, bytes]) -> GroupModel:
        """Return the model of :meth:`as_bytes`."""
        names = json.loads(parts["group_features"])
        return cls(
            {name: place for place, name in enumerate(names)},
            np.frombuffer(parts["group_weight"], "<f8"),
            np.frombuffer(parts["group_projection"], "<f4").reshape(len(names), SIZE),
            np.frombuffer(parts["group_centres"], "<f4").reshape(-1, SIZE),
        )


def _rows(
    features: Sequence[Iterable[str]], index: dict[str, int], weight: FloatArray
) -> tuple[Signatures, IntArray, IntArray]:
    """Return a sparse matrix [N, F] as data, columns and row starts; each row has length 1."""
    columns: list[int] = []
    starts = [0]
    for each in features:
        columns += sorted(index[name] for name in each if name in index)
        starts.append(len(columns))
    column = np.array(columns, np.int64)
    start = np.array(starts, np.int64)
    data = weight[column]
    if len(data):
        row = np.repeat(np.arange(len(features)), np.diff(start))
        length = np.sqrt(np.bincount(row, data**2, len(features)))
        data = data / np.maximum(length, 1e-9)[row]
    return data.astype(np.float32), column, start


def _random_projection(features: int) -> Signatures:
    """Return a projection [F, D] for a catalogue too small to learn one from."""
    random = np.random.default_rng(0)
    return (random.standard_normal((features, SIZE)) / math.sqrt(SIZE)).astype(np.float32)


def _centres(signatures: Signatures) -> Signatures:
    """Return the centres [K, D] of groups of like signatures [N, D]."""
    from sklearn.cluster import MiniBatchKMeans

    count = max(1, min(MAX_GROUPS, len(signatures) // ITEMS_PER_GROUP))
    fitted = MiniBatchKMeans(
        count, random_state=0, batch_size=2048, n_init=1, max_iter=20, reassignment_ratio=0
    ).fit(signatures)
    return fitted.cluster_centers_.astype(np.float32)
