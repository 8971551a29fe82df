"""Blocks of a source that are assembled apart from one another, and files that are read as a whole.

What a block's rows become depends on the rows before it: by what the columns have shown so far
their cells are cleaned, of several names the mapping's choice is kept, and an id that appeared
before is a repetition. So a block is assembled by what is known when it is given away, and tells
what it has relied on. The assembler of the source, which goes through the blocks in their order,
takes over what would have come out the same; all else it assembles again itself.
"""

from __future__ import annotations

import hashlib
import socket
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from pathlib import Path

import pyarrow as pa

from kg.ingest.assemble import AssembledBatch, Assembler, LeftOut, Origin
from kg.ingest.columns import Content
from kg.ingest.draft import DraftMaker
from kg.ingest.images import SourceImages
from kg.ingest.known_rows import KnownRows, NotedRows, RowMemory
from kg.ingest.row_blocks import RowBlock
from kg.ingest.seen import hashes_of
from kg.ingest.source_plan import MappedPlan, TablePlan
from kg.ingest.values import (
    ColumnCleaners,
    ColumnEvidence,
    ColumnRules,
    Role,
    ValueSettings,
)
from schema.arrays import IntArray
from schema.errors import CatalographError, EngineError
from schema.mapping import Mapping

_CONTENT_BYTES = 8


@dataclass(frozen=True)
class Place:
    """A file or folder, and what shows that another machine sees the same one.

    Attributes:
        path: where it is
        size: the bytes of a file; -1 for a folder, and None if there is neither
        changed: when it was changed last, in nanoseconds
        number: that of its inode
    """

    path: Path
    size: int | None
    changed: int = 0
    number: int = 0

    @classmethod
    def of(cls, path: Path) -> Place:
        """Return what this machine sees at a path."""
        try:
            status = path.stat()
        except OSError:
            return cls(path, None)
        size = -1 if stat.S_ISDIR(status.st_mode) else status.st_size
        return cls(path, size, status.st_mtime_ns, status.st_ino)

    def is_here(self) -> bool:
        """Return whether this machine sees the same: a folder may have got other files."""
        here = Place.of(self.path)
        if self.size is None or here.size != self.size:
            return False
        is_unchanged = here.changed == self.changed
        return is_unchanged or (self.size == -1 and here.number == self.number)


@dataclass(frozen=True)
class Work:
    """What does not change from block to block of a file.

    Attributes:
        mapping: how the rows are read
        is_strict: whether the file has all columns that the mapping names
        images: the folder of the images, with no counts
        folder: that folder as the other machines have to see it; None if there is none
        origin: the provenance
        known: the rows of the last run; None if rows are not noted
        salt: a secret by which rows are recognised, so that nobody can prepare equal ones
    """

    mapping: Mapping
    is_strict: bool
    images: SourceImages
    folder: Place | None
    origin: Origin
    known: KnownRows | None
    salt: bytes

    @classmethod
    def of(cls, plan: MappedPlan, origin: Origin, salt: bytes) -> Work:
        """Return the work that a plan means."""
        folder = plan.images.folder
        return cls(
            plan.mapping,
            plan.is_strict,
            plan.images.uncounted(),
            None if folder is None else Place.of(folder.root),
            origin,
            None if plan.memory is None else plan.memory.last,
            salt,
        )

    @property
    def content(self) -> Content:
        """What rows are recognised by: it is the same in every process."""
        start = hashlib.blake2b(digest_size=_CONTENT_BYTES, key=self.salt)

        def content(value: object) -> int:
            digest = start.copy()
            digest.update(repr(value).encode(errors="surrogatepass"))
            return int.from_bytes(digest.digest(), "big", signed=True)

        return content


@dataclass(frozen=True)
class Known:
    """What the rows before a block have shown of a source.

    Attributes:
        cleaners: what is known of the columns
        choice: the mapping with the names that were chosen among alternatives
    """

    cleaners: ColumnCleaners
    choice: Mapping

    def is_same(self, other: Known) -> bool:
        """Return whether as much is known as there."""
        return self.choice == other.choice and self.cleaners.knows_as_much(other.cleaners)


@dataclass(frozen=True)
class Learned:
    """One look at a column: what its cells show, and the rules by which they were cleaned.

    ``more`` is None if enough was known of the column.
    """

    name: str
    role: Role
    settings: ValueSettings
    more: ColumnEvidence | None
    rules: ColumnRules


@dataclass(frozen=True)
class FirstRows:
    """The first rows [N] of the ids of a block: the ids, hashes of the contents, and the lines."""

    ids: pa.Array
    contents: IntArray
    lines: IntArray


@dataclass(frozen=True)
class BlockResult:
    """What came of a block, and what it relied on.

    Attributes:
        batch: the items and statements
        learned: the looks at its columns, in order
        choice: the mapping with the names that are chosen after it
        first: its rows whose ids have to be new
        names: the names of the columns that came up
        left_out: what the mapping left out
        images: counts of images
        noted: what the next run has to know of the rows
    """

    batch: AssembledBatch
    learned: list[Learned]
    choice: Mapping
    first: list[FirstRows]
    names: dict[str, None]
    left_out: LeftOut
    images: SourceImages
    noted: NotedRows | None


class Fit(Enum):
    """Whether the result of a block is what the rows before it make of it."""

    SAME = auto()
    REPEATED = auto()
    """Some of its rows have appeared before."""
    OTHER_RULES = auto()
    """The rows before have shown something else than what was known."""


def assemble_block(work: Work, block: RowBlock, known: Known) -> BlockResult | None:
    """Assemble a block by what is known of its source.

    None means that only the machine that reads the source can do it, or can say what is wrong.
    """
    if work.folder is not None and not work.folder.is_here():
        # Only an image that is looked up would tell, and then differently on each machine.
        work = replace(work, images=_Elsewhere(work.images.folder, work.images.id_pattern))
    assembler = _BlockAssembler(work, known)
    try:
        read = block.read(work.mapping, work.content)
        batch = assembler.assemble_rows(read.rows, read.batch)
    except (CatalographError, _NotHereError):
        return None
    return assembler.result(batch)


class SourceAssembler(Assembler):
    """The assembler of a source whose blocks may have been assembled apart.

    It must not be one whose rows may belong together, see ``MappedPlan.may_split_items``.
    """

    def __init__(self, plan: MappedPlan, work: Work) -> None:
        super().__init__(
            plan.mapping,
            plan.images,
            work.origin,
            plan.left_out,
            strict=plan.is_strict,
            memory=plan.memory,
        )
        self._content = work.content

    def known(self) -> Known:
        """Return what the rows so far have shown."""
        return Known(self._cleaners.copy(), self.maker.for_layout)

    def assemble_block(self, block: RowBlock) -> AssembledBatch:
        """Assemble the next block."""
        read = block.read(self.mapping, self._content)
        return self.assemble_rows(read.rows, read.batch)

    def take_over(self, result: BlockResult, known: Known) -> Fit:
        """Take over the next block, which was assembled by what was known then, if it fits.

        If not, nothing has changed.
        """
        if known.choice != self.maker.for_layout:
            return Fit.OTHER_RULES
        cleaners = self._cleaners.copy()
        for look in result.learned:
            if cleaners.may_learn(look.name, look.role) and look.more is not None:
                cleaners.learn(look.name, look.role, look.more, look.settings)
            rules = cleaners.known_rules(look.name, look.role, look.settings)
            if rules != look.rules and rules.decisions() != look.rules.decisions():
                return Fit.OTHER_RULES
        hashes = [hashes_of(first.ids.to_pylist()) for first in result.first]
        if any(self._seen.find_hashes(each).found.any() for each in hashes):
            return Fit.REPEATED
        if self._memory is not None and self._memory.were_touched(result.batch.known_ids):
            return Fit.REPEATED
        for first, each in zip(result.first, hashes, strict=True):
            self._seen.add_hashes(each, first.contents, first.lines)
        self._cleaners.adopt(cleaners)
        self.maker.for_layout = result.choice
        self.maker.names.update(result.names)
        self.left_out.update(result.left_out)
        self.images.update(result.images)
        if self._memory is not None and result.noted is not None:
            self._memory.update(result.noted)
        return Fit.SAME


class _BlockAssembler(Assembler):
    """Assembles one block, and notes what it relies on."""

    def __init__(self, work: Work, known: Known) -> None:
        memory = None if work.known is None else RowMemory(work.known)
        super().__init__(
            work.mapping, work.images.uncounted(), work.origin, strict=work.is_strict, memory=memory
        )
        self._noting = _NotingCleaners(known.cleaners)
        self._cleaners = self._noting
        self.maker = DraftMaker(work.mapping, self._noting, work.is_strict)
        self.maker.for_layout = known.choice
        self._first: list[FirstRows] = []

    def result(self, batch: AssembledBatch) -> BlockResult:
        """Return what came of the block."""
        return BlockResult(
            batch,
            self._noting.learned,
            self.maker.for_layout,
            self._first,
            self.maker.names,
            self.left_out,
            self.images,
            None if self._memory is None else self._memory.taken(),
        )

    def _add_seen(
        self, ids: pa.Array, hashes: IntArray, contents: IntArray, lines: IntArray
    ) -> None:
        super()._add_seen(ids, hashes, contents, lines)
        self._first.append(FirstRows(ids, contents, lines))


class _NotingCleaners(ColumnCleaners):
    """Cleaners that note each look at a column."""

    def __init__(self, known: ColumnCleaners) -> None:
        super().__init__()
        self.adopt(known)
        self.learned: list[Learned] = []
        self._more: ColumnEvidence | None = None

    def rules(
        self,
        name: str,
        role: Role,
        column: pa.Array,
        settings: ValueSettings,
        titles: pa.Array | None = None,
    ) -> ColumnRules:
        self._more = None
        rules = super().rules(name, role, column, settings, titles)
        self.learned.append(Learned(name, role, settings, self._more, rules))
        return rules

    def learn(
        self, name: str, role: Role, more: ColumnEvidence, settings: ValueSettings
    ) -> ColumnRules:
        self._more = more
        return super().learn(name, role, more, settings)


class _NotHereError(Exception):
    """An image has to be looked up in a folder that this machine does not see."""


class _Elsewhere(SourceImages):
    """The images of a folder that this machine does not see."""

    def _find(self, folder: object, name: str) -> list[str]:
        raise _NotHereError

    def uncounted(self) -> SourceImages:
        """Return the same."""
        return _Elsewhere(self.folder, self.id_pattern)


@dataclass(frozen=True)
class FilePart:
    """What came of a part of a file that another process reads as a whole.

    ``batch`` is None for what is only known at the end. The others are what was left out and
    counted since the part before.
    """

    batch: AssembledBatch | None
    left_out: LeftOut
    images: SourceImages
    noted: NotedRows | None


def places_of(plan: MappedPlan) -> tuple[Place, ...]:
    """Return what a worker has to see to read a file: the file, and the folder of its images."""
    folder = plan.images.folder
    paths = [plan.source.file.path, *([] if folder is None else [folder.root])]
    return tuple(map(Place.of, paths))


@dataclass(frozen=True)
class FileWork:
    """A file that another process reads as a whole, by a plan of its own.

    ``places`` are the file and the folder of its images.
    """

    plan: MappedPlan
    origin: Origin
    places: tuple[Place, ...]

    @classmethod
    def of(cls, plan: MappedPlan, origin: Origin) -> FileWork:
        """Return the work that a plan means."""
        file = replace(plan.source.file, recorder=None)
        own = replace(
            plan,
            source=replace(plan.source, file=file),
            images=plan.images.uncounted(),
            left_out=LeftOut(),
            memory=RowMemory() if isinstance(plan, TablePlan) and plan.may_know_rows else None,
        )
        return cls(own, origin, places_of(plan))

    def check(self, places: Sequence[Place]) -> None:
        """Raise EngineError unless this machine sees some places as that of the command did."""
        for place in places:
            if not place.is_here():
                raise EngineError(
                    f"node {socket.gethostname()} sees {place.path} differently than this machine, "
                    "or it was changed meanwhile: ingest it again, on a file system that all "
                    "nodes share"
                )


def assemble_file(work: FileWork, done: int) -> Iterator[FilePart]:
    """Read a file and yield what comes of it, but for the first ``done`` parts.

    Raises EngineError if this machine sees another file, or if it changes meanwhile, and what the
    plan does when it reads the file.
    """
    work.check(work.places)
    plan = work.plan
    for number, batch in enumerate(plan.assembled_batches(work.origin)):
        part = _taken(plan, batch)
        if number >= done:
            yield part
    work.check(work.places[:1])
    yield _taken(plan, None)


def take_part(plan: MappedPlan, part: FilePart) -> None:
    """Add to a plan what another process has left out and counted in a part of its file."""
    plan.left_out.update(part.left_out)
    plan.images.update(part.images)
    if plan.memory is not None and part.noted is not None:
        plan.memory.update(part.noted)


def _taken(plan: MappedPlan, batch: AssembledBatch | None) -> FilePart:
    noted = None if plan.memory is None else plan.memory.taken()
    return FilePart(batch, plan.left_out.taken(), plan.images.taken(), noted)
