"""Verify an embedded store: that its journal is whole, and that its graph shows what it says.

The graph is read in a process of its own, which damage may end, while this one replays the journal.
Contents are compared by their totals, which cover every column of every row. Only if these differ
are the rows themselves compared, to say what is different.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from kg.stores.fingerprints import RECORD, Difference, Partitions, Records, joined
from kg.stores.graph_scan import Content, Inconsistency
from kg.stores.journal import Journal
from kg.stores.protocol import Counts
from kg.stores.replay import COUNTED_COLUMNS, Replay
from kg.stores.row_differences import RowDifferences, graph_texts
from kg.stores.scan_process import GraphUnreadableError, Limits, OpenScan, ScanProcess, run_scan
from kg.stores.scan_tasks import Count, Found, Summary, SumUp, WriteRecords
from kg.stores.shared_journal import SharedJournal
from schema.errors import StoreDamagedError
from schema.progress import ProgressCallback, no_progress

MAX_FILES = 5
"""Damaged files of a graph that are named."""
RECORDS_AT_ONCE = 1 << 20
"""Records that are read from a file at once."""
REBUILD = "run `catalograph rebuild`, which makes the graph anew from the journal"
INCONSISTENCIES = {
    Inconsistency.ITEM_NOT_FOUND: "items are not found by their id, or another one is",
    Inconsistency.VALUE_NOT_FOUND: "values are not found by their text, or another one is",
    Inconsistency.WRONG_IMAGE: "items have another main image than the first of their images",
    Inconsistency.FACT_WITHOUT_STATEMENT: "facts have no statement, or one of another rank",
    Inconsistency.STATEMENT_WITHOUT_FACT: "statements have no fact in the graph of their rank",
    Inconsistency.STRAY_QUADS: "items or statements have quads too many or too few",
}


@dataclass
class Verification:
    """What verifying found: problems and remarks, one line each, and the sizes of the graph."""

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    items: int = 0
    statements: int = 0

    def found(self, found: Found, what: str, go_on: str) -> None:
        """Add a problem of some items or statements, if there are any."""
        if found.count:
            examples = ", ".join(found.examples)
            more = ", …" if found.count > len(found.examples) else ""
            self.problems.append(f"{found.count:,} {what} ({examples}{more}): {go_on}")


@dataclass(frozen=True)
class StoreFiles:
    """The folder of an embedded store, its journal, its graph if it has one, and how to read that.

    Nobody writes to the graph: it is the one that was published last.
    """

    folder: Path
    journal: Journal
    graph: Path | None
    open_scan: OpenScan
    damaged_files: Callable[[Path, str], list[str]] = lambda path, go_on: []
    """Returns what the checksums of a graph's files find, one line each, ending in how to go on."""
    shared: SharedJournal | None = None
    """The journal on an object store of which ``journal`` is a copy, if it is one."""


def verify_store(
    files: StoreFiles,
    *,
    quick: bool = False,
    limits: Limits | None = None,
    progress: ProgressCallback = no_progress,
) -> Verification:
    """Verify a store; a writer may be at work meanwhile.

    ``quick`` checks the checksums of the journal and compares the numbers of items and statements
    alone. No error of a database is raised; it becomes a problem.
    """
    return _StoreCheck(files, quick, limits or Limits(), progress).run()


class _StoreCheck:
    """One verification of a store."""

    def __init__(
        self, files: StoreFiles, quick: bool, limits: Limits, progress: ProgressCallback
    ) -> None:
        self.files = files
        self.quick = quick
        self.limits = limits
        self.log = files.journal.log.check()
        self.last = max(self.log.entries, default=-1)
        self.report = Verification(problems=list(self.log.problems))
        self.journal_is_whole = not self.log.problems
        self.progress = progress
        self.rows_done = 0
        rows = sum(entry.rows or 0 for entry in self.log.entries.values())
        # Every row is read in the journal, and statements twice in the graph.
        self.rows_to_do = rows if quick else 3 * rows

    def run(self) -> Verification:
        """Check the journal, and compare the graph with it."""
        if self.files.shared is not None:
            found = self.files.shared.check(quick=self.quick)
            self.report.problems += found.problems
            self.report.notes += found.notes
        if self.log.entries and not self.log.head_is_current and not self.log.problems:
            self.report.notes.append(
                f"{self.files.journal.log.head_path} does not account for the newest entry yet: a "
                "write is at work or was cut off, and the next one makes up for it"
            )
        self._note_other_files()
        if self.files.graph is None:
            self._read_journal(None, -1)
            if self.log.entries and self.journal_is_whole:
                # So it is after the first write of all was cut off.
                self.report.notes.append(
                    f"{self.files.folder} has no graph: the next command makes it from the "
                    "journal, which is whole"
                )
            elif self.log.entries:
                self.report.problems.append(f"{self.files.folder} has no graph: {self.go_on}")
            return self.report
        try:
            self._read_both(self.files.graph)
        except GraphUnreadableError as error:
            self.report.problems.append(
                f"the graph {self.files.graph} cannot be read ({error.reason}, "
                f"{error.activity}): {self.go_on}"
            )
        self._check_files_of(self.files.graph)
        return self.report

    @property
    def go_on(self) -> str:
        """How to go on if the graph is damaged."""
        return REBUILD if self.journal_is_whole else self.files.journal.go_on

    def _check_files_of(self, graph: Path) -> None:
        """Report files of the graph that have not their checksums."""
        problems = self.files.damaged_files(graph, self.go_on)
        more = len(problems) - MAX_FILES
        self.report.problems += problems[:MAX_FILES]
        if more > 0:
            self.report.problems.append(f"{more} more files of {graph} are damaged: {self.go_on}")

    def _note_other_files(self) -> None:
        """Note what lies in the journal's folder and belongs to no version."""
        known = {name for entry in self.log.entries.values() for name in entry.files}
        others = [path for path in self.files.journal.other_files() if path.name not in known]
        if others:
            size = sum(path.stat().st_size for path in others if path.is_file()) / 1e6
            if self.journal_is_whole:
                advice = (
                    "writes that were cut off leave such files, which can be removed if there is "
                    "no other problem"
                )
            else:
                advice = "keep them: log entries that are lost may have named them"
            self.report.notes.append(
                f"{len(others)} files in {self.files.journal.folder} belong to no version "
                f"({size:,.1f} MB; the first: {others[0].name}): {advice}"
            )

    def _read_both(self, graph: Path) -> None:
        with ExitStack() as stack:
            replay = stack.enter_context(Replay(only_count=self.quick))
            scan = stack.enter_context(
                ScanProcess(
                    self.files.open_scan,
                    graph,
                    Count() if self.quick else SumUp(),
                    self.limits,
                    self._count_rows,
                )
            )
            pool = stack.enter_context(ThreadPoolExecutor(1))
            try:
                version = scan.version()
            except GraphUnreadableError:
                self._read_journal(None, -1)
                raise
            # The child process reads the graph while this one reads the journal.
            pending = pool.submit(scan.result)
            self._read_journal(replay, version)
            for content in (Content.ITEMS, Content.STATEMENTS):
                replay.total(content)
            self._compare(replay, version, pending.result(), graph)

    def _read_again(self, replay: Replay, version: int) -> None:
        """Read what was added to the journal since it was read."""
        log = self.files.journal.log.check()
        new = {number: entry for number, entry in log.entries.items() if number > self.last}
        if new and not log.problems:
            self.log = replace(self.log, entries=new)
            self._read_journal(replay, version)
            self.log = log
            self.last = max(new)

    def _read_journal(self, replay: Replay | None, version: int) -> None:
        """Read all files of the journal, and add those up to a version to the replay."""
        columns = COUNTED_COLUMNS if self.quick else None
        for entry in self.log.entries.values():
            for name in entry.files:
                try:
                    changes = self.files.journal.read_file(name, columns)
                except StoreDamagedError as error:
                    self.report.problems.append(str(error))
                    self.journal_is_whole = False
                    continue
                if replay is not None and entry.version <= version:
                    replay.add(changes)
                self._count_rows(changes.num_rows)

    def _count_rows(self, rows: int) -> None:
        self.rows_done = min(self.rows_done + rows, self.rows_to_do)
        self.progress(self.rows_done, self.rows_to_do)

    def _compare(self, replay: Replay, version: int, found: Summary | Counts, graph: Path) -> None:
        """Compare the graph, which shows a version of the journal, with the replay."""
        if version > self.last:
            # A writer may have added to both since the log was read.
            self._read_again(replay, version)
        self.report.found(
            replay.misnamed,
            "statements of the journal have an id that is not that of their item, property and "
            "value",
            "report this as a bug of Catalograph",
        )
        if version > self.last:
            self.journal_is_whole = False
            self.report.problems.append(
                f"the graph {graph} shows version {version} of its journal, which "
                f"ends at {self.last}: versions were lost; {self.files.journal.go_on}"
            )
        if version < self.last:
            self.report.notes.append(
                f"the graph shows version {version} of its journal, which ends at {self.last}: the "
                "next command that writes to the store brings it up to date"
            )
        if isinstance(found, Counts):
            self._compare_counts(replay, found)
        else:
            self._compare_summary(replay, version, found, graph)

    def _compare_counts(self, replay: Replay, found: Counts) -> None:
        self.report.items = found.items
        self.report.statements = found.statements
        if not self.journal_is_whole:
            return
        for name, expected, there in (
            ("items", replay.total(Content.ITEMS).count, found.items),
            ("statements", replay.total(Content.STATEMENTS).count, found.statements),
        ):
            if expected != there:
                self.report.problems.append(
                    f"the graph has {there:,} {name}, the journal {expected:,}: {REBUILD}"
                )

    def _compare_summary(self, replay: Replay, version: int, summary: Summary, graph: Path) -> None:
        totals = summary.totals
        self.report.items = totals[Content.ITEMS].count
        self.report.statements = totals[Content.STATEMENTS].count
        if not self.journal_is_whole:
            # Without a whole journal, the graph can only be compared with itself.
            second = totals.get(Content.SECOND_COPY, totals[Content.STATEMENTS])
            if second != totals[Content.STATEMENTS]:
                self.report.problems.append(
                    f"the graph {graph} keeps every statement twice, and the two differ: "
                    f"{self.go_on}"
                )
            self.report.notes.append(
                f"the graph can be read: it has {self.report.items:,} items and "
                f"{self.report.statements:,} statements"
            )
        else:
            different = [content for content in totals if totals[content] != replay.total(content)]
            if different:
                self._report_differences(replay, version, different, graph)
            if summary.texts is not None:
                self._compare_values(replay, summary.texts, graph)
        for inconsistency, found in summary.inconsistencies.items():
            self.report.found(found, INCONSISTENCIES[inconsistency], self.go_on)

    def _compare_values(self, replay: Replay, texts: Records, graph: Path) -> None:
        """Find values of the graph that no statement of the journal has, or that are there twice.

        The values of retracted statements stay in the graph.
        """
        with Partitions() as found:
            found.add(texts)
            difference = _difference(replay.parts(Content.VALUES), found.parts())
        for keys, what in (
            (difference.extra, "values of the graph are in no statement of the journal"),
            (difference.repeated, "values are in the graph more than once"),
        ):
            if len(keys):
                examples = graph_texts(self.files.open_scan, graph, keys, self.limits)
                self.report.found(Found(len(keys), examples), what, REBUILD)

    def _report_differences(
        self, replay: Replay, version: int, different: list[Content], graph: Path
    ) -> None:
        """Find the rows that are not those of the journal, and say in what they differ."""
        with tempfile.TemporaryDirectory(prefix="catalograph-") as name:
            task = WriteRecords(Path(name))
            run_scan(self.files.open_scan, graph, task, self.limits)
            differences = {}
            for content in different:
                with Partitions() as found:
                    for records in _records_in(task.path(content)):
                        found.add(records)
                    differences[content] = _difference(replay.parts(content), found.parts())
        batches = (changes for entry, changes in self.files.journal.read() if entry <= version)
        details = RowDifferences(differences, self.files.open_scan, graph, self.limits)
        for found_rows, what in details.findings(batches):
            self.report.found(found_rows, what, REBUILD)


def _difference(expected: Iterable[Records], found: Iterable[Records]) -> Difference:
    """Compare two contents by partitions."""
    return joined(
        Difference.of(before, after) for before, after in zip(expected, found, strict=True)
    )


def _records_in(path: Path) -> Iterator[Records]:
    with path.open("rb") as file:
        while len(records := np.fromfile(file, RECORD, RECORDS_AT_ONCE)):
            yield records
