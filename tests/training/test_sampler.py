import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.sampler import SHARDS_TOGETHER, StepSampler, choose_shards, shard_bounds


def test_every_item_once_an_epoch():
    sampler = StepSampler(np.arange(12), 4, seed=1)
    assert sorted(np.concatenate([sampler.whole(step) for step in range(3)])) == list(range(12))


def test_a_batch_depends_on_the_step_alone():
    one = StepSampler(np.arange(50), 8, 1)
    other = StepSampler(np.arange(50), 8, 1)
    later = one.whole(17).tolist()
    for step in range(17):
        other.whole(step)
    assert other.whole(17).tolist() == later


def test_the_last_batch_is_filled():
    assert len(StepSampler(np.arange(10), 4, 1).whole(2)) == 4
    assert len(StepSampler(np.arange(3), 8, 1).whole(0)) == 8


def test_nothing_to_sample_is_an_error():
    with pytest.raises(ValueError, match="nothing to sample"):
        StepSampler(np.arange(0), 4, 1)


GB = 1 << 30


@st.composite
def sharded(draw):
    """Statements of some items, those to sample from, and in how many shards."""
    counts = np.array(draw(st.lists(st.integers(0, 9), min_size=1, max_size=80)))
    indices = draw(st.sets(st.integers(0, len(counts) - 1), min_size=1))
    indptr = np.concatenate([[0], counts.cumsum()])
    return indptr, np.array(sorted(indices)), draw(st.integers(1, 40))


@settings(deadline=None, max_examples=40)
@given(sharded(), st.integers(1, 12), st.integers(0, 3))
def test_an_epoch_of_shards_has_every_item_once(made, batch, epoch):
    indptr, indices, count = made
    bounds = shard_bounds(indptr, indices, count)
    assert len(bounds) == count + 1
    sampler = StepSampler(indices, batch, 5, shards=bounds)
    steps = sampler.steps_per_epoch
    order = np.concatenate([sampler.whole(epoch * steps + step) for step in range(steps)])
    assert sorted(order[: len(indices)].tolist()) == indices.tolist()
    # The last batch is filled up from the beginning of the epoch.
    rest = order[len(indices) :]
    assert rest.tolist() == np.resize(order[: len(indices)], len(rest)).tolist()


@settings(deadline=None, max_examples=40)
@given(sharded(), st.integers(1, 12), st.data())
def test_a_batch_of_shards_depends_on_the_step_alone(made, batch, data):
    indptr, indices, count = made
    bounds = shard_bounds(indptr, indices, count)
    one = StepSampler(indices, batch, 1, shards=bounds)
    in_order = [one.whole(step).tolist() for step in range(3 * one.steps_per_epoch)]
    # A run that is resumed begins anywhere, also in the middle of a shard.
    for step in data.draw(st.lists(st.integers(0, len(in_order) - 1), max_size=5)):
        assert StepSampler(indices, batch, 1, shards=bounds).whole(step).tolist() == in_order[step]


def test_one_shard_is_the_shuffle_of_all():
    indptr = np.arange(51) * 3
    expected = np.random.default_rng([1, 2]).permutation(np.arange(50))
    for shards in (None, shard_bounds(indptr, np.arange(50), 1)):
        sampler = StepSampler(np.arange(50), 10, 1, shards=shards)
        order = np.concatenate([sampler.whole(10 + step) for step in range(5)])
        assert order.tolist() == expected.tolist()


def test_only_a_few_shards_are_read_at_a_time():
    indptr = np.arange(1601) * 3
    count = 10 * SHARDS_TOGETHER
    bounds = shard_bounds(indptr, np.arange(1600), count)
    assert np.diff(bounds).tolist() == [1600 // count] * count
    sampler = StepSampler(np.arange(1600), 160, 0, shards=bounds)
    groups = [sampler.whole(step) for step in range(10)]
    for group in groups:
        assert len(np.unique(group // (1600 // count))) == SHARDS_TOGETHER
        # They are shuffled together.
        assert (np.diff(group) < 0).sum() > 40
    assert [g.tolist() for g in groups] != [sampler.whole(10 + step).tolist() for step in range(10)]


def test_shards_have_as_many_statements_each():
    indptr = np.concatenate([[0], np.array([1] * 90 + [100] * 10).cumsum()])
    bounds = shard_bounds(indptr, np.arange(100), 4)
    statements = np.diff(indptr[bounds])
    assert statements.max() < 400
    assert statements.sum() == indptr[-1]


def test_arrays_are_read_in_shards_only_if_they_need_much_of_the_memory():
    assert choose_shards(4 * GB, 10 * GB) == 1
    shards = choose_shards(8 * GB, 10 * GB)
    assert SHARDS_TOGETHER * 8 * GB / shards <= 2.5 * GB
    assert choose_shards(8 * GB, 0) == 10_000
