"""Negative samples: type-constrained candidates and corrupted statements."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kg.sampling import negatives
from kg.sampling.keyed_random import KeyedRandom
from kg.sampling.negatives import (
    Corruptor,
    TrueStatements,
    bernoulli_head_share,
    type_constrained_candidates,
)

RANGES = np.array([0, 3, 3, 103, 110])


def draw(properties, positives, limit, seed=0):
    return type_constrained_candidates(
        RANGES,
        np.array(properties, dtype=np.int64),
        np.array(positives, dtype=np.int64),
        limit,
        np.random.default_rng(seed),
    ).ids


def test_all_candidates_are_taken_if_they_are_few():
    assert draw([0, 3], [], 50).tolist() == [0, 1, 2, 103, 104, 105, 106, 107, 108, 109]


def test_a_property_without_values_has_no_negatives():
    assert draw([1], [], 5).tolist() == []


def test_large_vocabularies_are_sampled_in_proportion():
    drawn = draw([0, 2], [], 20)
    assert 18 <= len(drawn) <= 21
    assert (drawn < 3).sum() == 1 or (drawn < 3).any()


@given(st.lists(st.integers(0, 109), max_size=9), st.integers(1, 40), st.integers(0, 5))
def test_positives_are_always_in_and_negatives_are_of_the_properties(positives, limit, seed):
    drawn = draw([0, 2], positives, limit, seed)
    assert set(positives) <= set(drawn.tolist())
    assert all(value < 103 for value in set(drawn.tolist()) - set(positives))
    assert drawn.tolist() == sorted(set(drawn.tolist()))


def test_the_same_seed_draws_the_same_candidates():
    assert draw([2], [5], 10, 3).tolist() == draw([2], [5], 10, 3).tolist()


# Items 0 and 1 are in category 0, item 2 is in category 1.
# Property 0 has the values 0 to 4, property 1 the values 5 to 7.
INDPTR = np.array([0, 2, 4, 6])
CANDIDATE = np.array([0, 5, 1, 6, 2, 7])
CATEGORY = np.array([0, 0, 1])


def corrupt(kind, item, candidate, count=200):
    corruptor = Corruptor(np.array([0, 5, 8]), INDPTR, CANDIDATE, kind, CATEGORY)
    return corruptor(np.array([item]), np.array([candidate]), count, KeyedRandom(0))


@pytest.mark.parametrize(
    ("kind", "item", "candidate", "drawn"),
    [
        ("uniform", 0, 0, {1, 2, 3, 4, 6, 7}),
        ("type", 0, 0, {1, 2, 3, 4}),
        ("type", 1, 6, {5, 7}),
        ("category", 0, 0, {1}),
        ("category", 2, 2, {0, 1, 3, 4}),
    ],
)
def test_values_are_drawn_from_the_pool_of_the_kind(kind, item, candidate, drawn):
    corrupted = corrupt(kind, item, candidate)
    assert set(corrupted.candidate[corrupted.possible].tolist()) == drawn


def test_statistics_are_those_of_the_train_items():
    everyone = Corruptor(np.array([0, 5, 8]), INDPTR, CANDIDATE, "category", np.zeros(3, int))
    train = np.array([0, 1])
    part = Corruptor(np.array([0, 5, 8]), INDPTR, CANDIDATE, "category", np.zeros(3, int), train)
    item = np.array([0])
    for corruptor, drawn in ((everyone, {1, 2}), (part, {1})):
        corrupted = corruptor(item, np.array([0]), 100, KeyedRandom(0))
        assert set(corrupted.candidate[corrupted.possible].tolist()) == drawn
    # 2 items with one of 2 values.
    assert part.head_share.tolist() == [0.5, 0.5]
    # A held-out item's own statements are no negatives of it, as in a filtered evaluation.
    held_out = part(np.array([2]), np.array([7]), 100, KeyedRandom(0))
    assert set(held_out.candidate[held_out.possible].tolist()) == {5, 6}


def test_a_property_with_a_single_value_cannot_be_corrupted():
    corruptor = Corruptor(np.array([0, 1]), np.array([0, 1]), np.array([0]))
    assert not corruptor(np.array([0]), np.array([0]), 3, KeyedRandom(0)).possible.any()


@pytest.mark.parametrize("table_size", [0, 1 << 20])
def test_true_statements_are_found_in_a_table_and_in_a_list(table_size, monkeypatch):
    monkeypatch.setattr(negatives, "MAX_TABLE_SIZE", table_size)
    statements = TrueStatements(INDPTR, CANDIDATE, 8)
    found = statements.contains(np.array([[0], [1]]), np.array([0, 1]))
    assert found.tolist() == [[True, False], [False, True]]
    none = TrueStatements(np.array([0]), np.zeros(0, np.int64), 3)
    assert not none.contains(np.array([0]), np.array([1])).any()


def test_the_head_share_is_that_of_wang_et_al():
    # Property 0: 4 statements, 2 items, 2 values; property 1: 1 statement.
    items = np.array([0, 0, 1, 1, 0])
    candidates = np.array([0, 1, 0, 1, 2])
    assert bernoulli_head_share(np.array([0, 2, 3]), items, candidates).tolist() == [0.5, 0.5]
    # 4 items with one value: tph 1, hpt 4.
    one_value = np.zeros(4, np.int64)
    assert bernoulli_head_share(np.array([0, 1]), np.arange(4), one_value).tolist() == [0.2]


@given(st.lists(st.integers(0, 109), max_size=30), st.integers(1, 60), st.integers(0, 5))
def test_the_candidates_of_a_property_stand_for_all_of_its_values(positives, limit, seed):
    drawn = type_constrained_candidates(
        RANGES,
        np.array([0, 2]),
        np.array(positives, dtype=np.int64),
        limit,
        np.random.default_rng(seed),
    )
    assert drawn.log_weight is not None
    weight = np.exp(drawn.log_weight)
    for p in (0, 2):
        is_own = (RANGES[p] <= drawn.ids) & (drawn.ids < RANGES[p + 1])
        assert weight[is_own].sum() == pytest.approx(RANGES[p + 1] - RANGES[p])
    # What the batch has is certain to be in play.
    assert (weight[np.isin(drawn.ids, positives)] == 1).all()
    only_drawn = drawn.ids[~np.isin(drawn.ids, positives)]
    assert len(only_drawn) == len(set(only_drawn.tolist()))


def test_candidates_that_are_all_in_play_have_no_weight():
    everything = type_constrained_candidates(
        RANGES, np.array([0, 2]), np.array([105]), 103, np.random.default_rng(0)
    )
    assert everything.log_weight is None
    assert everything.ids.tolist() == [*range(103), 105]


def test_every_value_that_the_batch_lacks_is_drawn_equally_often():
    counts = np.zeros(10)
    for seed in range(2000):
        drawn = type_constrained_candidates(
            np.array([0, 10]), np.array([0]), np.array([2, 3, 9]), 3, np.random.default_rng(seed)
        )
        counts[drawn.ids] += 1
    assert (counts[[2, 3, 9]] == 2000).all()
    # 3 of 7; the standard deviation is 22.
    assert np.abs(counts[[0, 1, 4, 5, 6, 7, 8]] - 2000 * 3 / 7).max() < 90
