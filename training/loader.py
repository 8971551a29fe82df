"""Batches for the training loop, built in this process or in advance by worker processes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from kg.sampling.keyed_random import KeyedRandom
from kg.sampling.memmap import pickle_memmaps_by_path
from training.batches import StepBatch
from training.collate import BatchContents, Collator
from training.objectives import Need
from training.sampler import StepSampler
from training.schedule import Schedule

NO_INDEX = np.zeros(0, np.int64)
PREFETCHED_BATCHES = 2
"""Number of batches that a worker process prepares in advance."""


@dataclass(frozen=True)
class BatchRequest:
    """A batch to prepare: its step, its stage, and the number of micro-batches."""

    step: int
    stage: int
    micro_batches: int


@dataclass(frozen=True)
class PreparedBatch:
    """A step's batch; ``items`` is the number of this process's items, or of its query pairs."""

    request: BatchRequest
    micro_batches: list[StepBatch]
    items: int

    def pin_memory(self) -> PreparedBatch:
        """Return the same batch in page-locked memory."""
        pinned = [part.pin_memory() for part in self.micro_batches]
        return PreparedBatch(self.request, pinned, self.items)

    def to(self, device: torch.device) -> PreparedBatch:
        """Return the same batch on another device."""
        moved = [part.to(device) for part in self.micro_batches]
        return PreparedBatch(self.request, moved, self.items)


@dataclass(frozen=True)
class PairSamplers:
    """Samplers of the query log's pairs.

    ``with_items`` is for a stage that also reads items, ``alone`` for a stage of pairs only, whose
    batches contain more of them.
    """

    with_items: StepSampler
    alone: StepSampler


class BatchBuilder(Dataset[PreparedBatch]):
    """Builds any step's batch from its request alone.

    The batch does not depend on the order or the process in which batches are built. ``items``
    samples the train split, and ``pairs`` the query log, if there is one.
    """

    def __init__(
        self,
        collator: Collator,
        schedule: Schedule,
        seed: int,
        items: StepSampler,
        pairs: PairSamplers | None,
    ) -> None:
        self.collator = collator
        self.schedule = schedule
        self.seed = seed
        self.items = items
        self.pairs = pairs

    def __getitem__(self, request: BatchRequest) -> PreparedBatch:
        """Build the batch of a request."""
        stage = self.schedule.stages[request.stage]
        items = NO_INDEX if stage.only_queries else self.items.batch(request.step)
        # The contrastive loss compares a process's pairs with those of all processes.
        pairs_by_rank = [NO_INDEX]
        sampler = self._pair_sampler(request.stage)
        if sampler is not None:
            pairs_by_rank = sampler.shares(request.step)
        rank = self.items.rank if len(pairs_by_rank) > 1 else 0

        random = KeyedRandom(self.seed, request.step)
        micro_batches = []
        for number, part in enumerate(np.array_split(items, request.micro_batches)):
            shares = [np.array_split(each, request.micro_batches)[number] for each in pairs_by_rank]
            contents = BatchContents(
                items=part,
                pairs=shares[rank],
                all_pairs=np.concatenate(shares),
                first=sum(len(share) for share in shares[:rank]),
            )
            if len(part) or len(contents.pairs):
                micro_batches.append(self.collator.batch(stage, contents, random))
        # Every matching pair comes with one that does not match.
        count = len(items) if len(items) else 2 * len(pairs_by_rank[rank])
        return PreparedBatch(request, micro_batches, count)

    def epoch(self, step: int, stage: int) -> int:
        """Return the epoch that a stage's step belongs to."""
        sampler = self._pair_sampler(stage)
        if sampler is None or not self.schedule.stages[stage].only_queries:
            sampler = self.items
        return sampler.epoch(step)

    def _pair_sampler(self, number: int) -> StepSampler | None:
        stage = self.schedule.stages[number]
        if self.pairs is None or Need.QUERY_PAIRS not in stage.needs:
            return None
        return self.pairs.alone if stage.only_queries else self.pairs.with_items


class _RequestSampler(Sampler[BatchRequest]):
    """Passes requests to a DataLoader in place of indices."""

    def __init__(self, requests: Iterator[BatchRequest]) -> None:
        self.requests = requests

    def __iter__(self) -> Iterator[BatchRequest]:
        return self.requests


def prefetch_batches(
    builder: BatchBuilder,
    requests: Iterator[BatchRequest],
    workers: int,
    device: torch.device,
) -> Iterator[PreparedBatch]:
    """Yield the batches of ``requests`` in order, on ``device``.

    ``workers`` spawned processes take turns and prepare two batches each in advance. With 0 workers
    each batch is built in this process when it is needed.
    """
    if workers == 0:
        for request in requests:
            yield builder[request].to(device)
        return
    pickle_memmaps_by_path()
    options: dict[str, Any] = {
        "multiprocessing_context": "spawn",
        "prefetch_factor": PREFETCHED_BATCHES,
        "pin_memory": device.type == "cuda",
    }
    loader = DataLoader(
        builder,
        batch_size=None,
        sampler=_RequestSampler(requests),
        num_workers=workers,
        worker_init_fn=_start_worker,
        **options,
    )
    for batch in loader:
        yield batch.to(device)


def _start_worker(worker: int) -> None:
    """Restrict a worker to one thread, and leave Ctrl-C to the loop, which saves the run."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
