"""The processes of a run: what they agree on, and the sums over all of them.

Every collective operation of a training run is here, except those of a sharded model
(:mod:`training.sharding`). Small numbers travel on the CPU, by gloo, so that no step waits for a
GPU because of them; gradients and the statistics of batch norm stay where they are.
"""

from __future__ import annotations

import functools
import os
import re
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

from kg.home import Home
from schema.errors import LostProcessError, TrainingError
from schema.terminal import printable_line

T = TypeVar("T")
W = TypeVar("W")

BUCKET_BYTES = 25 * 2**20
"""Gradients are summed in buckets of this size, DDP's default."""

LONGEST_WAIT = timedelta(hours=12)
"""How long the processes wait for each other: the first one may read many images before the rest.

A process that ends is noticed at once, however long this is."""

FAILURE = "failure"
"""The key under which a process that fails leaves the reason for the others."""
REASON_SECONDS = 2.0
"""How long the others wait for that reason, which they look for every ``WATCH_SECONDS``."""
WATCH_SECONDS = 0.2
STUCK_SECONDS = 20.0
"""How long a process has to end by itself after another one has failed."""
ARRIVAL_SECONDS = 0.02
"""How often the first process looks whether others have arrived."""


THIS_PROCESS = uuid.uuid4().hex
"""Tells this process from those that torchrun started before."""


@dataclass(frozen=True)
class StepStatus:
    """How a step went in one process, or in all of them together.

    - ``out_of_memory``: whether any process ran out of memory
    - ``stop``: whether any process was asked to stop
    - ``seconds``: how long the run has taken, by the clock of the first process
    - ``items``: the least number of items of a process
    - ``has_gradient``: for each parameter, whether any process has a gradient of it
    """

    out_of_memory: bool
    stop: bool
    seconds: float
    items: int
    has_gradient: list[bool]


class Processes:
    """This process, number ``rank`` among ``world`` processes; by default, the only one.

    Args:
        rank: the number of this process.
        world: the number of processes.
        small: the process group of small tensors on the CPU; None for the default group.
        store: the store in which a process that fails leaves the reason.
        kept: the store of what is remembered when ``torchrun`` starts the processes again.
    """

    def __init__(
        self,
        rank: int = 0,
        world: int = 1,
        small: dist.ProcessGroup | None = None,
        store: Store | None = None,
        kept: Store | None = None,
    ) -> None:
        self.rank = rank
        self.world = world
        self._small = small
        self._store = store
        self._kept = kept
        self._joined = False
        self._has_failed = False
        self._known_reason = ""
        self._left = threading.Event()
        self._to_skip = 0
        self.done_in_pass = 0
        self._buffers: list[Tensor] = []

    @classmethod
    def join(cls) -> Self:
        """Connect to the other processes if ``torchrun`` started several."""
        rank = int(os.environ.get("RANK", "0"))
        world = int(os.environ.get("WORLD_SIZE", "1"))
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        by_torchrun = "TORCHELASTIC_RUN_ID" in os.environ
        if world == 1 and not by_torchrun:
            return cls(rank, world)
        store: Store | None = None
        kept: Store | None = None
        joined = not dist.is_initialized()
        if joined:
            shared, rank, world = next(rendezvous("env://"))
            kept = PrefixStore("catalograph, all attempts", shared)
            if world == 1:
                return cls(rank, world, kept=kept)
            # torchrun's store outlives the processes: those that it starts again must not find the
            # addresses, or the failures, of the ones before.
            attempt = PrefixStore(f"attempt {agreed_attempt(kept, rank, world)}", shared)
            store = PrefixStore("catalograph", attempt)
            dist.init_process_group(
                "nccl" if torch.cuda.is_available() else "gloo",
                store=PrefixStore("default", attempt),
                rank=rank,
                world_size=world,
                timeout=LONGEST_WAIT,
            )
        processes = cls(rank, world, small_group(), store, kept)
        processes._joined = joined
        if store is not None:
            threading.Thread(target=processes._watch, name="failures", daemon=True).start()
        return processes

    def leave(self) -> None:
        """Disconnect from the other processes, if :meth:`join` connected this one.

        Unless this process has failed, it first waits for those that are still in an operation.
        """
        self._left.set()
        if self._joined:
            self._joined = False
            if not self._has_failed:
                self._wait_at_end()
            dist.destroy_process_group()

    def _wait_at_end(self) -> None:
        """Wait until all processes have left their last operation, or one has failed.

        Gloo resets the connection of a process that still reads the result of an operation if
        another one, which has it already, disconnects. The first process goes last of all, since
        the store may be part of it.
        """
        if self._store is None:
            return
        until = time.monotonic() + STUCK_SECONDS
        try:
            self._store.add("at end", 1)
            while self._store.add("at end", 0) < self.world and time.monotonic() < until:
                if self._store.check([FAILURE]):
                    return
                time.sleep(ARRIVAL_SECONDS)
            self._store.add("gone", 1)
            while self.is_first and self._store.add("gone", 0) < self.world:
                if time.monotonic() > until:
                    return
                time.sleep(ARRIVAL_SECONDS)
        except RuntimeError:
            # The store's own process is gone.
            return

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    # What outlives the processes

    def remember(self, name: str, value: str) -> None:
        """Remember the first process's ``value`` for the processes that torchrun starts again.

        Without torchrun there are none.
        """
        if self._kept is not None and self.is_first:
            self._kept.set(name, f"{THIS_PROCESS} {value}")

    def recall(self, name: str) -> str | None:
        """Return what was remembered before torchrun started the processes again; None if nothing.

        What this process itself has remembered does not count.

        All processes have to call this together.
        """
        if self._kept is None:
            return None
        value: str | None = None
        if self.is_first and self._kept.check([name]):
            process, _, value = self._kept.get(name).decode().partition(" ")
            if process == THIS_PROCESS:
                value = None
        return self.from_first(value)

    def record(self, home: Home, entry: Mapping[str, Any]) -> None:
        """Record a training run in the home's ledger, if this is the first process."""
        if self.is_first:
            with home.ledger() as ledger:
                ledger.record_training(entry)

    def is_asked_to_stop(self) -> bool:
        """Return whether who started the processes asks them to save the run and to end.

        torchrun sends a signal instead.
        """
        return False

    # Small numbers

    def gather(self, values: Sequence[float]) -> Tensor:
        """Return the ``values`` [K] of W processes in order of rank, [W, K], in float64."""
        own = torch.tensor(values, dtype=torch.float64)
        rows = own.new_zeros(self.world, len(own))
        rows[self.rank] = own
        return self.sum(rows)

    def sum(self, values: Tensor) -> Tensor:
        """Return small ``values`` [...], on the CPU, summed over all processes."""
        if self.world == 1:
            return values
        # A process group of GPUs alone reduces tensors of a GPU only.
        with_gpu = dist.get_backend(self._small) == "nccl"
        summed = values.cuda() if with_gpu else values.clone()
        self._checked(lambda: dist.all_reduce(summed, group=self._small))
        return summed.cpu()

    def agree(self, status: StepStatus) -> StepStatus:
        """Combine what each process says about its step, in one exchange."""
        if self.world == 1:
            return status
        rows = self.gather(
            [
                status.out_of_memory,
                status.stop,
                status.seconds,
                status.items,
                *status.has_gradient,
            ]
        )
        return StepStatus(
            out_of_memory=bool(rows[:, 0].any()),
            stop=bool(rows[:, 1].any()),
            seconds=float(rows[0, 2]),
            items=int(rows[:, 3].min()),
            has_gradient=rows[:, 4:].any(0).tolist(),
        )

    # Objects

    def gather_objects(self, value: T) -> list[T]:
        """Return the picklable ``value`` of each process in order of rank."""
        values = [value] * self.world
        if self.world > 1:
            self._checked(lambda: dist.all_gather_object(values, value, group=self._small))
        return values

    def from_first(self, value: T) -> T:
        """Return the picklable ``value`` of the first process."""
        values = [value]
        if self.world > 1:
            self._checked(lambda: dist.broadcast_object_list(values, group=self._small))
        return values[0]

    def share_out(self, work: Sequence[W], compute: Callable[[W], T]) -> list[T]:
        """Return ``compute`` of each part of ``work``, in order; each process computes a share.

        The results, which must be picklable, are those of one process to the last bit, since every
        part is computed whole by one of them.
        """
        own = [compute(part) for part in work[self.rank :: self.world]]
        shares = self.gather_objects(own)
        return [shares[n % self.world][n // self.world] for n in range(len(work))]

    def wait(self) -> None:
        """Wait until all processes have come this far."""
        self.gather([0.0])

    @contextmanager
    def first_alone(self) -> Iterator[None]:
        """Let the first process go through the ``with`` block before the others do.

        For what writes files that the others then read, such as a cache.
        """
        if not self.is_first:
            self.wait()
        yield
        if self.is_first:
            self.wait()

    # Tensors where they are

    def copy_from_first(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite ``tensors`` by those of the first process."""
        if self.world > 1:
            for tensor in tensors:
                self._checked(functools.partial(dist.broadcast, tensor, 0))

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sum the gradients of ``parameters`` over all processes, in place.

        All of them need a gradient in every process.
        """
        if self.world == 1:
            return
        gradients = [each.grad for each in parameters if each.grad is not None]
        running: list[_Bucket] = []
        for number, part in enumerate(_buckets(gradients)):
            # While one bucket travels, the next one is filled.
            if len(running) == 2:
                running.pop(0).finish(self)
            running.append(_Bucket.start(part, self._buffer(number % 2, part)))
        for bucket in running:
            bucket.finish(self)

    def _buffer(self, number: int, part: Sequence[Tensor]) -> Tensor:
        """Return a buffer for the elements of a bucket; it is kept for the next steps."""
        size = sum(each.numel() for each in part)
        while len(self._buffers) <= number:
            self._buffers.append(part[0].new_empty(0))
        if len(self._buffers[number]) < size or self._buffers[number].dtype != part[0].dtype:
            self._buffers[number] = part[0].new_empty(size)
        return self._buffers[number][:size]

    # Within a pass over the model

    def begin_pass(self, skip: int = 0) -> None:
        """Begin to count the calls of :meth:`sum_in_pass`; the first ``skip`` do nothing."""
        self.done_in_pass = 0
        self._to_skip = skip

    def sum_in_pass(self, values: Tensor) -> None:
        """Sum ``values`` over all processes, in place, during a forward or a backward pass.

        The passes of all processes call this equally often, with tensors of equal shapes, whatever
        is in their batches. So a process that runs out of memory can make up for the calls that it
        still owes the others by a pass over a single item, which skips those that it has made.
        """
        if self._to_skip:
            self._to_skip -= 1
            return
        self._checked(lambda: dist.all_reduce(values))
        self.done_in_pass += 1

    # Failures

    @contextmanager
    def failing_together(self) -> Iterator[None]:
        """Report an error in the ``with`` block to the others (see :meth:`report_failure`)."""
        try:
            yield
        except BaseException as error:
            self.report_failure(error)
            raise

    def report_failure(self, error: BaseException) -> None:
        """Leave the reason for the others, whose next collective operation will fail.

        The first reason stays. Raises TrainingError if ``error`` is what PyTorch says because
        another process has failed: with the reason of that, if it is known.
        """
        if self._store is None or self._has_failed:
            self._left.set()
            return
        # The operations of a sharded model are not checked.
        if _is_lost_connection(error):
            raise self._failure_of_another(error) from None
        # From now on this process ends by itself, after what it still has to write.
        self._left.set()
        self._has_failed = True
        own = f"process {self.rank} of {self.world} failed: {_first_line(error)}"
        try:
            first = self._store.compare_set(FAILURE, "", own).decode()
        except RuntimeError:
            # The store's own process is gone.
            first = self._known_reason or own
        self._release_others()
        if first != own and _may_be_of_collective(error):
            raise TrainingError(first) from None

    def _checked(self, operation: Callable[[], Any]) -> None:
        """Run a collective operation; raises TrainingError if another process has failed."""
        try:
            operation()
        except RuntimeError as error:
            if not _may_be_of_collective(error):
                raise
            raise self._failure_of_another(error) from None

    def _failure_of_another(self, error: BaseException) -> TrainingError:
        """Prepare to end because of another process; return the error to raise for ``error``."""
        self._has_failed = True
        reason = self._reason()
        # Before the watcher takes this process for one that cannot be told.
        self._left.set()
        self._release_others()
        if not reason:
            return LostProcessError(self._without_reason(error))
        return TrainingError(reason)

    def _release_others(self) -> None:
        """End what the others are waiting in, and leave them a moment to read the reason.

        Without torchrun the store is part of the first process, and goes with it. With torchrun the
        others are stopped as soon as the first one has ended.
        """
        if self._joined and dist.get_backend() == "gloo":
            self.leave()
            time.sleep(REASON_SECONDS / 2)

    def _reason(self) -> str:
        """Return why another process failed; nothing if that is not known."""
        if self._store is None:
            return ""
        until = time.monotonic() + REASON_SECONDS
        while not (self._known_reason or self._reads_reason()) and time.monotonic() < until:
            time.sleep(0.05)
        return self._known_reason

    def _without_reason(self, error: BaseException) -> str:
        """Return what is known of another process that has left no reason: what PyTorch said."""
        # Gloo goes on with advice.
        said = _first_line(error).partition(". ")[0]
        return (
            f"another of the {self.world} processes ended without a reason ({said}), perhaps "
            "because it was killed: continue with --resume, or let torchrun restart all processes "
            "with --max-restarts"
        )

    def _reads_reason(self) -> bool:
        """Read the reason from the store; return whether there is one."""
        assert self._store is not None
        try:
            if self._store.check([FAILURE]):
                self._known_reason = self._store.get(FAILURE).decode()
        except RuntimeError:
            # The store's own process is gone.
            return False
        return bool(self._known_reason)

    def _watch(self) -> None:
        """Learn the reason of another process's failure as long as the store is there.

        A process that waits for a GPU, which waits for a process that has ended, cannot be told
        in another way: it ends here.
        """
        assert self._store is not None
        try:
            while not self._store.check([FAILURE]):
                if self._left.wait(WATCH_SECONDS):
                    return
            self._known_reason = self._store.get(FAILURE).decode()
        except RuntimeError:
            # The store's own process is gone.
            return
        if not self._left.wait(STUCK_SECONDS):
            print(f"error: {printable_line(self._known_reason)}", file=sys.stderr, flush=True)
            os._exit(1)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _may_be_of_collective(error: BaseException) -> bool:
    """Return whether an error may be what PyTorch says if another process is gone."""
    return isinstance(error, RuntimeError) and not isinstance(error, torch.OutOfMemoryError)


def _is_lost_connection(error: BaseException) -> bool:
    """Return whether an error is certainly what PyTorch says if another process is gone."""
    if not _may_be_of_collective(error):
        return False
    return isinstance(error, dist.DistError) or _LOST_CONNECTION.search(str(error)) is not None


_LOST_CONNECTION = re.compile(r"\bgloo\b|\bNCCL\b|Connection (closed|reset) by peer")


def agreed_attempt(store: Store, rank: int, world: int) -> int:
    """Return how many times the processes have been started, on which all of them agree.

    ``store`` outlives them. The first process counts, and answers each of the others: a number that
    they read could be that of the start before. So could torchrun's ``TORCHELASTIC_RESTART_COUNT``:
    each node counts its own failures alone.
    """
    if rank == 0:
        attempt = store.add("attempts", 1)
        awaited = set(range(1, world))
        while awaited:
            for other in sorted(awaited):
                # A process that was killed may have left a call, which is answered in vain.
                if store.check([f"call {other}"]):
                    call = store.get(f"call {other}").decode()
                    store.set(f"answer {call}", str(attempt))
                if store.check([f"arrived {other} {attempt}"]):
                    awaited.remove(other)
            time.sleep(ARRIVAL_SECONDS)
        return attempt
    call = uuid.uuid4().hex
    store.set(f"call {rank}", call)
    store.wait([f"answer {call}"], LONGEST_WAIT)
    attempt = int(store.get(f"answer {call}"))
    store.set(f"arrived {rank} {attempt}", "yes")
    return attempt


def small_group() -> dist.ProcessGroup | None:
    """Return a process group for tensors on the CPU; None if the default group is one.

    Without gloo it is the default group, and small tensors go to the GPU for the exchange.
    """
    if dist.get_backend() == "nccl" and dist.is_gloo_available():
        return dist.new_group(backend="gloo", timeout=LONGEST_WAIT)
    return None


def _buckets(gradients: Sequence[Tensor]) -> list[list[Tensor]]:
    """Divide gradients into buckets of one data type, about 25 MiB each."""
    buckets: list[list[Tensor]] = []
    room = 0
    for gradient in gradients:
        size = gradient.numel() * gradient.element_size()
        if not buckets or room < size or buckets[-1][0].dtype != gradient.dtype:
            buckets.append([])
            room = BUCKET_BYTES
        buckets[-1].append(gradient)
        room -= size
    return buckets


@dataclass(frozen=True)
class _Bucket:
    """Gradients that are on their way in a flat ``buffer``."""

    gradients: list[Tensor]
    buffer: Tensor
    work: dist.Work

    @classmethod
    def start(cls, gradients: list[Tensor], buffer: Tensor) -> _Bucket:
        """Fill the buffer and begin to sum it over all processes."""
        torch.cat([gradient.reshape(-1) for gradient in gradients], out=buffer)
        work = dist.all_reduce(buffer, async_op=True)
        return cls(gradients, buffer, work)

    def finish(self, processes: Processes) -> None:
        """Wait for the sums and copy them back."""
        processes._checked(self.work.wait)
        sizes = [gradient.numel() for gradient in self.gradients]
        parts = self.buffer.split(sizes)
        views = [
            part.view(gradient.shape) for part, gradient in zip(parts, self.gradients, strict=True)
        ]
        torch._foreach_copy_(self.gradients, views)
