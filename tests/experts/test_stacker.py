"""The stacker: probabilities, shortlists, shrinkage, and its fit against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

import experts.stacker
from experts.stacker import (
    LEAST_SCORE,
    SHORTLIST,
    Examples,
    Shortlists,
    Weights,
    fit_own,
    fit_shared,
    starting_weights,
    without_own,
)


def made_examples(
    cells: int, values: int, seed: int = 0, trust: float = 3.0
) -> tuple[Examples, np.ndarray]:
    """Return cells whose first expert is right by ``trust``, and whose second one knows nothing."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, values, cells)
    scores = rng.uniform(0, 0.2, (2, cells, values)).astype(np.float32)
    scores[0, np.arange(cells), truth] += rng.uniform(0, trust / 5, cells)
    true = np.zeros((cells, values), bool)
    true[np.arange(cells), truth] = True
    return Examples.of(Shortlists.of(scores), true), truth


@given(values=st.integers(1, 60), experts=st.integers(1, 4), seed=st.integers(0, 100))
def test_probabilities_of_all_values_sum_to_one(values: int, experts: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.normal(0, 0.5, (experts, 5, values)).astype(np.float32)
    frequencies = rng.dirichlet(np.ones(values))
    weights = without_own(starting_weights(2 * experts), frequencies)
    total = np.exp(weights.logits(Shortlists.of(scores)).astype(np.float64)).sum(1)
    np.testing.assert_allclose(total, 1, atol=2e-3)


def test_the_shortlist_has_the_values_that_experts_score_highest() -> None:
    scores = np.zeros((2, 1, 100), np.float32)
    scores[0, 0, 70] = 1
    scores[1, 0, 30] = 1
    shortlists = Shortlists.of(scores)
    assert shortlists.values.shape == (1, SHORTLIST)
    assert {30, 70} <= set(shortlists.values[0].tolist())
    place = shortlists.values[0].tolist().index(70)
    expected = [1, 0, np.log(1), np.log(LEAST_SCORE)]
    np.testing.assert_allclose(shortlists.features[0, place], expected, rtol=1e-6)


def test_values_that_are_not_on_the_shortlist_share_what_is_missed_by_frequency() -> None:
    scores = np.zeros((1, 1, 40), np.float32)
    scores[0, 0, :SHORTLIST] = np.linspace(1, 0.5, SHORTLIST)
    frequencies = np.arange(1, 41) / np.arange(1, 41).sum()
    weights = Weights(np.array([1.0, 0.0]), np.zeros(40), 0.1, frequencies)
    probability = np.exp(weights.logits(Shortlists.of(scores))[0])
    rest = probability[SHORTLIST:]
    assert rest.sum() == pytest.approx(0.1, abs=1e-4)
    np.testing.assert_allclose(
        rest / rest[0], frequencies[SHORTLIST:] / frequencies[SHORTLIST], 1e-4
    )


def test_logits_are_the_same_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = np.random.default_rng(0).random((2, 7, 40)).astype(np.float32)
    frequencies = np.full(40, 1 / 40)
    weights = Weights(np.array([1.0, 0.5, 0.2, 0.1]), np.zeros(40), 0.1, frequencies)
    whole = weights.logits(Shortlists.of(scores))
    monkeypatch.setattr(experts.stacker, "_LOGITS_TOGETHER", 3 * 40)
    np.testing.assert_array_equal(weights.logits(Shortlists.of(scores)), whole)


def test_weights_of_two_values_are_those_of_logistic_regression() -> None:
    examples, truth = made_examples(2000, 2)
    weights = fit_own(examples, np.zeros(4), np.array([0.5, 0.5]))
    features = examples.shortlists.features
    peer = LogisticRegression(C=1 / (2 * 1e-3 * len(truth)), fit_intercept=False)
    peer.fit(features[:, 1] - features[:, 0], truth)
    np.testing.assert_allclose(weights.features, peer.coef_[0], atol=0.08)


def test_of_two_values_to_refuse_one_is_to_say_the_other() -> None:
    examples, truth = made_examples(400, 2)
    true = np.eye(2, dtype=bool)[truth]
    refused = np.arange(400) % 2 == 0
    possible = np.where(refused[:, None], ~true[:, ::-1], true)
    decided = Examples.of(examples.shortlists, possible, ~refused)
    said = fit_own(examples, np.zeros(4), np.array([0.5, 0.5]))
    found = fit_own(decided, np.zeros(4), np.array([0.5, 0.5]))
    np.testing.assert_allclose(found.features, said.features, atol=1e-6)


def test_a_refused_value_becomes_less_probable() -> None:
    examples, truth = made_examples(400, 6)
    others = np.ones((400, 6), bool)
    best = examples.shortlists.scores.sum(2).argmax(1)
    others[np.arange(400), best] = False
    # Of every other cell the value that the experts favour is refused, and nothing else is known.
    few = np.arange(400) < 100
    possible = np.where(few[:, None], others, np.eye(6, dtype=bool)[truth])
    with_refused = Examples.of(examples.shortlists, possible, ~few)
    shared = starting_weights(4)
    before = fit_own(with_refused.select(~few), shared, np.full(6, 1 / 6))
    after = fit_own(with_refused, shared, np.full(6, 1 / 6))
    rows = np.arange(100), best[:100]
    first, second = (
        np.exp(each.logits(examples.shortlists)[:100][rows]) for each in (before, after)
    )
    assert second.mean() < first.mean() - 0.05


def test_a_cell_of_weight_two_counts_like_two_cells() -> None:
    examples, _ = made_examples(60, 4)
    weight = np.where(np.arange(60) < 20, 2.0, 1.0)
    weight[50:] = 0
    weighted = Examples(examples.shortlists, examples.true, examples.has_value, weight)
    twice = examples.select(np.r_[:20, :50])
    frequencies = np.full(4, 1 / 4)
    found, expected = (fit_own(each, np.zeros(4), frequencies) for each in (weighted, twice))
    np.testing.assert_allclose(found.features, expected.features, atol=1e-5)
    shared, same = (fit_shared([each]) for each in (weighted, twice))
    np.testing.assert_allclose(shared, same, atol=1e-5)


def test_an_expert_that_knows_nothing_counts_little() -> None:
    examples, truth = made_examples(1500, 8)
    weights = fit_own(examples, fit_shared([examples]), np.full(8, 1 / 8))
    logits = weights.logits(examples.shortlists)
    first, second = np.abs(weights.features[:2])
    assert first > 5 * second
    assert (logits.argmax(1) == truth).mean() > 0.7


def test_few_cells_keep_the_shared_weights() -> None:
    many, _ = made_examples(2000, 6)
    few, _ = made_examples(3, 6, seed=1)
    shared = fit_shared([many])
    weights = fit_own(few, shared, np.full(6, 1 / 6))
    none = fit_own(few.select(np.zeros(0, np.int64)), shared, np.full(6, 1 / 6))
    np.testing.assert_array_equal(none.features, shared)
    own = fit_own(many, np.zeros(4), np.full(6, 1 / 6))
    assert np.abs(weights.features - shared).max() < np.abs(own.features).max()


def test_shared_weights_of_properties_of_different_sizes() -> None:
    small, _ = made_examples(500, 3)
    large, _ = made_examples(500, 40, seed=1)
    shared = fit_shared([small, large])
    assert np.isfinite(shared).all()
    # A property with fewer values than another must not pay for those that it lacks.
    alone = fit_shared([small])
    assert np.sign(shared[0]) == np.sign(alone[0]) == 1
