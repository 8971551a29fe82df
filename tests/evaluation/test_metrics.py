from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from evaluation.metrics import (
    Outcomes,
    confidence_bins,
    expected_calibration_error,
    hits,
    mean_reciprocal_rank,
    realistic_ranks,
    summarise,
)


def outcomes(item: Any, rank: Any, confidence: Any = None, correct: Any = None) -> Outcomes:
    item = np.asarray(item)
    confidence = (
        np.full(len(item), 0.5) if confidence is None else np.asarray(confidence, dtype=float)
    )
    correct = np.ones(len(item), dtype=bool) if correct is None else np.asarray(correct)
    return Outcomes(item, np.asarray(rank, dtype=float), item, confidence, correct)


def test_rank_counts_better_candidates():
    scores = np.array([[0.1, 0.9, 0.5], [0.3, 0.2, 0.1]])
    assert realistic_ranks(scores, np.array([2, 0])).tolist() == [2, 1]


def test_ties_give_the_mean_of_best_and_worst_place():
    assert realistic_ranks(np.zeros((1, 4)), np.array([1])).tolist() == [2.5]


def test_other_true_values_do_not_count():
    scores = np.array([[0.9, 0.8, 0.1]])
    others = np.array([[True, False, False]])
    assert realistic_ranks(scores, np.array([1]), others).tolist() == [1]


def test_true_value_counts_even_where_it_is_marked_as_another():
    assert realistic_ranks(
        np.array([[0.9, 0.8]]), np.array([1]), np.array([[False, True]])
    ).tolist() == [2]


@pytest.mark.parametrize("decimals", [1, 6])
def test_agrees_with_pykeen(decimals):
    import torch
    from pykeen.evaluation import RankBasedEvaluator

    rng = np.random.default_rng(0)
    scores = np.round(rng.normal(size=(200, 30)), decimals).astype(
        np.float32
    )  # one decimal makes many ties
    true = rng.integers(0, 30, 200)
    others = rng.random((200, 30)) < 0.1
    others[np.arange(200), true] = False
    evaluator = RankBasedEvaluator(filtered=True, add_defaults=True)
    filtered = torch.from_numpy(np.where(others, np.nan, scores))
    own = torch.from_numpy(scores[np.arange(200), true][:, None])
    evaluator.process_scores_(
        hrt_batch=torch.zeros(200, 3, dtype=torch.long),
        target="tail",
        scores=filtered,
        true_scores=own,
    )
    oracle = evaluator.finalize()
    ranks = realistic_ranks(scores, true, others)
    assert mean_reciprocal_rank(ranks) == pytest.approx(
        oracle.get_metric("tail.realistic.inverse_harmonic_mean_rank"), rel=1e-6
    )
    for k in (1, 3, 10):
        assert hits(ranks, k) == pytest.approx(
            oracle.get_metric(f"tail.realistic.hits_at_{k}"), rel=1e-6
        )


def test_infinite_rank_counts_nothing():
    ranks = np.array([1.0, np.inf])
    assert (hits(ranks, 10), mean_reciprocal_rank(ranks)) == (0.5, 0.5)


def test_no_ranks_give_nan():
    assert np.isnan(
        [
            hits(np.zeros(0), 1),
            mean_reciprocal_rank(np.zeros(0)),
            expected_calibration_error(np.zeros(0), np.zeros(0, bool)),
        ]
    ).all()


def test_ece_of_perfect_and_of_overconfident_predictions():
    rng = np.random.default_rng(1)
    confidence = rng.random(50_000)
    assert expected_calibration_error(confidence, rng.random(50_000) < confidence) < 0.02
    assert expected_calibration_error(np.full(10, 0.9), np.zeros(10, bool)) == pytest.approx(0.9)


def test_confidence_of_one_falls_in_the_last_bin():
    assert confidence_bins(np.array([0.0, 1.0])).tolist() == [0, 14]


def test_equal_mass_bins_hold_as_many():
    confidence = np.random.default_rng(2).beta(8, 1, 3000)
    counts = np.bincount(confidence_bins(confidence, equal_mass=True), minlength=15)
    assert counts.min() > 190
    assert counts.max() < 210


def test_summary_equals_the_plain_metrics():
    rng = np.random.default_rng(3)
    data = outcomes(
        np.arange(100), rng.integers(1, 12, 100), rng.random(100), rng.random(100) < 0.5
    )
    lines, macro = summarise({"colour": data}, 100, draws=10)
    assert lines["colour"]["hits@3"].value == pytest.approx(hits(data.rank, 3))
    assert lines["colour"]["mrr"].value == pytest.approx(mean_reciprocal_rank(data.rank))
    assert macro["ece"].value == pytest.approx(
        expected_calibration_error(data.confidence, data.correct)
    )


def test_macro_is_the_mean_over_properties():
    easy = outcomes([0, 1, 2], [1, 1, 1])
    hard = outcomes([0], [5])
    assert summarise({"easy": easy, "hard": hard}, 3, draws=0)[1]["hits@1"].value == 0.5


def test_interval_is_that_of_the_binomial_where_items_are_cells():
    rank = np.where(np.arange(400) < 300, 1, 2)
    hits1 = summarise({"p": outcomes(np.arange(400), rank)}, 400, draws=2000)[1]["hits@1"]
    half = 1.96 * np.sqrt(0.75 * 0.25 / 400)
    assert hits1.high - 0.75 == pytest.approx(half, abs=0.006)
    assert 0.75 - hits1.low == pytest.approx(half, abs=0.006)


def test_cells_of_one_item_widen_the_interval():
    alone = summarise({"p": outcomes(np.arange(200), 1 + np.arange(200) % 2)}, 200)[1]["hits@1"]
    rank = 1 + np.arange(20) % 2
    together = summarise({"p": outcomes(np.repeat(np.arange(20), 10), np.repeat(rank, 10))}, 20)[1][
        "hits@1"
    ]
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_summary_is_seeded():
    data = {"p": outcomes(np.arange(50), 1 + np.arange(50) % 3)}
    assert summarise(data, 50, seed=4) == summarise(data, 50, seed=4)


def test_property_without_cells_stays_out_of_the_macro():
    empty = outcomes(np.zeros(0, int), [])
    lines, macro = summarise({"empty": empty, "full": outcomes([0, 1], [1, 1])}, 2, draws=20)
    assert np.isnan(lines["empty"]["mrr"].value)
    assert macro["mrr"].value == 1


def test_outcomes_concatenate():
    joined = Outcomes.concatenate([outcomes([0], [1]), outcomes([1], [2])])
    assert joined.rank.tolist() == [1, 2]
