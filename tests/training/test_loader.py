import numpy as np
import pytest
import torch

from tests.training.test_collate import flat
from training.loader import BatchBuilder, BatchRequest, prefetch_batches
from training.sampler import StepSampler
from training.schedule import make_schedule


@pytest.fixture
def maker(collator, recipe):
    return BatchBuilder(
        collator,
        make_schedule(recipe.weights, "", queries=False),
        0,
        StepSampler(np.arange(24), 8, 0),
        None,
    )


def test_a_batch_is_the_same_in_whatever_order_it_is_made(maker):
    first = [flat(maker[BatchRequest(step, 0, 1)].parts[0]) for step in (0, 5, 2)]
    assert [flat(maker[BatchRequest(step, 0, 1)].parts[0]) for step in (2, 5, 0)] == first[::-1]


def test_parts_are_the_batch_cut_up(maker):
    whole = maker[BatchRequest(1, 0, 1)]
    parts = maker[BatchRequest(1, 0, 3)]
    assert [len(part.seen.items) for part in parts.parts] == [3, 3, 2]
    assert sum(part.counts["mlm"] for part in parts.parts) == whole.parts[0].counts["mlm"]
    assert whole.items == parts.items == 8


def test_processes_share_what_one_would_do(maker, collator, recipe):
    samplers = [StepSampler(np.arange(24), 8, 0, rank, 2) for rank in (0, 1)]
    mine = [
        BatchBuilder(collator, maker.schedule, 0, sampler, None)[BatchRequest(3, 0, 1)].parts[0]
        for sampler in samplers
    ]
    whole = maker[BatchRequest(3, 0, 1)].parts[0]
    assert {name: sum(part.counts[name] for part in mine) for name in whole.counts} == whole.counts


@pytest.mark.slow
def test_worker_processes_make_the_same_batches_in_order(maker):
    requests = [BatchRequest(step, 0, 2) for step in range(4)]
    here, there = (
        list(prefetch_batches(maker, iter(requests), workers, torch.device("cpu")))
        for workers in (0, 1)
    )
    assert [made.request for made in there] == requests
    assert [[flat(part) for part in made.parts] for made in here] == [
        [flat(part) for part in made.parts] for made in there
    ]
