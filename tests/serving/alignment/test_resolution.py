"""One-to-one matches and clusters: by hand, and against all possible choices."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.alignment.resolution import Cluster, clusters, one_to_one


def arrays(
    pairs: list[tuple[int, int, float]],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    left, right, probability = (np.array(each) for each in zip(*pairs, strict=True))
    return left, right, probability, np.ones(len(left), bool)


def test_the_best_matches_together_are_kept() -> None:
    # Taking the single best pair first would leave the second item without a match.
    pairs = [(0, 10, 0.9), (0, 11, 0.8), (1, 10, 0.85)]
    assert one_to_one(*arrays(pairs)).tolist() == [False, True, True]


def test_pairs_that_do_not_match_are_never_kept() -> None:
    left, right, probability, _ = arrays([(0, 10, 0.9), (1, 11, 0.8)])
    kept = one_to_one(left, right, probability, np.array([False, True]))
    assert kept.tolist() == [False, True]
    assert not one_to_one(left, right, probability, np.zeros(2, bool)).any()


edges = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(1, 99)).filter(
        lambda edge: edge[0] < edge[1]
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda edge: edge[:2],
)


@settings(deadline=None, max_examples=60)
@given(edges)
def test_no_choice_of_matches_has_a_greater_sum(chosen: list[tuple[int, int, int]]) -> None:
    pairs = [(one, other, percent / 100) for one, other, percent in chosen]
    kept = one_to_one(*arrays(pairs))

    def is_allowed(places: tuple[int, ...]) -> bool:
        items = [item for place in places for item in pairs[place][:2]]
        return len(items) == len(set(items))

    def total(places: tuple[int, ...]) -> float:
        return sum(pairs[place][2] for place in places)

    found = tuple(np.flatnonzero(kept).tolist())
    assert is_allowed(found)
    every = (
        places
        for size in range(len(pairs) + 1)
        for places in itertools.combinations(range(len(pairs)), size)
    )
    assert total(found) == pytest.approx(max(total(each) for each in every if is_allowed(each)))


def test_clusters_have_the_weakest_match_that_they_need() -> None:
    pairs = [(0, 1, 0.9), (1, 2, 0.8), (0, 2, 0.7), (5, 6, 0.95)]
    assert clusters(*arrays(pairs)) == [Cluster((0, 1, 2), 0.8), Cluster((5, 6), 0.95)]
