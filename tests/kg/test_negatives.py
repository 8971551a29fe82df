import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kg.negatives import type_constrained

RANGES = np.array([0, 3, 3, 103, 110])


def draw(asked, positives, most, seed=0):
    return type_constrained(RANGES, np.array(asked, dtype=np.int64), np.array(positives, dtype=np.int64), most, np.random.default_rng(seed))


def test_few_candidates_come_whole():
    assert draw([0, 3], [], 50).tolist() == [0, 1, 2, 103, 104, 105, 106, 107, 108, 109]


def test_a_property_without_values_has_no_negatives():
    assert draw([1], [], 5).tolist() == []


def test_large_vocabularies_give_each_property_its_share():
    drawn = draw([0, 2], [], 20)
    assert 18 <= len(drawn) <= 21
    assert (drawn < 3).sum() == 1 or (drawn < 3).any()


@given(st.lists(st.integers(0, 109), max_size=9), st.integers(1, 40), st.integers(0, 5))
def test_positives_are_always_in_and_negatives_are_of_the_asked_properties(positives, most, seed):
    drawn = draw([0, 2], positives, most, seed)
    assert set(positives) <= set(drawn.tolist())
    assert all(value < 103 for value in set(drawn.tolist()) - set(positives))
    assert drawn.tolist() == sorted(set(drawn.tolist()))


def test_the_same_generator_draws_the_same():
    assert draw([2], [5], 10, 3).tolist() == draw([2], [5], 10, 3).tolist()
