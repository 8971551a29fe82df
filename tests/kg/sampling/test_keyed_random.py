"""Random numbers that depend on seed, step and keys alone."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kg.sampling.keyed_random import KeyedRandom


@given(st.integers(0, 2**40), st.integers(0, 10**7), st.integers(0, 2**62))
def test_a_number_does_not_depend_on_the_other_keys_of_the_draw(seed, step, key):
    random = KeyedRandom(seed, step)
    assert random.uniform("a", np.array([5, key]))[1] == random.uniform("a", key)
    assert 0 <= random.uniform("a", key) < 1


def test_numbers_are_uniform_and_uncorrelated_between_seeds_steps_and_names():
    draws = ((0, 0, "a"), (0, 1, "a"), (1, 0, "a"), (0, 0, "b"))
    numbers = np.stack(
        [KeyedRandom(seed, step).uniform(name, np.arange(20_000)) for seed, step, name in draws]
    )
    assert np.abs(np.histogram(numbers, 20, (0, 1))[0] / 80_000 - 0.05).max() < 0.003
    assert np.abs(np.corrcoef(numbers) - np.eye(4)).max() < 0.03


def test_neighbouring_keys_are_independent():
    grid = KeyedRandom(3).uniform("x", np.arange(300)[:, None], np.arange(300))
    assert abs(np.corrcoef(grid[:, :-1].ravel(), grid[:, 1:].ravel())[0, 1]) < 0.02
    assert abs(np.corrcoef(grid[:-1].ravel(), grid[1:].ravel())[0, 1]) < 0.02


@given(st.integers(1, 9), st.integers(0, 99))
def test_integers_are_below_the_limit(high, key):
    assert 0 <= KeyedRandom(0).integers(high, "n", key) < high


def test_integers_below_zero_are_zero():
    assert KeyedRandom(0).integers(0, "n", 3) == 0
