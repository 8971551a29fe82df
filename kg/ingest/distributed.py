"""Read the files of an ingest with the help of other processes, with the results of this one alone.

This process reads files into blocks of rows, and takes over in their order what workers make of
them, see :mod:`kg.ingest.apart`. Files whose blocks cannot be told apart beforehand, and small
ones, are read by a worker as a whole. All that is written is written here.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from kg.ingest.apart import (
    BlockResult,
    FilePart,
    FileWork,
    Fit,
    Known,
    Place,
    SourceAssembler,
    Work,
    assemble_block,
    assemble_file,
    places_of,
    take_part,
)
from kg.ingest.assemble import AssembledBatch, Origin
from kg.ingest.engine import IngestEngine
from kg.ingest.row_blocks import RowBlock
from kg.ingest.source_plan import MappedPlan, SourcePlan
from schema.errors import DataError

SMALL_FILE_BYTES = 8 << 20
"""Of several files those up to this size, as they are on the disk, are read as a whole."""
_MAX_NAMED = 3
_SALT_BYTES = 16


class Workers(ABC):
    """Processes that work for this one.

    Errors that a worker raises are raised here, where its result is asked for.
    """

    count: int
    """How many of them work at the same time."""

    @abstractmethod
    def share(self, value: Any) -> Any:
        """Give all workers a value; return what stands for it among the arguments of a call."""

    @abstractmethod
    def start(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Begin a call of a function; return what stands for it."""

    @abstractmethod
    def result(self, started: Any) -> Any:
        """Wait for the result of a call, and return it."""

    @abstractmethod
    def cancel(self, started: Iterable[Any]) -> None:
        """Give up calls whose results are not needed any more."""

    @abstractmethod
    def stream(self, work: Callable[..., Iterator[Any]], *arguments: Any) -> Iterator[Any]:
        """Begin a call of a generator function, whose last argument says how many parts it skips.

        What it yields comes in order, and only few parts wait to be taken.
        """

    @abstractmethod
    def see(self, places: Sequence[Place]) -> set[Place]:
        """Return those of some places that all workers see as this machine does."""


class Way(Enum):
    """How a file is read."""

    HERE = auto()
    BLOCKS = auto()
    WHOLE = auto()


@dataclass(frozen=True)
class _Given:
    """A block that was given to a worker, what was known then, and the call."""

    block: RowBlock
    known: Known
    call: Any


@dataclass
class DistributedEngine(IngestEngine):
    """Reads files with the help of workers.

    Attributes:
        workers: the workers
        taken: how many blocks of workers were taken over
        again: how many had to be assembled again here
    """

    workers: Workers
    taken: int = 0
    again: int = 0
    _expected: list[tuple[SourcePlan, Origin]] = field(default_factory=list)
    _streams: dict[str, Iterator[FilePart]] = field(default_factory=dict)
    _seen: dict[Place, bool] = field(default_factory=dict)
    _here: dict[str, list[str]] = field(default_factory=dict)
    _files: int = 1

    def expect(self, files: Sequence[tuple[SourcePlan, Origin]]) -> None:
        """Take note of files that will be read, in their order, and may be read ahead."""
        self._expected = list(files)
        self._files = len(files)

    def notes(self) -> Sequence[str]:
        """Say which files this machine has read alone, and why."""
        lines = []
        for reason, names in self._here.items():
            more = len(names) - _MAX_NAMED
            listed = ", ".join(names[:_MAX_NAMED]) + (f" and {more:,} more" if more > 0 else "")
            lines.append(f"read by this machine alone: {listed} ({reason})")
        return lines

    def batches(self, plan: SourcePlan, origin: Origin) -> Iterator[AssembledBatch]:
        """Read a file by its plan, and assemble its items and statements batch by batch."""
        way = self._way(plan)
        if isinstance(plan, MappedPlan) and way is Way.WHOLE:
            yield from self._whole(plan, origin)
        elif isinstance(plan, MappedPlan) and way is Way.BLOCKS:
            yield from _BlockReading(plan, origin, self).batches()
        else:
            self._here.setdefault(_why_here(plan), []).append(plan.source.name)
            yield from plan.assembled_batches(origin)

    def _way(self, plan: SourcePlan) -> Way:
        if not isinstance(plan, MappedPlan):
            return Way.HERE
        can_divide = not plan.may_split_items
        knows_rows = plan.memory is not None and len(plan.memory.last.rows.first) > 0
        if can_divide and (knows_rows or (plan.source.reader.is_divided and self._is_large(plan))):
            return Way.BLOCKS
        if self._is_seen(plan):
            return Way.WHOLE
        return Way.BLOCKS if can_divide else Way.HERE

    def _is_large(self, plan: MappedPlan) -> bool:
        """Return whether there is nothing to do for other workers while one reads a file."""
        return self._files <= 1 or plan.source.file.path.stat().st_size > SMALL_FILE_BYTES

    def _is_seen(self, plan: MappedPlan) -> bool:
        """Return whether all workers see a file and the folder of its images."""
        if plan.source.file.spooled:
            return False
        places = places_of(plan)
        if not all(place in self._seen for place in places):
            seen = self.workers.see(places)
            self._seen |= {place: place in seen for place in places}
        return all(self._seen[place] for place in places)

    def _whole(self, plan: MappedPlan, origin: Origin) -> Iterator[AssembledBatch]:
        """Let a worker read a file, and others those that come after it."""
        for each, its_origin in self._ahead(plan, origin):
            if origin_key(its_origin) not in self._streams:
                work = FileWork.of(each, its_origin)
                stream = self.workers.stream(assemble_file, work)
                self._streams[origin_key(its_origin)] = stream
        for part in self._streams.pop(origin_key(origin)):
            take_part(plan, part)
            if part.batch is not None:
                yield part.batch

    def _ahead(self, plan: MappedPlan, origin: Origin) -> Iterator[tuple[MappedPlan, Origin]]:
        """Yield a file, and those after it that workers may read meanwhile."""
        yield plan, origin
        keys = [origin_key(each) for _, each in self._expected]
        if origin_key(origin) not in keys:
            return
        place = keys.index(origin_key(origin))
        for each, its_origin in self._expected[place + 1 : place + self.workers.count]:
            if isinstance(each, MappedPlan) and self._way(each) is Way.WHOLE:
                yield each, its_origin


def origin_key(origin: Origin) -> str:
    """Return what tells a file of a run from all others."""
    return f"{origin.source}\0{origin.file}"


def _why_here(plan: SourcePlan) -> str:
    if not isinstance(plan, MappedPlan):
        return "RDF is loaded as a whole"
    if plan.source.file.spooled:
        return "it is a stream, and rows of one item may lie anywhere in it"
    return "rows of one item may lie anywhere in it, and not all nodes see the file and its folder"


class _BlockReading:
    """Reads a file into blocks, and takes over in order what workers make of them."""

    def __init__(self, plan: MappedPlan, origin: Origin, engine: DistributedEngine) -> None:
        self._plan = plan
        self._engine = engine
        self._workers = engine.workers
        work = Work.of(plan, origin, secrets.token_bytes(_SALT_BYTES))
        self._assembler = SourceAssembler(plan, work)
        self._work = self._workers.share(work)
        self._known = self._assembler.known()
        self._shared = self._workers.share(self._known)
        self._waiting: deque[_Given] = deque()
        self._blocks = plan.blocks()
        self._is_read = False
        self._damage: DataError | None = None

    def batches(self) -> Iterator[AssembledBatch]:
        """Yield the batches of the file; what comes before damage is yielded first."""
        try:
            self._give()
            while self._waiting:
                batch = self._take(self._waiting.popleft())
                # Before this one is stored, which may take longer than to assemble others.
                self._give()
                yield batch
        finally:
            self._workers.cancel(given.call for given in self._waiting)
        if self._damage is not None:
            raise self._damage
        self._plan.say_absent_names(self._assembler.maker.names)

    def _give(self) -> None:
        """Read blocks and give them away, until one waits for each worker and one is at work."""
        while not self._is_read and len(self._waiting) < 2 * self._workers.count:
            try:
                block = next(self._blocks, None)
            except DataError as error:
                self._damage = error
                block = None
            if block is None:
                self._is_read = True
            else:
                self._waiting.append(self._started(block))

    def _started(self, block: RowBlock) -> _Given:
        call = self._workers.start(assemble_block, self._work, block, self._shared)
        return _Given(block, self._known, call)

    def _take(self, given: _Given) -> AssembledBatch:
        """Return what came of the next block, which is assembled here if it did not fit."""
        result: BlockResult | None = self._workers.result(given.call)
        fit = Fit.REPEATED
        if result is not None:
            fit = self._assembler.take_over(result, given.known)
            if fit is Fit.SAME:
                self._engine.taken += 1
                self._know_more()
                return result.batch
        self._engine.again += 1
        batch = self._assembler.assemble_block(given.block)
        self._know_more()
        if fit is Fit.OTHER_RULES:
            # What those have relied on that are at work is not so, either.
            self._workers.cancel(each.call for each in self._waiting)
            self._waiting = deque(self._started(each.block) for each in self._waiting)
        return batch

    def _know_more(self) -> None:
        """Give the workers what is known by now, if it is more."""
        known = self._assembler.known()
        if not known.is_same(self._known):
            self._known = known
            self._shared = self._workers.share(known)
