import numpy as np
import pytest

from training.query_baseline import PRIOR_COUNT, QueryBaseline


def test_a_query_is_scored_by_its_smoothed_log_odds():
    texts = ["red mug", "blue lamp"]
    balanced = QueryBaseline(texts, np.array([6.0, 2.0]), np.array([2.0, 6.0]))
    (prior,) = balanced.score(["never seen"])
    score = balanced.score(texts)
    assert prior == pytest.approx(0.0, abs=0.2)
    assert score[0] > 0 > score[1]
    # Without a word to learn from, the prior is even: log((6 + 2) / (2 + 2)).
    wordless = QueryBaseline(["!", "?"], np.array([6.0, 2.0]), np.array([2.0, 6.0]))
    half = PRIOR_COUNT / 2
    assert wordless.score(["!", "new"]) == pytest.approx([np.log((6 + half) / (2 + half)), 0.0])


def test_an_unseen_query_is_scored_by_its_words():
    baseline = QueryBaseline(
        ["red mug", "red lamp", "blue mug", "blue lamp"],
        np.array([9.0, 9.0, 1.0, 1.0]),
        np.array([1.0, 1.0, 9.0, 9.0]),
    )
    red, blue = baseline.score(["Red vase", "vase, blue"])
    assert red > 0 > blue


def test_with_one_label_only_nothing_is_certain():
    baseline = QueryBaseline(["red mug"], np.array([3.0]), np.array([0.0]))
    assert np.isfinite(baseline.score(["red mug", "else"])).all()
