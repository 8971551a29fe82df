"""Batches for the training loop, built in this process or in advance by worker processes."""

from __future__ import annotations

import dataclasses
import itertools
import multiprocessing
import re
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from kg.sampling.keyed_random import KeyedRandom
from kg.sampling.memmap import pickle_memmaps_by_path
from schema.arrays import IntArray
from schema.errors import CatalographError, TrainingError
from schema.memory import keep_freed_memory
from training.batches import StepBatch
from training.collate import BatchContents, Collator
from training.objectives import Need
from training.sampler import StepSampler
from training.schedule import Schedule
from training.transfer import (
    CudaCopier,
    PackedTensors,
    SharedBuffers,
    copied_ahead,
    move_tensors,
    new_pinned_buffer,
    pack,
)

NO_INDEX = np.zeros(0, np.int64)
PREFETCHED_BATCHES = 2
"""Number of batches that a worker process prepares in advance."""

SHARED_BUFFERS = PREFETCHED_BATCHES + 1
"""Number of batches of a worker process that can lie in shared memory: those that it has prepared
in advance, and one that the training process is copying."""


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

    def to(self, device: torch.device) -> PreparedBatch:
        """Return the same batch on another device, to which it is copied as a whole."""
        moved: PreparedBatch = move_tensors(self, device)
        return moved


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
        random = KeyedRandom(self.seed, request.step)
        parts = self.contents(request)
        items = sum(len(part.items) for part in parts)
        # Every matching pair comes with one that does not match.
        count = items or 2 * sum(len(part.pairs) for part in parts)
        micro_batches = [self.collator.batch(stage, part, random) for part in parts]
        return PreparedBatch(request, micro_batches, count)

    def contents(self, request: BatchRequest) -> list[BatchContents]:
        """Return what this process's micro-batches of a request consist of.

        The batch of all processes is cut into micro-batches first, and each of these is divided
        among the processes. So a micro-batch consists of the same items and pairs however many
        processes there are, and all of them have a part of each: they exchange the statistics of
        batch norm and the embeddings of pairs.
        """
        stage = self.schedule.stages[request.stage]
        items = NO_INDEX if stage.only_queries else self.items.whole(request.step)
        sampler = self._pair_sampler(request.stage)
        pairs = NO_INDEX if sampler is None else sampler.whole(request.step)
        rank = self.items.rank
        contents = []
        for part, pairs_of_part in itertools.zip_longest(
            self._cut(items, request.micro_batches),
            self._cut(pairs, request.micro_batches),
            fillvalue=NO_INDEX,
        ):
            shares = [pairs_of_part[each :: self.items.world] for each in range(self.items.world)]
            contents.append(
                BatchContents(
                    items=part[rank :: self.items.world],
                    pairs=shares[rank],
                    # The contrastive loss compares a process's pairs with those of all processes.
                    all_pairs=np.concatenate(shares),
                    first=sum(len(share) for share in shares[:rank]),
                )
            )
        return contents

    def smallest(self, request: BatchRequest, number: int) -> StepBatch:
        """Build micro-batch ``number`` of a request with one of its items and pairs alone."""
        stage = self.schedule.stages[request.stage]
        contents = self.contents(request)[number]
        one = dataclasses.replace(contents, items=contents.items[:1], pairs=contents.pairs[:1])
        return self.collator.batch(stage, one, KeyedRandom(self.seed, request.step))

    def _cut(self, index: IntArray, parts: int) -> list[IntArray]:
        """Cut ``index`` into as many ``parts`` as leave each process something of every part."""
        if not len(index):
            return []
        return np.array_split(index, max(1, min(parts, len(index) // self.items.world)))

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
    each batch is built in this process. A GPU receives each batch while it works on the one before,
    as one copy from page-locked memory.

    Raises CatalographError if a batch cannot be built, and TrainingError if a worker process was
    lost.
    """
    if workers == 0 and device.type == "cpu":
        for request in requests:
            yield builder[request]
        return
    on_gpu = device.type == "cuda"
    packed: Iterator[PackedTensors]
    if workers == 0:
        allocate = new_pinned_buffer if on_gpu else None
        packed = (pack(builder[request], allocate) for request in requests)
    else:
        packed = _packed_by_workers(builder, requests, workers, on_gpu)
    if on_gpu:
        yield from copied_ahead(packed, CudaCopier(device))
        return
    for each in packed:
        yield each.to(device).unpack()


def _packed_by_workers(
    builder: BatchBuilder,
    requests: Iterator[BatchRequest],
    workers: int,
    pinned: bool,
) -> Iterator[PackedTensors]:
    """Yield the packed batches of worker processes, copied from shared into own memory."""
    pickle_memmaps_by_path()
    loader = DataLoader(
        _PackedBatches(builder),
        batch_size=None,
        sampler=_RequestSampler(requests),
        num_workers=workers,
        worker_init_fn=_start_worker,
        multiprocessing_context="spawn",
        prefetch_factor=PREFETCHED_BATCHES,
        pin_memory=pinned,
    )
    others = multiprocessing.active_children()
    with _signal_of_children_as_before():
        batches = iter(loader)
    processes = [each for each in multiprocessing.active_children() if each not in others]
    # Every buffer that the workers use stays mapped, because it comes again.
    mapped: deque[Tensor | None] = deque(maxlen=workers * SHARED_BUFFERS)
    while True:
        with explained_worker_failures(processes):
            received = next(batches, None)
        if received is None:
            return
        if isinstance(received, CatalographError):
            raise received
        # With ``pinned`` a thread of the DataLoader has already copied it.
        packed: PackedTensors = received if pinned else received.clone()
        mapped.append(packed.shared)
        yield dataclasses.replace(packed, shared=None)


class _PackedBatches(Dataset[PackedTensors | CatalographError]):
    """The batches of a builder in the form in which a worker process passes them on.

    A worker gets request n only after its batch n - 2 has been received, so that one more buffer is
    enough for the training process to copy from.
    """

    def __init__(self, builder: BatchBuilder) -> None:
        self.builder = builder
        self.buffers = SharedBuffers(SHARED_BUFFERS)

    def __getitem__(self, request: BatchRequest) -> PackedTensors | CatalographError:
        """Build the batch of a request; an error to show to the user is returned as it is.

        If it were raised, PyTorch would put the worker's traceback into its message.
        """
        try:
            return pack(self.builder[request], self.buffers)
        except CatalographError as error:
            return error


def _start_worker(worker: int) -> None:
    """Restrict a worker to one thread, and leave Ctrl-C to the loop, which saves the run."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    # A batch's images are allocated and freed in every step.
    keep_freed_memory()


@contextmanager
def _signal_of_children_as_before() -> Iterator[None]:
    """Undo that a DataLoader answers the signal of a child's end by an error.

    It would be raised wherever this process happens to be: in the middle of a step, or while a
    checkpoint is written or a lock released. Without it, the end of a worker is noticed where its
    batch is awaited.
    """
    before = signal.getsignal(signal.SIGCHLD)
    try:
        yield
    finally:
        # Only the main thread can set it, which is where a DataLoader does, too.
        if before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGCHLD, before)


@contextmanager
def explained_worker_failures(workers: Sequence[BaseProcess]) -> Iterator[None]:
    """Turn PyTorch's errors about a worker process that ended into a TrainingError.

    They are raised while a batch is awaited, or were received in part.
    """
    try:
        yield
    except RuntimeError as error:
        if _WORKER_ENDED.search(str(error)) is None:
            raise
        raise _worker_lost(workers) from None
    except (ConnectionError, EOFError):
        raise _worker_lost(workers) from None


def _worker_lost(workers: Sequence[BaseProcess]) -> TrainingError:
    codes = [each.exitcode for each in workers]
    killed = next((-code for code in codes if code is not None and code < 0), None)
    reason = "it ended unexpectedly" if killed is None else signal.strsignal(killed)
    return TrainingError(
        f"one of {len(workers)} processes that prepare batches was lost ({reason}), probably for "
        f"want of memory: continue with --resume --set workers={len(workers) - 1}"
    )


_WORKER_ENDED = re.compile(
    r"DataLoader worker \(pid.*?(killed by signal|exited unexpectedly)"
    r"|Pin memory thread exited unexpectedly"
)
