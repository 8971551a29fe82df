import numpy as np
import pytest
import torch

from tests.training.test_views import flat
from training.loader import BatchMaker, Request, made_ahead
from training.plan import make_plan
from training.sampler import StepSampler


@pytest.fixture
def maker(viewer, recipe):
    return BatchMaker(viewer, make_plan(recipe.weights, "", queries=False), 0, StepSampler(np.arange(24), 8, 0), None)


def test_a_batch_is_the_same_in_whatever_order_it_is_made(maker):
    first = [flat(maker[Request(step, 0, 1)].parts[0]) for step in (0, 5, 2)]
    assert [flat(maker[Request(step, 0, 1)].parts[0]) for step in (2, 5, 0)] == first[::-1]


def test_parts_are_the_batch_cut_up(maker):
    whole, parts = maker[Request(1, 0, 1)], maker[Request(1, 0, 3)]
    assert [len(part.seen.items) for part in parts.parts] == [3, 3, 2]
    assert sum(part.counts["mlm"] for part in parts.parts) == whole.parts[0].counts["mlm"]
    assert whole.items == parts.items == 8


def test_processes_share_what_one_would_do(maker, viewer, recipe):
    samplers = [StepSampler(np.arange(24), 8, 0, rank, 2) for rank in (0, 1)]
    mine = [BatchMaker(viewer, maker.plan, 0, sampler, None)[Request(3, 0, 1)].parts[0] for sampler in samplers]
    whole = maker[Request(3, 0, 1)].parts[0]
    assert {name: sum(part.counts[name] for part in mine) for name in whole.counts} == whole.counts


@pytest.mark.slow
def test_worker_processes_make_the_same_batches_in_order(maker):
    requests = [Request(step, 0, 2) for step in range(4)]
    here, there = (list(made_ahead(maker, iter(requests), workers, torch.device("cpu"))) for workers in (0, 1))
    assert [made.request for made in there] == requests
    assert [[flat(part) for part in made.parts] for made in here] == [[flat(part) for part in made.parts] for made in there]
