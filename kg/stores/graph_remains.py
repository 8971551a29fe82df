"""What is left of a damaged graph: all rows that can be read, however often the reading fails.

A part of the graph that cannot be read is divided, until what is lost is a single item or value; a
process that dies over it is started again for the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from kg.stores.failures import temporary_files
from kg.stores.graph_scan import Content, GraphScan, Part
from kg.stores.scan_process import (
    Activity,
    GraphUnreadableError,
    Limits,
    OpenScan,
    ReportActivity,
    ScanProcess,
    ScanTask,
)
from kg.stores.scan_tasks import COMPARED, SCHEMAS

ResultT = TypeVar("ResultT")

MAX_PROCESSES = 200
"""How often the reading is started again before the rest counts as lost."""
NODES_OF = {
    Content.ITEMS: Content.ITEMS,
    Content.STATEMENTS: Content.ITEMS,
    Content.SECOND_COPY: Content.VALUES,
}
"""The nodes by whose places the parts of a content are counted."""


@dataclass
class GraphRemains:
    """What was read of a graph: files of rows by content, and what could not be read.

    ``version`` is the journal's version that it shows, None if it does not say. ``lost`` has a
    reason for each content that could not be read as a whole.
    """

    version: int | None = None
    files: dict[Content, list[Path]] = field(default_factory=dict)
    lost: dict[Part, str] = field(default_factory=dict)
    unreadable: str = ""
    """Why nothing at all could be read, or empty."""

    def tables(self, content: Content) -> Iterator[pa.Table]:
        """Yield the rows of a content that were read; some may come twice."""
        for path in self.files.get(content, []):
            yield from _rows_in(path, SCHEMAS[content])

    @property
    def is_whole(self) -> bool:
        """Whether everything could be read."""
        return not self.unreadable and not self.lost


@dataclass(frozen=True)
class ListParts(ScanTask[list[Part]]):
    """List the parts of some contents of a graph."""

    contents: Sequence[Content]

    def run(self, scan: GraphScan, report: ReportActivity) -> list[Part]:
        """Return the parts."""
        parts = []
        for content in self.contents:
            report(Activity(f"while {content} were counted"))
            parts += scan.parts(content)
        return parts


@dataclass(frozen=True)
class ReadParts(ScanTask[dict[Part, str]]):
    """Write the rows of parts to a file each; return those that failed, with the reasons."""

    folder: Path
    parts: list[Part]

    def run(self, scan: GraphScan, report: ReportActivity) -> dict[Part, str]:
        """Write the files. What a part gives before it fails is kept."""
        failed = {}
        for part in self.parts:
            # Errors of the database are caught inside, so that these are those of the disk.
            with temporary_files():
                reason = self._read(part, scan, report)
            if reason:
                failed[part] = reason
            else:
                self.path(part).rename(self.path(part).with_suffix(".arrow"))
        return failed

    def _read(self, part: Part, scan: GraphScan, report: ReportActivity) -> str:
        """Write the rows of a part to its file; return why it cannot be read, or empty text."""
        activity = f"while {part.content} {part.start:,} to {part.stop:,} were read"
        report(Activity(activity, part=part))
        with (
            pa.OSFile(str(self.path(part)), "wb") as file,
            pa.ipc.new_stream(file, SCHEMAS[part.content]) as stream,
        ):
            tables = scan.read(part)
            while True:
                try:
                    table = next(tables, None)
                # Whatever a database raises over damaged files.
                except Exception as error:
                    return " ".join(str(error).split())[:100] or type(error).__name__
                if table is None:
                    return ""
                stream.write_table(table)
                report(Activity(activity, table.num_rows, part))

    def is_complete(self, part: Part) -> bool:
        """Return whether a part was read to its end."""
        return self.path(part).with_suffix(".arrow").exists()

    def path(self, part: Part) -> Path:
        """Return the file of a part; it gets another suffix when it is complete."""
        return self.folder / f"{part.content.name}-{part.start}-{part.stop}.partial"


def graph_remains(
    open_scan: OpenScan,
    graph: Path,
    folder: Path,
    *,
    limits: Limits | None = None,
    progress: Callable[[int], None] = lambda rows: None,
) -> GraphRemains:
    """Read what is left of a graph into files in a folder."""
    return _Reader(open_scan, graph, folder, limits or Limits(), progress).read()


class _Reader:
    """Reads a graph by as many processes as it takes."""

    def __init__(
        self,
        open_scan: OpenScan,
        graph: Path,
        folder: Path,
        limits: Limits,
        progress: Callable[[int], None],
    ) -> None:
        self.remains = GraphRemains()
        self._open_scan = open_scan
        self._graph = graph
        self._folder = folder
        self._limits = limits
        self._progress = progress
        self._processes = 0

    def read(self) -> GraphRemains:
        """Read all contents."""
        pending = self._all_parts()
        while pending:
            if self._processes >= MAX_PROCESSES:
                self.remains.lost |= dict.fromkeys(pending, "reading failed too often")
                break
            task = ReadParts(self._folder, pending)
            try:
                failed = self._run(task)
                unread = []
            except GraphUnreadableError as error:
                culprit = error.part or pending[0]
                failed = {culprit: error.reason}
                unread = [
                    part for part in pending if part != culprit and not task.is_complete(part)
                ]
            pending = unread + self._divide(failed)
        for content in COMPARED:
            self.remains.files[content] = sorted(self._folder.glob(f"{content.name}-*"))
        return self.remains

    def _all_parts(self) -> list[Part]:
        """Return the parts of all contents, as good as they can be found out."""
        try:
            return self._run(ListParts(COMPARED))
        except GraphUnreadableError as error:
            if self.remains.version is None:
                self.remains.unreadable = f"{error.reason}, {error.activity}"
                return []
        return [part for content in COMPARED for part in self._parts(content)]

    def _parts(self, content: Content) -> list[Part]:
        """Return the parts of a content by its own, or else by the nodes at its ends."""
        reason = ""
        for counted in (content, NODES_OF[content]):
            try:
                parts = self._run(ListParts([counted]))
            except GraphUnreadableError as error:
                reason = f"{error.reason}, {error.activity}"
            else:
                return [Part(content, part.start, part.stop) for part in parts]
        self.remains.lost[Part(content, 0, 0)] = reason
        return []

    def _divide(self, failed: dict[Part, str]) -> list[Part]:
        """Return the halves of the parts that failed; those that have none are lost."""
        halves: list[Part] = []
        for part, reason in failed.items():
            divided = part.halves()
            if divided is None:
                self.remains.lost[part] = reason
            else:
                halves += divided
        return halves

    def _run(self, task: ScanTask[ResultT]) -> ResultT:
        self._processes += 1
        with ScanProcess(
            self._open_scan, self._graph, task, self._limits, self._progress
        ) as process:
            self.remains.version = process.version()
            return process.result()


def _rows_in(path: Path, schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield the rows of a file, which may end anywhere."""
    try:
        with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as stream:
            for batch in stream:
                yield pa.Table.from_batches([batch])
    except (pa.ArrowInvalid, OSError):
        return
