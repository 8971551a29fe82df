"""Weights of some items or features are those among the weights of all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from scipy.sparse import random as random_matrix
from sklearn.feature_extraction.text import TfidfTransformer

from serving.alignment.counts import Counts
from serving.alignment.weights import Weights


def made_counts(items: int, features: int, seed: int) -> csr_matrix:
    """Return counts from 1 to 9, with rows and columns that have none."""
    rng = np.random.default_rng(seed)
    counts = random_matrix(items, features, 0.3, format="csr", rng=rng)
    counts.data = rng.integers(1, 10, counts.nnz).astype(np.uint8)
    counts.sort_indices()
    return counts


def weights_of(counts: csr_matrix) -> Weights:
    return Counts(np.arange(counts.shape[1], dtype=np.uint64), counts).tf_idf()


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 9), st.integers(1, 8), st.integers(0, 99), st.integers(1, 4), st.data())
def test_parts_are_those_of_the_whole(
    items: int, features: int, seed: int, at_once: int, data: st.DataObject
) -> None:
    weights = weights_of(made_counts(items, features, seed))
    whole = weights.whole().toarray()
    rows = np.array(data.draw(st.lists(st.integers(0, items - 1), max_size=6)), np.int64)
    assert np.array_equal(weights.of_rows(rows).toarray(), whole[rows])
    kept = np.array(data.draw(st.lists(st.booleans(), min_size=features, max_size=features)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("serving.alignment.weights.ROWS_AT_ONCE", at_once)
        found = weights.with_features(kept)
    found.check_format()
    assert np.array_equal(found.toarray(), whole[:, kept])


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 9), st.integers(1, 8), st.integers(0, 99))
def test_tf_idf_is_that_of_scikit_learn_bit_for_bit(items: int, features: int, seed: int) -> None:
    counts = made_counts(items, features, seed)
    peer = TfidfTransformer(sublinear_tf=True).fit_transform(counts.astype(np.float32))
    assert np.array_equal(weights_of(counts).whole().toarray(), peer.toarray())
