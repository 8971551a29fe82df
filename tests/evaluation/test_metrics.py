from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from evaluation.metrics import (
    METRICS,
    TARGETS,
    Estimate,
    MetricEstimates,
    Outcomes,
    average_precision,
    confidence_bins,
    differences,
    realistic_ranks,
    reliability,
    resampled_areas,
    summarise,
)
from fusion.inference.metrics import roc_auc


def outcomes(
    item: Any,
    rank: Any,
    confidence: Any = None,
    correct: Any = None,
    filled: Any = None,
    unanswered: Any = (),
) -> Outcomes:
    """Outcomes of cells with one true value each, none of which is filled by default."""
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
        np.zeros((len(item), len(TARGETS)), dtype=bool) if filled is None else np.asarray(filled),
        np.asarray(unanswered, dtype=np.int64),
    )


def metrics_of(data: Outcomes, items: int | None = None) -> MetricEstimates:
    items = items or int(data.item.max(initial=0)) + 1
    return summarise({"p": data}, items, resamples=0).properties["p"]


def expected_calibration_error(confidence: Any, correct: Any) -> float:
    items = np.arange(len(confidence))
    return metrics_of(outcomes(items, np.ones(len(items)), confidence, correct))["ece"].value


def width(estimate: Estimate) -> float:
    return estimate.high - estimate.low


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
    # So many that their noise is negligible.
    confidence = np.repeat([0.95, 0.95, 0.95, 0.25], 2000)
    correct = np.repeat([True, True, False, False], 2000)
    expected = 3 / 4 * (0.95 - 2 / 3) + 1 / 4 * 0.25
    assert expected_calibration_error(confidence, correct) == pytest.approx(expected, abs=1e-6)


def test_noise_is_hardly_a_calibration_error():
    rng = np.random.default_rng(2)
    plain = []
    debiased = []
    for _ in range(60):
        confidence = rng.beta(4, 2, 400)
        correct = rng.random(400) < confidence - 0.05
        gaps = np.bincount(confidence_bins(confidence, 15), confidence - correct)
        plain.append(np.abs(gaps).sum() / 400)
        debiased.append(expected_calibration_error(confidence, correct))
    assert abs(np.mean(debiased) - 0.05) < 0.006 < abs(np.mean(plain) - 0.05)


def test_the_debiased_error_is_that_of_kumar():
    rng = np.random.default_rng(4)
    confidence = rng.beta(4, 2, 400)
    correct = rng.random(400) < confidence - 0.05
    bins = confidence_bins(confidence, 15)
    gap = confidence - correct
    count = np.bincount(bins, minlength=15)
    total = np.bincount(bins, gap, 15)
    noise = [
        gap[bins == each].std() * np.sqrt(count[each]) if count[each] else 0 for each in range(15)
    ]
    drawn = np.abs(total + rng.normal(size=(20_000, 15)) * noise).sum(1).mean()
    expected = (2 * np.abs(total).sum() - drawn) / 400
    assert expected_calibration_error(confidence, correct) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("overconfidence", [0.0, 0.03, 0.1])
def test_the_interval_of_the_calibration_error_covers_the_true_one(overconfidence):
    rng = np.random.default_rng(7)
    # By a large sample, in the same bins.
    confidence = rng.beta(4, 2, 1_000_000)
    gap = np.minimum(overconfidence, confidence)
    bins = confidence_bins(confidence, 15)
    true_error = np.abs(np.bincount(bins, gap)).sum() / len(bins)
    covered = 0
    for _ in range(60):
        confidence = rng.beta(4, 2, 600)
        correct = rng.random(600) < confidence - np.minimum(overconfidence, confidence)
        data = outcomes(np.arange(600), np.ones(600), confidence, correct)
        estimate = summarise({"p": data}, 600, resamples=200).macro["ece"]
        assert estimate.low <= estimate.value <= estimate.high
        covered += estimate.low <= true_error <= estimate.high
    # 57 of 60 are expected, and fewer than 53 in 2 of 100 cases. Of the plain error it is 0 to 54.
    assert covered >= 53


def test_brier_score_is_the_mean_squared_error_of_the_probability():
    data = outcomes([0, 1], [1, 1], [0.9, 0.4], [True, True])
    assert metrics_of(data)["brier"].value == pytest.approx((0.1**2 + 0.6**2) / 2)


def test_area_under_the_risk_coverage_curve():
    # Accepted one after the other, 0, 1/2 and 1/3 of the cells are wrong.
    data = outcomes([0, 1, 2], [1, 1, 1], [0.9, 0.8, 0.7], [True, False, True])
    assert metrics_of(data)["aurc"].value == pytest.approx((0 + 1 / 2 + 1 / 3) / 3)


def test_equally_probable_cells_have_the_same_risk():
    right = [True, False, True, False]
    data = outcomes(range(4), np.ones(4), [0.9, 0.8, 0.8, 0.8], right)
    assert metrics_of(data)["aurc"].value == pytest.approx((0 + 3 * 2 / 4) / 4)


def test_cells_without_a_candidate_are_wrong_and_come_last():
    data = outcomes([0, 1], [1, 1], [0.9, 0.8], [True, True], unanswered=[2, 3])
    assert metrics_of(data, 4)["aurc"].value == pytest.approx((0 + 0 + 2 * 2 / 4) / 4)


def test_coverage_and_realised_precision_of_decisions():
    filled = np.array([[1, 1, 0], [1, 0, 0], [1, 0, 0], [0, 0, 0]], dtype=bool)
    right = [True, True, False, True]
    metrics = metrics_of(outcomes(range(4), np.ones(4), None, right, filled, unanswered=[4]), 5)
    found = [metrics[f"coverage@{target}"].value for target in TARGETS]
    assert found == pytest.approx([3 / 5, 1 / 5, 0])
    assert metrics["precision@0.9"].value == pytest.approx(2 / 3)
    assert metrics["precision@0.95"].value == 1
    assert np.isnan(metrics["precision@0.99"].value)


def test_pooled_metrics_take_all_cells_as_one():
    many = np.ones((9, 3), dtype=bool)
    easy = outcomes(range(9), np.ones(9), None, np.ones(9, bool), many)
    hard = outcomes([0], [5], None, [False], many[:1])
    summary = summarise({"easy": easy, "hard": hard}, 9, resamples=10)
    assert summary.macro["precision@0.9"].value == 0.5
    assert summary.pooled["precision@0.9"].value == 0.9
    assert summary.pooled["hits@1"].value == 0.9


def drawn_outcomes(seed: int, items: int = 300) -> Outcomes:
    rng = np.random.default_rng(seed)
    rank = rng.integers(1, 4, items)
    filled = rng.random((items, 3)) < 0.5
    return outcomes(np.arange(items), rank, rng.random(items), rank == 1, filled)


def test_nothing_differs_from_itself():
    data = {"p": drawn_outcomes(0), "q": drawn_outcomes(1)}
    difference = differences(data, data, 300, resamples=50)
    for estimates in (difference.macro, difference.pooled, *difference.properties.values()):
        assert all((each.value, each.low, each.high) == (0, 0, 0) for each in estimates.values())


def test_differences_are_those_of_the_estimates():
    ours = {"p": drawn_outcomes(0), "q": drawn_outcomes(1)}
    theirs = {"p": drawn_outcomes(2), "q": drawn_outcomes(3)}
    difference = differences(ours, theirs, 300, resamples=0).macro
    macros = [summarise(each, 300, resamples=0).macro for each in (ours, theirs)]
    for metric in set(METRICS) - {"ece"}:  # errors are cut off at zero, their differences are not
        expected = macros[0][metric].value - macros[1][metric].value
        assert difference[metric].value == pytest.approx(expected)


def test_paired_intervals_are_those_of_the_resampled_differences():
    ours = drawn_outcomes(0)
    theirs = drawn_outcomes(2)
    found = differences({"p": ours}, {"p": theirs}, 300, resamples=400, seed=3).macro["hits@1"]
    rng = np.random.default_rng(3)
    gain = (ours.rank == 1) * 1.0 - (theirs.rank == 1)
    samples = [gain[rng.integers(0, 300, 300)].mean() for _ in range(400)]
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(samples, [2.5, 97.5])))


def test_pairing_leaves_out_what_is_hard_for_both():
    rng = np.random.default_rng(0)
    hard = rng.random(400) < 0.5
    better = np.where(hard & (rng.random(400) < 0.96), 2, 1)
    worse = np.where(hard, 2, 1)
    ours = {"p": outcomes(np.arange(400), better)}
    theirs = {"p": outcomes(np.arange(400), worse)}
    paired = differences(ours, theirs, 400).macro["hits@1"]
    assert paired.low > 0
    assert width(paired) < width(summarise(ours, 400).macro["hits@1"]) / 3


def test_outcomes_of_other_properties_cannot_be_compared():
    with pytest.raises(ValueError, match="same properties"):
        differences({"p": drawn_outcomes(0)}, {"q": drawn_outcomes(0)}, 300)


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
    macro = summarise({"easy": easy, "hard": hard}, 3, resamples=0).macro
    assert macro["hits@1"].value == 0.5


def test_the_interval_is_the_binomial_one_if_items_have_one_cell():
    rank = np.where(np.arange(400) < 300, 1, 2)
    macro = summarise({"p": outcomes(np.arange(400), rank)}, 400, resamples=2000).macro
    half = 1.96 * np.sqrt(0.75 * 0.25 / 400)
    assert macro["hits@1"].high - 0.75 == pytest.approx(half, abs=0.006)
    assert 0.75 - macro["hits@1"].low == pytest.approx(half, abs=0.006)


def test_several_cells_per_item_widen_the_interval():
    separate = summarise({"p": outcomes(np.arange(200), 1 + np.arange(200) % 2)}, 200).macro
    item = np.repeat(np.arange(20), 10)
    together = summarise({"p": outcomes(item, 1 + item % 2)}, 20).macro
    assert width(together["hits@1"]) > 2 * width(separate["hits@1"])


def test_intervals_are_seeded():
    data = {"p": drawn_outcomes(0, 50)}
    assert summarise(data, 50, seed=4) == summarise(data, 50, seed=4)
    assert summarise(data, 50, seed=4) != summarise(data, 50, seed=5)


def test_a_property_without_cells_stays_out_of_the_macro_average():
    empty = outcomes(np.zeros(0, int), [])
    summary = summarise({"empty": empty, "full": outcomes([0, 1], [1, 1])}, 2, resamples=20)
    assert np.isnan(summary.properties["empty"]["mrr"].value)
    assert summary.macro["mrr"].value == 1


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
