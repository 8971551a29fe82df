"""Metrics against scikit-learn and by hand, whole and in their resamples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score, roc_auc_score

from evaluation.tasks.measures import (
    accuracy,
    best_f1_threshold,
    binary,
    macro_f1,
    ranking,
    ranks,
)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_answers_of_yes_or_no_are_measured_as_scikit_learn_does(seed):
    rng = np.random.default_rng(seed)
    label = np.append(rng.random(40) < 0.4, [True, False])
    score = np.round(rng.normal(size=42) + label, 1)
    yes = score >= 0.3
    values = binary(label, score, 0.3, np.arange(42)).values
    assert values["accuracy"] == pytest.approx(accuracy_score(label, yes))
    assert values["F1"] == pytest.approx(f1_score(label, yes, zero_division=0), nan_ok=True)
    assert values["ROC-AUC"] == pytest.approx(roc_auc_score(label, score))
    if yes.any():
        assert values["precision"] == pytest.approx(precision_score(label, yes))
    assert values["recall"] == pytest.approx(recall_score(label, yes))


def test_macro_f1_is_the_mean_of_the_classes_that_are_true():
    true = np.array([0, 0, 1, 2, 2, -1])
    predicted = np.array([0, 1, 1, 2, 0, 3])
    expected = f1_score(true[:5], predicted[:5], average="macro")
    # The wrong answer to what training has not known has no class of its own.
    assert macro_f1(true, predicted, np.arange(6)).values["macro-F1"] == pytest.approx(expected)


def test_intervals_resample_whole_groups():
    correct = np.repeat([True, False], 50)
    by_item = accuracy({"top-1": correct}, np.arange(100)).estimates()["top-1"]
    by_half = accuracy({"top-1": correct}, np.repeat([0, 1], 50)).estimates()["top-1"]
    assert (by_half.low, by_half.high) == (0, 1)
    assert 0.35 < by_item.low < 0.45 < 0.55 < by_item.high < 0.65


def test_ranks_count_ties_half():
    scores = np.array([0.5, 0.9, 0.5, 0.1, 0.3, 0.2])
    target = np.array([1, 0, 0, 0, 1, 0])
    ranked = np.array([0, 0, 0, 0, 1, 1])
    np.testing.assert_array_equal(ranks(scores, target, ranked), [2.5, 1])


def test_ranking_by_hand():
    values = ranking(np.array([1.0, 2.0, 20.0]), np.arange(3)).values
    assert values["Rank@1"] == pytest.approx(1 / 3)
    assert values["Rank@10"] == pytest.approx(2 / 3)
    assert values["MRR"] == pytest.approx((1 + 0.5 + 0.05) / 3)


def test_the_best_threshold_lies_between_two_scores():
    label = np.array([True, True, False, True, False])
    score = np.array([0.9, 0.8, 0.6, 0.5, 0.1])
    threshold = best_f1_threshold(label, score)
    assert threshold == pytest.approx(0.3)
    assert binary(label, score, threshold, np.arange(5)).values["F1"] == pytest.approx(6 / 7)
