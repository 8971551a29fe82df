"""Batches ahead of the loop: made here, or by worker processes that a GPU need not wait for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from kg.sampling.keyed_random import KeyedRandom
from kg.sampling.memmap import send_by_name
from training.batches import StepBatch, move, pinned
from training.collate import BatchContents, Collator
from training.sampler import StepSampler
from training.schedule import QUERIES, Schedule

NOBODY = np.zeros(0, np.int64)
AHEAD = 2


@dataclass(frozen=True)
class BatchRequest:
    """A batch to make: of which step, for which stage of the schedule, in how many parts."""

    step: int
    stage: int
    parts: int


@dataclass(frozen=True)
class PreparedBatch:
    """A step's batch in parts, and how many items, or pairs of query and item, this process has of it."""

    request: BatchRequest
    parts: list[StepBatch]
    items: int

    def pin_memory(self) -> PreparedBatch:
        """The same in page-locked memory."""
        return PreparedBatch(self.request, [pinned(part) for part in self.parts], self.items)

    def to(self, device: torch.device) -> PreparedBatch:
        """The same on another device."""
        return PreparedBatch(self.request, [move(part, device) for part in self.parts], self.items)


class BatchBuilder(Dataset[PreparedBatch]):
    """Makes any step's batch from nothing but its request: in order or not, in this process or in another, it is the same.

    ``items`` samples the train part, ``pairs`` the query log's positive pairs: those beside items, and those of a stage of pairs alone.
    """

    def __init__(
        self,
        collator: Collator,
        schedule: Schedule,
        seed: int,
        items: StepSampler,
        pairs: tuple[StepSampler, StepSampler] | None,
    ) -> None:
        self.collator = collator
        self.schedule = schedule
        self.seed = seed
        self.items = items
        self.beside: StepSampler | None = pairs[0] if pairs is not None else None
        self.alone: StepSampler | None = pairs[1] if pairs is not None else None

    def __getitem__(self, request: BatchRequest) -> PreparedBatch:
        """The batch of a request."""
        stage = self.schedule.stages[request.stage]
        pairs = self.alone if stage.only_queries else self.beside if stage.has(QUERIES) else None
        items = NOBODY if stage.only_queries else self.items.batch(request.step)
        random = KeyedRandom(self.seed, request.step)
        shares = [NOBODY] if pairs is None else pairs.shares(request.step)
        rank = self.items.rank if len(shares) > 1 else 0
        parts = []
        for number, part in enumerate(np.array_split(items, request.parts)):
            split = [np.array_split(share, request.parts)[number] for share in shares]
            work = BatchContents(
                part, split[rank], np.concatenate(split), sum(map(len, split[:rank]))
            )
            if len(part) or len(work.pairs):
                parts.append(self.collator.batch(stage, work, random))
        return PreparedBatch(request, parts, len(items) if len(items) else 2 * len(shares[rank]))

    def epoch(self, step: int, stage: int) -> int:
        """The epoch that a stage's step belongs to."""
        sampler = (
            self.alone
            if self.schedule.stages[stage].only_queries and self.alone is not None
            else self.items
        )
        return sampler.epoch(step)


class _Requests(Sampler[BatchRequest]):
    def __init__(self, requests: Iterator[BatchRequest]) -> None:
        self.requests = requests

    def __iter__(self) -> Iterator[BatchRequest]:
        return self.requests


def prefetch_batches(
    maker: BatchBuilder, requests: Iterator[BatchRequest], workers: int, device: torch.device
) -> Iterator[PreparedBatch]:
    """The batches of ``requests``, in order, on ``device``; ``workers`` spawned processes make two ahead each, in turns."""
    if workers == 0:
        yield from (maker[request].to(device) for request in requests)
        return
    send_by_name()
    options: dict[str, Any] = {
        "multiprocessing_context": "spawn",
        "prefetch_factor": AHEAD,
        "pin_memory": device.type == "cuda",
    }
    loader = DataLoader(
        maker,
        None,
        sampler=_Requests(requests),
        num_workers=workers,
        worker_init_fn=_alone,
        **options,
    )
    yield from (made.to(device) for made in loader)


def _alone(worker: int) -> None:
    """A worker makes batches on one core and leaves Ctrl-C to the loop, which saves."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
