import dataclasses
import multiprocessing
import signal
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from encoders.regions import RegionFiles
from schema.errors import DataError, TrainingError
from tests.training.test_collate import flat
from training.data import ItemRegions
from training.loader import (
    SHARED_BUFFERS,
    BatchBuilder,
    BatchRequest,
    explained_worker_failures,
    prefetch_batches,
)
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
    # More than there are buffers in shared memory, each of which is used again.
    requests = [BatchRequest(step, 0, 2) for step in range(3 * SHARED_BUFFERS)]
    here, there = (
        list(prefetch_batches(builder, iter(requests), workers, torch.device("cpu")))
        for workers in (0, 2)
    )
    assert [batch.request for batch in there] == requests
    expected = [[flat(part) for part in batch.micro_batches] for batch in here]
    assert [[flat(part) for part in batch.micro_batches] for batch in there] == expected


@pytest.mark.slow
def test_an_error_in_a_worker_is_the_one_line_that_it_is_here(builder):
    builder.collator.data = dataclasses.replace(
        builder.collator.data, regions=ItemRegions(NoRegions(), 4, 8)
    )
    for workers in (0, 1):
        with pytest.raises(DataError) as raised:
            next(
                prefetch_batches(
                    builder, iter([BatchRequest(0, 0, 1)]), workers, torch.device("cpu")
                )
            )
        assert str(raised.value) == "no regions here: write some"


@pytest.mark.slow
def test_lost_workers_are_noticed_where_a_batch_is_awaited_and_nowhere_else(builder):
    before = signal.getsignal(signal.SIGCHLD)
    requests = (BatchRequest(step, 0, 1) for step in range(100))
    batches = prefetch_batches(builder, requests, 2, torch.device("cpu"))
    next(batches)
    for child in multiprocessing.active_children():
        child.kill()
        child.join()
    # By default PyTorch raises here: between two batches, wherever that is.
    assert signal.getsignal(signal.SIGCHLD) == before
    with pytest.raises(TrainingError, match=r"^one of 2 processes .* lost \(Killed\)"):
        list(batches)


class NoRegions(RegionFiles):
    """A source whose every image is unreadable."""

    def read(self, key):
        raise DataError("no regions here: write some")


def test_errors_that_no_worker_caused_stay_as_they_are():
    with pytest.raises(RuntimeError, match="shapes"), explained_worker_failures([]):
        raise RuntimeError("shapes do not fit")


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly"), -9, "Killed"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: x."), -7, "Bus error"),
        (RuntimeError("DataLoader worker (pid(s) 7, 8) exited unexpectedly"), 1, "it ended unex"),
        (RuntimeError("Pin memory thread exited unexpectedly"), None, "it ended unexpectedly"),
        (EOFError(), -9, "Killed"),
        (ConnectionResetError("reset"), None, "it ended unexpectedly"),
    ],
)
def test_a_lost_worker_is_explained_in_one_line(error, code, reason):
    workers: Any = [SimpleNamespace(exitcode=each) for each in (None, code, None)]
    with pytest.raises(TrainingError) as raised, explained_worker_failures(workers):
        raise error
    message = str(raised.value)
    assert f"({reason}" in message
    assert message.endswith("continue with --resume --set workers=2")
    assert "\n" not in message
