"""Read the files of an ingest with the help of a Ray cluster.

Blocks are tasks rather than a dataset of Ray Data: what a block becomes depends on those before it,
so that each is given what is known when it starts, and the results come back one by one.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kg.ingest.apart import Place
from kg.ingest.distributed import DistributedEngine, Workers
from kg.ray_cluster import (
    RayCluster,
    Requirement,
    errors_of_workers,
    living_nodes,
    ray_cluster,
)
from schema.errors import EngineError

if TYPE_CHECKING:
    from ray import ObjectRef

MAX_RETRIES = 3
"""How often a block or a file is begun again whose node was lost."""
LOOK_SECONDS = 2.0
"""After so long without a result it is looked whether there are nodes left."""
_MAX_WAITING_PARTS = 2


@contextmanager
def ray_engine(workers: int | None = None) -> Iterator[DistributedEngine]:
    """Yield an engine that so many workers of a Ray cluster help: by default one a processor.

    Nothing is written by them, so they need not see the home. Raises what
    :func:`kg.ray_cluster.ray_cluster` raises.
    """
    with ray_cluster(None) as cluster:
        helpers = RayWorkers(cluster, workers)
        try:
            yield DistributedEngine(helpers)
        finally:
            helpers.stop()


@dataclass(frozen=True)
class _Started:
    """A call: its result, and what is there as soon as it is over."""

    result: ObjectRef[Any]
    over: ObjectRef[Any]


class RayWorkers(Workers):
    """Tasks of a Ray cluster; those whose node is lost are done again."""

    def __init__(self, cluster: RayCluster, count: int | None = None) -> None:
        import ray

        self.count = count or max(1, cluster.processors)
        self._requirement = ray.put(cluster.requirement)
        self._call = ray.remote(
            num_cpus=1, max_retries=MAX_RETRIES, num_returns=2, scheduling_strategy="SPREAD"
        )(_call)
        self._streams: list[Any] = []
        self._last: deque[ObjectRef[Any]] = deque(maxlen=self.count)

    def share(self, value: Any) -> Any:
        """Put a value where each node fetches it once."""
        import ray

        return ray.put(value)

    def start(self, work: Callable[..., Any], *arguments: Any) -> _Started:
        """Begin a task, as soon as fewer than ``count`` are at work."""
        # Ray begins a task when its arguments are there: one of them is the end of an earlier one.
        before = self._last[0] if len(self._last) == self.count else None
        started = _Started(*self._call.remote(before, self._requirement, work, *arguments))
        self._last.append(started.over)
        return started

    def result(self, started: _Started) -> Any:
        """Wait for the result of a task; raises EngineError if no node is left."""
        import ray

        with errors_of_workers():
            _wait_for(started.result)
            return ray.get(started.result)

    def cancel(self, started: Iterable[_Started]) -> None:
        """Give up tasks whose results are not needed any more."""
        import ray

        for each in started:
            ray.cancel(each.result)
            # Tasks that wait for the end of one that was given up would fail with it.
            self._last.clear()

    def stream(self, work: Callable[..., Iterator[Any]], *arguments: Any) -> Iterator[Any]:
        """Begin a generator, and begin it again after the parts that have come if its node is lost.

        Raises EngineError if no node is left.
        """
        begin = functools.partial(self._begin_stream, work, *arguments)
        return self._parts(begin(0), begin)

    def see(self, places: Sequence[Place]) -> set[Place]:
        """Return those of some places that all nodes see as this machine does."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        look = ray.remote(num_cpus=0, max_retries=0)(_look)
        answers = []
        for node in living_nodes():
            there = NodeAffinitySchedulingStrategy(node, soft=False)
            call = look.options(scheduling_strategy=there)
            answers.append(call.remote(self._requirement, list(places)))
        seen = set(places)
        with errors_of_workers():
            for answer in answers:
                try:
                    visible: list[Place] = ray.get(answer)
                    seen.intersection_update(visible)
                except _lost():
                    continue  # The node is gone, and does nothing.
        return seen

    def stop(self) -> None:
        """Give up what is still at work."""
        import ray

        for stream in self._streams:
            ray.cancel(stream)
        self._streams = []

    def _begin_stream(self, work: Callable[..., Iterator[Any]], *arguments: Any) -> Any:
        import ray

        options = {
            "num_cpus": 1,
            "max_retries": 0,
            "num_returns": "streaming",
            "scheduling_strategy": "SPREAD",
            "_generator_backpressure_num_objects": _MAX_WAITING_PARTS,
        }
        stream = ray.remote(_stream).options(**options).remote(self._requirement, work, *arguments)
        self._streams.append(stream)
        return stream

    def _parts(self, stream: Any, begin: Callable[[int], Any]) -> Iterator[Any]:
        import ray

        done = 0
        retries = 0
        while True:
            with errors_of_workers():
                try:
                    _wait_for(stream)
                    part = ray.get(next(stream))
                except StopIteration:
                    self._streams.remove(stream)
                    return
                except _lost():
                    retries += 1
                    if retries > MAX_RETRIES:
                        raise
                    self._streams.remove(stream)
                    stream = begin(done)
                    continue
            done += 1
            retries = 0
            yield part


def _call(
    before: None, requirement: Requirement, work: Callable[..., Any], *arguments: Any
) -> tuple[Any, None]:
    """Run in a worker: return the result of a call, and that it is over."""
    _check(requirement)
    return work(*arguments), None


def _stream(
    requirement: Requirement, work: Callable[..., Iterator[Any]], *arguments: Any
) -> Iterator[Any]:
    """Run in a worker: yield what a generator yields."""
    _check(requirement)
    yield from work(*arguments)


def _look(requirement: Requirement, places: list[Place]) -> list[Place]:
    """Run in a worker: return those of some places that it sees as the command does."""
    _check(requirement)
    return [place for place in places if place.is_here()]


@functools.lru_cache(maxsize=1)
def _check(requirement: Requirement) -> None:
    """Check once in each process what a worker needs; raises EngineError."""
    requirement.check()


def _lost() -> tuple[type[Exception], ...]:
    """Return the errors of which a node that is gone is the reason."""
    from ray import exceptions

    return (
        exceptions.NodeDiedError,
        exceptions.WorkerCrashedError,
        exceptions.ObjectLostError,
        exceptions.LocalRayletDiedError,
    )


def _wait_for(started: Any) -> None:
    """Wait until a task has a result, or a stream a part; raises EngineError if no node is left."""
    import ray

    while not ray.wait([started], timeout=LOOK_SECONDS)[0]:
        if not living_nodes(working=True):
            raise EngineError(
                "no node of the Ray cluster is left to work: start one, and run the same command "
                "again, which adds what is not stored yet"
            )
