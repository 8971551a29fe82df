from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from evaluation.metrics import (
    MetricEstimates,
    Outcomes,
    average_precision,
    confidence_bins,
    realistic_ranks,
    reliability,
    resampled_areas,
    summarise,
)
from fusion.inference.metrics import roc_auc


def outcomes(item: Any, rank: Any, confidence: Any = None, correct: Any = None) -> Outcomes:
    """Outcomes of cells with one true value each."""
    item = np.asarray(item)
    if confidence is None:
        confidence = np.full(len(item), 0.5)
    if correct is None:
        correct = np.ones(len(item), dtype=bool)
    return Outcomes(
        item,
        np.asarray(rank, dtype=float),
        item,
        np.asarray(confidence, dtype=float),
        np.asarray(correct),
    )


def metrics_of(data: Outcomes) -> MetricEstimates:
    items = int(data.item.max(initial=0)) + 1
    return summarise({"p": data}, items, resamples=0)[0]["p"]


def expected_calibration_error(confidence: Any, correct: Any) -> float:
    items = np.arange(len(confidence))
    return metrics_of(outcomes(items, np.ones(len(items)), confidence, correct))["ece"].value


def only(true: np.ndarray, values: int) -> np.ndarray:
    """Mark one true candidate [N] in each row [N, V]."""
    return np.arange(values) == true[:, None]


def test_rank_counts_better_candidates():
    scores = np.array([[0.1, 0.9, 0.5], [0.3, 0.2, 0.1]])
    true = np.array([2, 0])
    assert realistic_ranks(scores, true, only(true, 3)).tolist() == [2, 1]


def test_ties_give_the_mean_of_the_best_and_the_worst_rank():
    true = np.array([1])
    assert realistic_ranks(np.zeros((1, 4)), true, only(true, 4)).tolist() == [2.5]


def test_other_true_values_are_left_out_of_the_ranking():
    scores = np.array([[0.9, 0.8, 0.1]])
    all_true = np.array([[True, True, False]])
    assert realistic_ranks(scores, np.array([1]), all_true).tolist() == [1]


@pytest.mark.parametrize("decimals", [1, 6])  # one decimal makes many ties
def test_ranking_metrics_agree_with_pykeen(decimals):
    import torch
    from pykeen.evaluation import RankBasedEvaluator

    rng = np.random.default_rng(0)
    scores = np.round(rng.normal(size=(200, 30)), decimals).astype(np.float32)
    true = rng.integers(0, 30, 200)
    others = (rng.random((200, 30)) < 0.1) & ~only(true, 30)
    evaluator = RankBasedEvaluator(filtered=True, add_defaults=True)
    evaluator.process_scores_(
        hrt_batch=torch.zeros(200, 3, dtype=torch.long),
        target="tail",
        scores=torch.from_numpy(np.where(others, np.nan, scores)),
        true_scores=torch.from_numpy(scores[np.arange(200), true][:, None]),
    )
    expected = evaluator.finalize()

    ours = metrics_of(
        outcomes(np.arange(200), realistic_ranks(scores, true, others | only(true, 30)))
    )
    assert ours["mrr"].value == pytest.approx(
        expected.get_metric("tail.realistic.inverse_harmonic_mean_rank"), rel=1e-6
    )
    for k in (1, 3, 10):
        assert ours[f"hits@{k}"].value == pytest.approx(
            expected.get_metric(f"tail.realistic.hits_at_{k}"), rel=1e-6
        )


def test_an_infinite_rank_adds_nothing():
    metrics = metrics_of(outcomes([0, 1], [1.0, np.inf]))
    assert (metrics["hits@10"].value, metrics["mrr"].value) == (0.5, 0.5)


def test_metrics_of_nothing_are_nan():
    metrics = metrics_of(outcomes(np.zeros(0, int), []))
    assert np.isnan([estimate.value for estimate in metrics.values()]).all()


def test_calibration_error_of_perfect_and_of_overconfident_predictions():
    rng = np.random.default_rng(1)
    confidence = rng.random(50_000)
    assert expected_calibration_error(confidence, rng.random(50_000) < confidence) < 0.02
    overconfident = expected_calibration_error(np.full(10, 0.9), np.zeros(10, bool))
    assert overconfident == pytest.approx(0.9)


def test_calibration_error_weights_bins_by_their_predictions():
    confidence = np.array([0.95, 0.95, 0.95, 0.25])
    correct = np.array([True, True, False, False])
    expected = 3 / 4 * (0.95 - 2 / 3) + 1 / 4 * 0.25
    assert expected_calibration_error(confidence, correct) == pytest.approx(expected)


def test_a_confidence_of_one_falls_into_the_last_bin():
    assert confidence_bins(np.array([0.0, 1.0]), 15).tolist() == [0, 14]


def test_reliability_bins_hold_every_prediction():
    bins = reliability(np.array([0.05, 0.95, 1.0]), np.array([False, True, True]), 10)
    assert [each.count for each in bins] == [1, 2]
    assert bins[1].probability == pytest.approx(0.975)
    assert bins[1].accuracy == 1.0


def test_reliability_of_no_predictions_is_empty():
    assert reliability(np.zeros(0), np.zeros(0, bool), 10) == []


def test_the_macro_average_is_over_properties():
    easy = outcomes([0, 1, 2], [1, 1, 1])
    hard = outcomes([0], [5])
    _, macro = summarise({"easy": easy, "hard": hard}, 3, resamples=0)
    assert macro["hits@1"].value == 0.5


def test_the_interval_is_the_binomial_one_if_items_have_one_cell():
    rank = np.where(np.arange(400) < 300, 1, 2)
    _, macro = summarise({"p": outcomes(np.arange(400), rank)}, 400, resamples=2000)
    half = 1.96 * np.sqrt(0.75 * 0.25 / 400)
    assert macro["hits@1"].high - 0.75 == pytest.approx(half, abs=0.006)
    assert 0.75 - macro["hits@1"].low == pytest.approx(half, abs=0.006)


def test_several_cells_per_item_widen_the_interval():
    separate = summarise({"p": outcomes(np.arange(200), 1 + np.arange(200) % 2)}, 200)[1]["hits@1"]
    item = np.repeat(np.arange(20), 10)
    together = summarise({"p": outcomes(item, 1 + item % 2)}, 20)[1]["hits@1"]
    assert together.high - together.low > 2 * (separate.high - separate.low)


def test_intervals_are_seeded():
    data = {"p": outcomes(np.arange(50), 1 + np.arange(50) % 3)}
    assert summarise(data, 50, seed=4) == summarise(data, 50, seed=4)


def test_a_property_without_cells_stays_out_of_the_macro_average():
    empty = outcomes(np.zeros(0, int), [])
    by_property, macro = summarise(
        {"empty": empty, "full": outcomes([0, 1], [1, 1])}, 2, resamples=20
    )
    assert np.isnan(by_property["empty"]["mrr"].value)
    assert macro["mrr"].value == 1


def test_outcomes_concatenate():
    joined = Outcomes.concatenate([outcomes([0], [1]), outcomes([1], [2])])
    assert joined.item.tolist() == [0, 1]
    assert joined.rank.tolist() == [1, 2]


def test_average_precision_without_a_positive_label_is_nan():
    assert np.isnan(average_precision(np.array([0.1, 0.9]), np.array([False, False])))


def test_areas_are_resampled_by_whole_groups():
    score = np.array([0.9, 0.1, 0.8, 0.2])
    label = np.array([True, False, True, False])
    areas = resampled_areas(score, label, np.array([0, 0, 1, 1]), resamples=5)
    assert areas.tolist() == [[1.0, 1.0]] * 5


def test_resamples_with_one_label_alone_are_left_out():
    areas = resampled_areas(np.array([0.9]), np.array([True]), np.array([0]), resamples=3)
    assert np.isnan(areas).all()


def test_resampled_areas_equal_those_of_each_resample_alone():
    rng = np.random.default_rng(3)
    # Rounded, so that there are ties.
    score = rng.normal(size=60).round(1)
    label = rng.random(60) < 0.4
    group = np.arange(60) // 3
    areas = resampled_areas(score, label, group, resamples=70, seed=5)
    again = np.random.default_rng(5)
    for each in areas:
        weight = np.bincount(again.integers(0, 20, 20), minlength=20)[group].astype(float)
        expected = roc_auc(score, label, weight), average_precision(score, label, weight)
        assert each == pytest.approx(expected, abs=1e-12)
