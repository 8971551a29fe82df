"""Ridge regression against scikit-learn, and left-out scores against fitting without the item."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.kernel_ridge import KernelRidge
from torch import Tensor

import experts.ridge
from experts.ridge import (
    RIDGE,
    DuplicateRidge,
    ExactRidge,
    FittedRidge,
    NystromRidge,
    inverse_of_positive,
)

ITEMS = 60
VALUES = 4


def made(seed: int = 0, items: int = ITEMS) -> tuple[NDArray[np.float64], Tensor]:
    """Return points [N, 3] and targets [N, V]."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(items, 3))
    targets = np.eye(VALUES)[rng.integers(0, VALUES, items)]
    return points, torch.from_numpy(targets).float()


def gaussian(one: NDArray[np.float64], other: NDArray[np.float64]) -> Tensor:
    """Return a Gaussian kernel [N, M]."""
    distances = np.square(one[:, None] - other[None]).sum(-1)
    return torch.from_numpy(np.exp(-distances / 2)).float()


def test_predictions_are_those_of_scikit_learn() -> None:
    points, targets = made()
    kernel = gaussian(points, points)
    fitted = ExactRidge(kernel).fit(targets, np.ones(ITEMS, bool))
    peer = KernelRidge(alpha=RIDGE, kernel="precomputed")
    mean = targets.mean(0)
    peer.fit(kernel.numpy(), (targets - mean).numpy())
    others = gaussian(made(1)[0], points)
    expected = peer.predict(others.numpy()) + mean.numpy()
    np.testing.assert_allclose(fitted.predict(others).numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("size", [1, 2, 3, 17, 60])
def test_inverses_by_halves(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experts.ridge, "SMALL_INVERSE", 2)
    points, _ = made(items=size)
    matrix = gaussian(points, points) + RIDGE * torch.eye(size)
    product = inverse_of_positive(matrix) @ matrix
    np.testing.assert_allclose(product, np.eye(size), atol=1e-4)


@pytest.mark.parametrize("unlabelled", [0, 3, 40])
def test_left_out_scores_are_those_of_a_fit_without_the_item(unlabelled: int) -> None:
    points, targets = made()
    labelled = np.ones(ITEMS, bool)
    labelled[:unlabelled] = False
    kernel = gaussian(points, points)
    # A variant of every item: what is asked is not what was learned.
    shifted = gaussian(points + 0.3, points)
    fitted = ExactRidge(kernel).fit(targets, labelled)
    np.testing.assert_array_equal(fitted.rows, np.flatnonzero(labelled))
    left_out = fitted.left_out(shifted[fitted.rows]).numpy()
    for place, row in enumerate(fitted.rows[:10].tolist()):
        others = fitted.rows[fitted.rows != row]
        inverse = np.linalg.inv(
            kernel.numpy()[np.ix_(others, others)] + RIDGE * np.eye(len(others))
        )
        alone = inverse @ (targets.numpy()[others] - fitted.mean.numpy())
        expected = shifted.numpy()[row, others] @ alone + fitted.mean.numpy()
        np.testing.assert_allclose(left_out[place], expected, atol=1e-4)


def test_items_without_a_label_do_not_count() -> None:
    points, targets = made()
    kernel = gaussian(points, points)
    labelled = np.ones(ITEMS, bool)
    labelled[[1, 5]] = False
    whole = ExactRidge(kernel)
    whole.fit(targets, np.ones(ITEMS, bool))
    corrected = whole.fit(targets, labelled)
    rows = np.flatnonzero(labelled)
    part = kernel[torch.from_numpy(rows)][:, torch.from_numpy(rows)]
    alone = ExactRidge(part).fit(targets[torch.from_numpy(rows)], np.ones(len(rows), bool))
    others = gaussian(made(1)[0], points)
    expected = alone.predict(others[:, torch.from_numpy(rows)])
    np.testing.assert_allclose(corrected.predict(others), expected, atol=1e-4)
    assert corrected.coefficients[1].abs().sum() == 0


def test_with_all_items_as_landmarks_both_are_the_same() -> None:
    points, targets = made(items=30)
    kernel = gaussian(points, points)
    every = np.ones(30, bool)
    exact = ExactRidge(kernel).fit(targets, every)
    nystrom = NystromRidge(kernel, kernel).fit(targets, every)
    others = gaussian(made(1)[0], points)
    np.testing.assert_allclose(nystrom.predict(others), exact.predict(others), atol=0.02)
    np.testing.assert_allclose(nystrom.left_out(kernel), exact.left_out(kernel), atol=0.05)


@pytest.mark.parametrize("is_shared", [False, True])
@pytest.mark.parametrize("unlabelled", [0, 5, 45])
def test_left_out_scores_of_landmarks_are_those_of_a_fit_without_the_item(
    unlabelled: int, is_shared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Sums are taken in several parts.
    monkeypatch.setattr(experts.ridge, "_SQUARED_TOGETHER", 16)
    points, targets = made()
    labelled = np.ones(ITEMS, bool)
    labelled[:unlabelled] = False
    landmarks = points[::5]
    kernel = gaussian(points, landmarks)
    between = gaussian(landmarks, landmarks)
    shifted = gaussian(points + 0.3, landmarks)
    parts = [0.5 * kernel, 0.2 * kernel, 0.3 * kernel]
    system = NystromRidge(parts[0], between, is_shared=is_shared, others=parts[1:])
    fitted = system.fit(targets, labelled)
    left_out = fitted.left_out(shifted[torch.from_numpy(fitted.rows)]).numpy()
    wide = kernel.double().numpy()
    for place, row in enumerate(fitted.rows[:8].tolist()):
        others = wide[fitted.rows[fitted.rows != row]]
        labels = targets.numpy()[fitted.rows[fitted.rows != row]] - fitted.mean.numpy()
        solved = np.linalg.solve(
            others.T @ others + RIDGE * between.double().numpy(), others.T @ labels
        )
        expected = shifted.numpy()[row] @ solved + fitted.mean.numpy()
        np.testing.assert_allclose(left_out[place], expected, atol=5e-3)


def test_landmarks_that_are_equal_do_no_harm() -> None:
    points, targets = made()
    landmarks = np.concatenate([points[:10], points[:10]])
    kernel = gaussian(points, landmarks)
    fitted = NystromRidge(kernel, gaussian(landmarks, landmarks)).fit(targets, np.ones(ITEMS, bool))
    single = gaussian(points, points[:10])
    expected = NystromRidge(single, gaussian(points[:10], points[:10])).fit(
        targets, np.ones(ITEMS, bool)
    )
    np.testing.assert_allclose(fitted.predict(kernel), expected.predict(single), atol=1e-3)


@pytest.mark.parametrize("by_landmarks", [False, True])
def test_coefficients_without_some_items_are_those_of_a_fit_without_them(
    by_landmarks: bool,
) -> None:
    points, targets = made()
    left = np.array([0, 3, 4, 20, 59])
    kept = np.setdiff1d(np.arange(ITEMS), left)
    # The mean is zero with and without them.
    for part in (left, kept):
        targets[part] -= targets[part].mean(0)
    marks = points[:20] if by_landmarks else points

    def fit(rows: NDArray[np.int64]) -> FittedRidge:
        own = gaussian(points[rows], marks if by_landmarks else points[rows])
        system = NystromRidge(own, gaussian(marks, marks)) if by_landmarks else ExactRidge(own)
        return system.fit(targets[rows], np.ones(len(rows), bool))

    coefficients = fit(np.arange(ITEMS)).coefficients_without(left)
    asked = points + 0.3
    expected = gaussian(asked, marks if by_landmarks else points[kept]) @ fit(kept).coefficients
    found = gaussian(asked, marks) @ coefficients
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=2e-4)


@pytest.mark.parametrize("unlabelled", [0, 10])
def test_items_that_are_alike_take_a_smaller_system(unlabelled: int) -> None:
    points, targets = made()
    group = np.random.default_rng(3).integers(0, 7, ITEMS)
    alike = points[:7][group]
    kernel = gaussian(alike, alike)
    labelled = np.arange(ITEMS) >= unlabelled
    exact = ExactRidge(kernel).fit(targets, labelled)
    fewer = DuplicateRidge(kernel, group).fit(targets, labelled)
    rows = kernel[torch.from_numpy(fewer.rows)]
    np.testing.assert_allclose(fewer.predict(rows), exact.predict(rows), atol=1e-3)
    np.testing.assert_allclose(fewer.left_out(rows), exact.left_out(rows), atol=1e-3)
    out = np.array([1, 4, 9])
    other = gaussian(points[:3], alike)
    np.testing.assert_allclose(
        other @ fewer.coefficients_without(out), other @ exact.coefficients_without(out), atol=1e-3
    )
