import os

import pytest
import torch

from fusion.config import ModelConfig
from schema.memory import available_memory
from training.workers import (
    MAX_WORKERS,
    Machine,
    WorkerNeeds,
    choose_workers,
    free_shared_memory,
    local_processes,
)

GPU = torch.device("cuda")
GB = 1 << 30
NEEDS = WorkerNeeds(memory=GB, batch=64 << 20)


def machine(cores=16, memory=256 * GB, shared_memory=64 * GB):
    return Machine(cores, memory, shared_memory)


def test_a_cpu_needs_its_cores_for_training():
    assert choose_workers(torch.device("cpu"), 1, NEEDS, machine(64)) == 0


@pytest.mark.parametrize(
    ("cores", "processes", "workers"),
    [
        *((1, 1, 0), (2, 1, 1), (3, 1, 1), (4, 1, 2), (8, 1, 6), (64, 1, MAX_WORKERS)),
        *((16, 2, 6), (16, 8, 1), (8, 8, 0), (4, 8, 0)),
    ],
)
def test_a_gpu_leaves_all_cores_but_two_of_each_process(cores, processes, workers):
    assert choose_workers(GPU, processes, NEEDS, machine(cores)) == workers


def test_workers_fit_into_half_of_the_memory():
    assert choose_workers(GPU, 1, NEEDS, machine(memory=8 * GB)) == 4
    assert choose_workers(GPU, 2, NEEDS, machine(memory=8 * GB)) == 2
    assert choose_workers(GPU, 1, NEEDS, machine(memory=GB)) == 0


def test_their_batches_fit_into_half_of_the_shared_memory():
    assert choose_workers(GPU, 1, NEEDS, machine(shared_memory=GB)) == 2
    # Docker's default.
    assert choose_workers(GPU, 1, NEEDS, machine(shared_memory=64 << 20)) == 0


def test_needs_follow_images():
    pixels = WorkerNeeds.of(ModelConfig(image_size=224), 64)
    assert pixels.batch > 64 * 3 * 224**2
    assert WorkerNeeds.of(ModelConfig(image_encoder="none"), 64).batch < pixels.batch / 5
    regions = ModelConfig(image_encoder="regions", max_regions=36, region_width=2048)
    assert WorkerNeeds.of(regions, 64).batch > 64 * 36 * 2048 * 4


def test_memory_is_that_of_the_machine_or_of_the_container(tmp_path):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 9000 kB\nMemAvailable:    3000 kB\n")
    assert available_memory(meminfo, tmp_path) == 3000 * 1024
    (tmp_path / "memory.max").write_text("2000000\n")
    (tmp_path / "memory.current").write_text("500000\n")
    assert available_memory(meminfo, tmp_path) == 1_500_000
    # What was read from files long ago gives way to anything else.
    (tmp_path / "memory.stat").write_text("anon 100\ninactive_file 300000\nactive_file 7\n")
    assert available_memory(meminfo, tmp_path) == 1_800_000
    (tmp_path / "memory.max").write_text("max\n")
    assert available_memory(meminfo, tmp_path) == 3000 * 1024
    assert available_memory(tmp_path / "none", tmp_path) > 2**60


def test_what_the_system_does_not_tell_has_no_bounds(tmp_path):
    assert free_shared_memory(tmp_path / "none") > 2**60
    assert 0 < free_shared_memory(tmp_path) < 2**60


def test_torchrun_says_how_many_processes_share_the_machine(monkeypatch):
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert local_processes() == 1
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert local_processes() == 4


def test_this_machine_has_cores_and_memory():
    here = Machine.here()
    assert 1 <= here.cores <= len(os.sched_getaffinity(0))
    assert here.memory > 0
