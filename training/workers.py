"""How many worker processes prepare batches, chosen from what the machine has to spare."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch

from fusion.config import ModelConfig
from schema.memory import available_memory
from schema.openmp import usable_cores
from training.loader import SHARED_BUFFERS

MAX_WORKERS = 8
"""The most workers of a training process: more than this feed any single GPU."""

CORES_OF_TRAINING = 2
"""Cores that are left to a training process: for its Python code, and for copying batches."""

WORKER_MEMORY = 1 << 30
"""Bytes of memory that a worker needs for itself and its libraries."""

SMALL_TENSORS = 16 << 10
"""Bytes of an item in a batch besides its pixels or regions, generously."""


@dataclass(frozen=True)
class Machine:
    """What a machine has to spare: ``cores``, and bytes of memory and of shared memory."""

    cores: int
    memory: int
    shared_memory: int

    @classmethod
    def here(cls) -> Machine:
        """Return what this process may use now."""
        return cls(usable_cores(), available_memory(), free_shared_memory())


@dataclass(frozen=True)
class WorkerNeeds:
    """Bytes that each worker needs: its ``memory`` and, for its ``batch``, shared memory."""

    memory: int
    batch: int

    @classmethod
    def of(cls, config: ModelConfig, items: int) -> WorkerNeeds:
        """Estimate the needs for batches of ``items``; the graph is in files that all share."""
        content = 3 * config.image_size**2
        if config.image_encoder == "none":
            content = 0
        elif config.image_encoder == "regions":
            content = 4 * config.max_regions * (config.region_width + config.region_classes + 4)
        # The items of query pairs, of which there are up to half as many, come with their images.
        batch = items * (content * 3 // 2 + SMALL_TENSORS)
        return cls(WORKER_MEMORY + 2 * batch, batch)


def choose_workers(
    device: torch.device,
    processes: int,
    needs: WorkerNeeds,
    machine: Machine,
) -> int:
    """Return the number of workers for each of ``processes`` training processes on a machine.

    A CPU trains on all cores itself. It waits for batches during 2% of its time (see
    docs/results.md), of which a worker that takes cores away can save nothing. A GPU needs none of
    the cores but two for each process, which launch its kernels and copy its batches. Workers take
    at most half of the available memory and half of the free shared memory.
    """
    if device.type == "cpu":
        return 0
    cores = machine.cores // max(1, processes)
    # Even on two cores a worker can build a batch while the GPU is waited for.
    by_cores = max(cores - CORES_OF_TRAINING, min(1, cores - 1))
    by_memory = machine.memory // 2 // max(1, processes) // needs.memory
    by_shared_memory = (
        machine.shared_memory // 2 // max(1, processes) // (SHARED_BUFFERS * needs.batch)
    )
    return max(0, min(by_cores, by_memory, by_shared_memory, MAX_WORKERS))


def local_processes() -> int:
    """Return how many training processes ``torchrun`` started on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def free_shared_memory(folder: Path = Path("/dev/shm")) -> int:
    """Return the free bytes of shared memory, which Docker limits to 64 MB by default."""
    try:
        status = os.statvfs(folder)
    except OSError:
        return 1 << 62
    return status.f_bavail * status.f_frsize
