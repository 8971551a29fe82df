import numpy as np
import pytest

from training.sampler import StepSampler


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
