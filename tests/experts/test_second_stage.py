"""The second stage: which sources join, masks, the formula by hand, shrinkage, and its file."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from experts.second_stage import (
    LEAST_PROBABILITY,
    FittedSecondStage,
    SecondStage,
    SourcedCells,
    fit_second_stage,
    group_of,
)
from experts.situations import Situation, TitleState

SAYS = Situation(TitleState.SAYS, image=True, known=False)
SAYS_KNOWN = replace(SAYS, known=True)
BARE = Situation(TitleState.BARE, image=True, known=False)
VALUES = 6


def made_cells(
    count: int, skills: list[float], *, experts: float = 1.0, seed: int = 0
) -> SourcedCells:
    """Return cells that each source knows by its skill, one a item; 0 is none at all."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, VALUES, count)
    true = np.zeros((count, VALUES), bool)
    true[np.arange(count), truth] = True
    logits = log_softmax(rng.normal(0, 1, true.shape) + experts * true, axis=1)
    noise = [rng.normal(0, 1, true.shape) + skill * true for skill in skills]
    return SourcedCells(
        logits.astype(np.float32),
        np.stack([softmax(each, axis=1) for each in noise]).astype(np.float32),
        true,
        np.arange(count),
        np.arange(count) % 2,
    )


def log_likelihood(logits: np.ndarray, cells: SourcedCells) -> float:
    return float(log_softmax(logits.astype(np.float64), axis=1)[cells.true].mean())


def fit(cells: SourcedCells, *sources: str) -> FittedSecondStage:
    return fit_second_stage(sources, {(SAYS, "colour"): cells})


def test_a_source_that_knows_more_joins_and_one_that_knows_nothing_stays_out() -> None:
    cells = made_cells(600, [2.0, 0.0])
    fitted = fit(cells, "network", "noise")
    network, noise = fitted.stage.gains
    assert (network.source, network.joins, network.items) == ("network", True, 600)
    assert network.gain > 5 * network.error > 0
    assert (noise.source, noise.joins, noise.beside) == ("noise", False, ("network",))
    assert fitted.stage.joining(SAYS) == [0]
    assert not fitted.stage.shared[group_of(SAYS)][1].any()
    assert log_likelihood(fitted.held_out[SAYS, "colour"], cells) - log_likelihood(
        cells.logits, cells
    ) == pytest.approx(network.gain, abs=0.02)


def test_a_source_that_repeats_the_experts_stays_out_and_changes_nothing() -> None:
    cells = made_cells(400, [0.0])
    same = replace(cells, probabilities=softmax(cells.logits, axis=1)[None])
    for each in (cells, same):
        fitted = fit(each, "network")
        assert not fitted.stage.joins_anywhere
        np.testing.assert_array_equal(fitted.held_out[SAYS, "colour"], each.logits)
        joined = fitted.stage.join(SAYS, "colour", each.logits, each.probabilities)
        np.testing.assert_array_equal(joined, each.logits)


def test_a_source_does_not_join_because_the_experts_are_too_sure() -> None:
    cells = made_cells(600, [0.0])
    # With half of its weight, the experts' logit would be far better.
    overconfident = log_softmax(3 * cells.logits.astype(np.float64), axis=1)
    fitted = fit(replace(cells, logits=overconfident.astype(np.float32)), "noise")
    (gain,) = fitted.stage.gains
    assert abs(gain.gain) < 2 * gain.error < 0.05
    assert not fitted.stage.joins_anywhere


def test_each_group_decides_by_itself() -> None:
    helps = made_cells(500, [2.0])
    harms = made_cells(500, [0.0], seed=1)
    fitted = fit_second_stage(["network"], {(SAYS, "colour"): helps, (BARE, "colour"): harms})
    assert fitted.stage.joining(SAYS) == fitted.stage.joining(SAYS_KNOWN) == [0]
    assert fitted.stage.joining(BARE) == []
    np.testing.assert_array_equal(fitted.held_out[BARE, "colour"], harms.logits)


def test_the_joined_logits_are_those_of_the_formula() -> None:
    weights = np.array([[-0.2, 1.5, 0.3], [0.1, 0.0, 0.4]])
    stage = SecondStage(("a", "b"), {group_of(SAYS): weights}, {})
    experts = np.log([[0.6, 0.3, 0.1]])
    first = np.array([0.2, 0.8, 0.0])
    second = np.array([0.5, 0.25, 0.25])
    expected = (
        0.9 * experts[0]
        + 1.5 * first
        + 0.3 * np.log([0.2, 0.8, LEAST_PROBABILITY])
        + 0.4 * np.log(second)
    )
    joined = stage.join(
        SAYS, "colour", experts.astype(np.float32), np.stack([[first], [second]]).astype(np.float32)
    )
    np.testing.assert_allclose(np.exp(joined[0]), softmax(expected), atol=1e-6)


@given(another=st.floats(0.01, 0.9), seed=st.integers(0, 50))
def test_another_value_keeps_its_probability(another: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    stage = SecondStage(("a",), {group_of(SAYS): np.array([[0.1, 2.0, 0.5]])}, {})
    experts = np.append((1 - another) * rng.dirichlet(np.ones(4)), another)
    source = rng.dirichlet(np.ones(4)).astype(np.float32)
    joined = stage.join(SAYS, "x", np.log(experts)[None].astype(np.float32), source[None, None])
    probability = np.exp(joined[0].astype(np.float64))
    assert probability.sum() == pytest.approx(1, abs=1e-5)
    assert probability[-1] == pytest.approx(another, abs=1e-5)


def test_a_source_without_an_answer_leaves_the_experts_as_they_are() -> None:
    cells = made_cells(600, [2.0])
    missing = np.arange(600) % 3 == 0
    probabilities = cells.probabilities.copy()
    probabilities[0, missing] = np.nan
    cells = replace(cells, probabilities=probabilities)
    fitted = fit(cells, "network")
    assert fitted.stage.joining(SAYS) == [0]
    joined = fitted.stage.join(SAYS, "colour", cells.logits, probabilities)
    np.testing.assert_allclose(joined[missing], cells.logits[missing], atol=1e-5)
    assert np.abs(joined[~missing] - cells.logits[~missing]).max() > 0.1
    # It teaches as much as if only the cells with answers were there.
    answered = fit(
        SourcedCells(
            cells.logits[~missing],
            probabilities[:, ~missing],
            cells.true[~missing],
            cells.item[~missing],
            cells.fold[~missing],
        ),
        "network",
    )
    np.testing.assert_allclose(
        fitted.stage.shared[group_of(SAYS)], answered.stage.shared[group_of(SAYS)], atol=1e-3
    )


def test_weights_are_those_of_the_highest_posterior() -> None:
    cells = made_cells(300, [1.5])
    fitted = fit(cells, "network")
    (weights,) = fitted.stage.shared[group_of(SAYS)]

    def loss(parameters: np.ndarray) -> float:
        change, score, logarithm = parameters
        probability = cells.probabilities[0].astype(np.float64)
        logits = (
            (1 + change) * cells.logits.astype(np.float64)
            + score * probability
            + logarithm * np.log(np.maximum(probability, LEAST_PROBABILITY))
        )
        prior = ((parameters / np.array([0.5, 2.0, 0.5])) ** 2).sum() / 2
        return float(prior - log_softmax(logits, axis=1)[cells.true].sum())

    peer = minimize(loss, np.zeros(3), bounds=[(-0.9, 100), (0, 100), (0, 100)])
    np.testing.assert_allclose(weights, peer.x, atol=5e-3)
    assert (weights[1:] >= 0).all()


def test_a_property_with_few_cells_has_the_weights_of_the_others() -> None:
    many = made_cells(800, [2.0])
    few = made_cells(4, [-2.0], seed=3)
    fitted = fit_second_stage(
        ["network"],
        {(SAYS, "colour"): many, (SAYS, "shape"): replace(few, item=few.item + 1000)},
    )
    shared = fitted.stage.shared[group_of(SAYS)]
    own = fitted.stage.own
    few_change = np.abs(own[group_of(SAYS), "shape"] - shared)
    assert (few_change < 0.25).all()
    # A property that was never fitted takes the shared ones.
    joined = fitted.stage.join(SAYS, "size", many.logits, many.probabilities)
    assert np.abs(joined - many.logits).max() > 0.1


def test_cells_of_an_item_count_once() -> None:
    cells = made_cells(200, [1.0])
    several = SourcedCells(
        *(np.repeat(each, 5, axis=axis) for each, axis in _with_axes(cells)),
    )
    once = fit(cells, "network").stage
    often = fit(several, "network").stage
    np.testing.assert_allclose(often.shared[group_of(SAYS)], once.shared[group_of(SAYS)], atol=1e-3)
    assert often.gains[0].items == once.gains[0].items == 200
    assert often.gains[0].error == pytest.approx(once.gains[0].error, rel=1e-2)


def _with_axes(cells: SourcedCells) -> list[tuple[np.ndarray, int]]:
    return [
        (cells.logits, 0),
        (cells.probabilities, 1),
        (cells.true, 0),
        (cells.item, 0),
        (cells.fold, 0),
    ]


def test_left_out_logits_do_not_depend_on_the_labels_of_their_fold() -> None:
    cells = made_cells(400, [2.0])
    other = cells.true.copy()
    inside = cells.fold == 0
    other[inside] = np.roll(other[inside], 1, axis=1)
    # Enough of them stay right for the source to join all the same.
    kept = inside & (np.arange(400) % 8 != 0)
    other[kept] = cells.true[kept]
    one = fit(cells, "network")
    two = fit(replace(cells, true=other), "network")
    assert one.stage.joins_anywhere
    assert two.stage.joins_anywhere
    key = (SAYS, "colour")
    np.testing.assert_array_equal(one.held_out[key][inside], two.held_out[key][inside])
    assert not np.array_equal(one.held_out[key][~inside], two.held_out[key][~inside])


def test_no_cells_no_sources_and_one_value() -> None:
    assert not fit_second_stage(["network"], {}).stage.joins_anywhere
    cells = made_cells(50, [1.0])
    nobody = fit(replace(cells, probabilities=cells.probabilities[:0]))
    np.testing.assert_array_equal(nobody.held_out[SAYS, "colour"], cells.logits)
    one = SourcedCells(
        np.zeros((30, 1), np.float32),
        np.ones((1, 30, 1), np.float32),
        np.ones((30, 1), bool),
        np.arange(30),
        np.arange(30) % 2,
    )
    assert not fit(one, "network").stage.joins_anywhere
    alone = replace(cells, fold=np.zeros(50, int))
    assert not fit(alone, "network").stage.joins_anywhere


def test_a_stage_is_the_same_when_it_is_read_again() -> None:
    cells = made_cells(600, [2.0, 1.0])
    stage = fit(cells, "network", "llm").stage
    again = SecondStage.from_dict(json.loads(json.dumps(stage.as_dict())))
    assert [each.joins for each in again.gains] == [each.joins for each in stage.gains]
    np.testing.assert_array_equal(
        again.join(SAYS, "colour", cells.logits, cells.probabilities),
        stage.join(SAYS, "colour", cells.logits, cells.probabilities),
    )


@pytest.mark.parametrize("weights", [[[1, 2]], [[1, 2, float("nan")]], [[1, 2, 1e9]], 3, "x"])
def test_weights_that_cannot_be_are_refused(weights: object) -> None:
    stage = SecondStage(("a",), {group_of(SAYS): np.zeros((1, 3))}, {})
    data = stage.as_dict()
    data["groups"][group_of(SAYS)]["shared"] = weights
    with pytest.raises((ValueError, TypeError)):
        SecondStage.from_dict(data)
