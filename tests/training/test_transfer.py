from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from tests.gpu import needs_gpu
from tests.training.conftest import all_terms
from tests.training.test_collate import flat
from training.loader import BatchBuilder, BatchRequest, PreparedBatch, prefetch_batches
from training.sampler import StepSampler
from training.schedule import make_schedule
from training.transfer import (
    ALIGNMENT,
    Copier,
    CudaCopier,
    PackedTensors,
    SharedBuffers,
    copied_ahead,
    map_tensors,
    move_tensors,
    new_pinned_buffer,
    pack,
)

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Part:
    numbers: Any
    name: str


def values():
    """Tensors of several types and shapes, one of them twice, in several containers."""
    twice = torch.arange(5, dtype=torch.int64)
    return Part(
        [
            Part(torch.tensor([True, False, True]), "mask"),
            (torch.zeros(0, 4), torch.tensor(2.5, dtype=torch.float64), 7),
            {"columns": torch.arange(12).view(3, 4).t(), "twice": twice, "none": None},
            twice,
        ],
        "whole",
    )


def leaves(value):
    found: list[torch.Tensor] = []
    map_tensors(value, found.append)
    return found


def test_what_is_unpacked_is_what_was_packed():
    packed = pack(values())
    unpacked = packed.unpack()
    assert (unpacked.name, unpacked.numbers[1][2], unpacked.numbers[2]["none"]) == (
        "whole",
        7,
        None,
    )
    for before, after in zip(leaves(values()), leaves(unpacked), strict=True):
        assert (after.dtype, after.shape) == (before.dtype, before.shape)
        assert torch.equal(before, after)


def test_all_tensors_are_aligned_views_of_one_buffer():
    packed = pack(values())
    storages = {tensor.untyped_storage().data_ptr() for tensor in leaves(packed.unpack())}
    assert storages == {packed.buffer.untyped_storage().data_ptr()}
    assert all(place.begin % ALIGNMENT == 0 for place in packed.places)
    # One of the five distinct tensors occurs twice.
    assert (len(packed.places), len(leaves(values()))) == (5, 6)


def test_a_batch_reaches_a_device_as_one_copy(batch):
    made = batch(np.arange(8))
    assert len(leaves(made)) > 20
    # "meta" stands for a device: its tensors have shapes, but no content.
    moved = made.to(torch.device("meta"))
    assert len({tensor.untyped_storage()._cdata for tensor in leaves(moved)}) == 1
    assert [(each.dtype, each.shape) for each in leaves(moved)] == [
        (each.dtype, each.shape) for each in leaves(made)
    ]


def test_on_a_cpu_a_batch_stays_as_it_is(batch):
    made = batch(np.arange(8))
    assert made.to(CPU) is made
    prepared = PreparedBatch(BatchRequest(0, 0, 1), [made], 8)
    assert prepared.to(CPU) is prepared


def test_shared_buffers_are_used_in_turns_and_grow():
    buffers = SharedBuffers(2)
    first = buffers(100)
    second = buffers(100)
    again = buffers(60)
    assert first.is_shared()
    assert again.data_ptr() == first.data_ptr()
    assert second.data_ptr() != first.data_ptr()
    assert len(again) == 60
    assert len(buffers(3_000_000)) == 3_000_000


def test_a_clone_does_not_change_with_the_buffer():
    packed = pack(values(), SharedBuffers(1))
    clone = packed.clone()
    packed.buffer.zero_()
    assert torch.equal(clone.unpack().numbers[3], torch.arange(5))
    assert clone.shared is packed.buffer


class NotedCopier(Copier):
    """Notes when copies begin and when they are waited for."""

    def __init__(self):
        self.notes = []

    def start(self, packed):
        number = int(packed.unpack())
        self.notes.append(f"start {number}")

        def finish():
            self.notes.append(f"finish {number}")
            return number

        return finish


@pytest.mark.parametrize("count", [0, 1, 3])
def test_the_next_copy_begins_before_a_batch_is_used(count):
    copier = NotedCopier()
    for number in copied_ahead((pack(torch.tensor(n)) for n in range(count)), copier):
        copier.notes.append(f"use {number}")
    expected = {
        0: [],
        1: ["start 0", "finish 0", "use 0"],
        3: [
            *("start 0", "start 1", "finish 0", "use 0"),
            *("start 2", "finish 1", "use 1"),
            *("finish 2", "use 2"),
        ],
    }
    assert copier.notes == expected[count]


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("workers", [0, 2])
def test_a_gpu_gets_the_same_batches_ahead_of_their_steps(collator, recipe, workers):
    builder = BatchBuilder(
        collator,
        make_schedule(recipe.weights, "", queries=False),
        0,
        StepSampler(np.arange(24), 8, 0),
        None,
    )
    requests = [BatchRequest(step, 0, 2) for step in range(12)]
    on_gpu = prefetch_batches(builder, iter(requests), workers, torch.device("cuda"))
    for request, batch in zip(requests, on_gpu, strict=True):
        # The device is still busy when the next batch's copy begins.
        torch.cuda._sleep(10_000_000)
        part = map_tensors(batch.micro_batches, lambda tensor: tensor.cpu())
        expected = builder[request].micro_batches
        assert [flat(each) for each in part] == [flat(each) for each in expected]


@pytest.mark.gpu
@needs_gpu
def test_memory_that_a_step_still_reads_is_not_copied_over():
    device = torch.device("cuda")
    copier = CudaCopier(device)
    sums = []
    size = 1 << 22
    packs: list[PackedTensors] = [
        pack(torch.full((size,), number, dtype=torch.int64), new_pinned_buffer)
        for number in range(8)
    ]
    for tensor in copied_ahead(packs, copier):
        torch.cuda._sleep(50_000_000)
        sums.append(tensor.sum())
        del tensor
    assert [int(each) for each in sums] == [number * size for number in range(8)]


@pytest.mark.gpu
@needs_gpu
@pytest.mark.filterwarnings("ignore:Warning. Profiler clears events:UserWarning")
def test_a_batch_moves_to_a_gpu_in_one_copy(collator, recipe, batch):
    made = batch(np.arange(8))
    assert all_terms(recipe)
    with torch.profiler.profile() as profile:
        moved = move_tensors(made, torch.device("cuda"))
        torch.cuda.synchronize()
    copies = [event for event in profile.events() if "Memcpy HtoD" in event.name]
    assert len(copies) == 1
    assert "Pinned" in copies[0].name
    assert flat(map_tensors(moved, lambda tensor: tensor.cpu())) == flat(made)
