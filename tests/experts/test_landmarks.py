"""Landmarks: as many as asked, each once, and better than random ones where items are in groups."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import experts.landmarks
from experts.landmarks import choose_landmarks


def gaussian(points: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return a Gaussian kernel [N, N] of points [N, D]."""
    distances = np.square(points[:, None] - points[None]).sum(-1)
    return np.exp(-distances).astype(np.float32)


@given(items=st.integers(1, 40), count=st.integers(1, 50), same=st.integers(0, 40))
def test_each_is_chosen_once(items: int, count: int, same: int) -> None:
    points = np.random.default_rng(items).normal(size=(items, 2))
    points[:same] = 0
    chosen = choose_landmarks(gaussian(points), count, np.random.default_rng(0))
    assert len(chosen) == min(items, count)
    assert (np.diff(chosen) > 0).all()


def test_items_that_are_like_no_others_are_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experts.landmarks, "BLOCK", 2)
    rng = np.random.default_rng(0)
    # A crowd, and ten that are far from it and from each other.
    points = np.concatenate(
        [rng.normal(0, 0.05, (300, 2)), 10 * np.arange(1, 11)[:, None] + [0, 5]]
    )
    chosen = choose_landmarks(gaussian(points), 30, rng)
    assert set(range(300, 310)) <= set(chosen.tolist())


def test_items_without_anything_are_chosen_last() -> None:
    kernel = np.eye(6, dtype=np.float32)
    kernel[[0, 3], [0, 3]] = 0
    chosen = choose_landmarks(kernel, 4, np.random.default_rng(0))
    assert chosen.tolist() == [1, 2, 4, 5]
