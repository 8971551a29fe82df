import numpy as np
import pytest

from fusion.inference.metrics import roc_auc


def test_ties_count_half():
    score = np.array([0.9, 0.5, 0.5, 0.1])
    label = np.array([True, True, False, False])
    assert roc_auc(score, label) == pytest.approx(3.5 / 4)


def test_a_weight_counts_like_repetition():
    score = np.array([0.1, 0.8, 0.4])
    label = np.array([True, True, False])
    weight = np.array([3.0, 1.0, 1.0])
    repeated = roc_auc(score[[0, 0, 0, 1, 2]], label[[0, 0, 0, 1, 2]])
    assert roc_auc(score, label, weight) == pytest.approx(repeated)


@pytest.mark.parametrize("weight", [None, np.array([1.0, 0.0])])
def test_one_label_alone_gives_nan(weight):
    labels = np.array([True, weight is None])
    assert np.isnan(roc_auc(np.array([0.1, 0.9]), labels, weight))
