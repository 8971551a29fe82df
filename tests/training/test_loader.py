import numpy as np
import pytest
import torch

from tests.training.test_collate import flat
from training.loader import BatchBuilder, BatchRequest, prefetch_batches
from training.sampler import StepSampler
from training.schedule import make_schedule


@pytest.fixture
def builder(collator, recipe):
    return BatchBuilder(
        collator,
        make_schedule(recipe.weights, "", queries=False),
        0,
        StepSampler(np.arange(24), 8, 0),
        None,
    )


def test_a_batch_is_the_same_in_whatever_order_it_is_made(builder):
    first = [flat(builder[BatchRequest(step, 0, 1)].micro_batches[0]) for step in (0, 5, 2)]
    assert [
        flat(builder[BatchRequest(step, 0, 1)].micro_batches[0]) for step in (2, 5, 0)
    ] == first[::-1]


def test_micro_batches_are_the_batch_cut_up(builder):
    whole = builder[BatchRequest(1, 0, 1)]
    parts = builder[BatchRequest(1, 0, 3)]
    assert [len(part.items.items) for part in parts.micro_batches] == [3, 3, 2]
    assert (
        sum(part.counts["mlm"] for part in parts.micro_batches)
        == whole.micro_batches[0].counts["mlm"]
    )
    assert whole.items == parts.items == 8


def test_processes_share_the_batch_of_one(builder, collator, recipe):
    samplers = [StepSampler(np.arange(24), 8, 0, rank, 2) for rank in (0, 1)]
    mine = [
        BatchBuilder(collator, builder.schedule, 0, sampler, None)[
            BatchRequest(3, 0, 1)
        ].micro_batches[0]
        for sampler in samplers
    ]
    whole = builder[BatchRequest(3, 0, 1)].micro_batches[0]
    assert {name: sum(part.counts[name] for part in mine) for name in whole.counts} == whole.counts


@pytest.mark.slow
def test_worker_processes_make_the_same_batches_in_order(builder):
    requests = [BatchRequest(step, 0, 2) for step in range(4)]
    here, there = (
        list(prefetch_batches(builder, iter(requests), workers, torch.device("cpu")))
        for workers in (0, 1)
    )
    assert [batch.request for batch in there] == requests
    assert [[flat(part) for part in batch.micro_batches] for batch in here] == [
        [flat(part) for part in batch.micro_batches] for batch in there
    ]
