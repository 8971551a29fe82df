"""What is left of a damaged journal: its whole batches, in the order in which they were written.

A Parquet file is named after its own hash, so that it is known to be whole even if the entry that
names it is lost. Where such a file belongs is proven by the chain of the entries around it, or else
guessed from the time at which it was written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice, permutations
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from kg.stores.journal import Journal
from kg.stores.journal_log import LogCheck, LogEntry, chained
from schema.errors import StoreDamagedError

MAX_ORDERS = 50_000
"""Orders of files that are tried to close a gap in the log."""
AGREEMENT_SECONDS = 2.0
"""How far the time of a file may be from the one in its log entry."""


@dataclass(frozen=True, slots=True)
class WholeBatch:
    """A batch that can be read: its file, and its version, None if that is not known for certain.

    ``time`` is when it was written, in ISO 8601.
    """

    file: str
    version: int | None
    time: str


@dataclass(frozen=True, slots=True)
class LostBatch:
    """A batch that cannot be read: its version, what is wrong, and its rows if they are known."""

    version: int
    reason: str
    rows: int | None = None

    def in_words(self) -> str:
        """Return a line that describes the loss."""
        rows = "an unknown number of rows" if self.rows is None else f"about {self.rows:,} rows"
        return f"version {self.version} of the journal ({self.reason}): {rows}"


@dataclass
class JournalRemains:
    """The whole batches of a journal in order, the lost ones, and how the order was found."""

    batches: list[WholeBatch] = field(default_factory=list)
    lost: list[LostBatch] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def last_version(self) -> int:
        """The newest version that is known to have been written, or -1."""
        versions = [batch.version for batch in self.batches if batch.version is not None]
        return max([*versions, *(batch.version for batch in self.lost)], default=-1)


def journal_remains(journal: Journal) -> JournalRemains:
    """Find what is left of a journal."""
    log = journal.log.check()
    remains = JournalRemains()
    placed: dict[int, WholeBatch] = {}
    gaps: dict[int, LostBatch] = {
        version: LostBatch(version, "its log entry is lost") for version in log.missing
    }
    gaps |= {
        version: LostBatch(version, "its log entry cannot be read") for version in log.unreadable
    }
    named = {name for entry in log.entries.values() for name in entry.files}
    orphans = [path.name for path in journal.other_files() if _is_orphan(path, named)]
    orphans = [name for name in orphans if _why_unreadable(journal, name) is None]
    times = _Times(journal, log, orphans)
    for version, entry in log.entries.items():
        for name in entry.files:
            reason = _why_unreadable(journal, name)
            if reason is None:
                placed[version] = WholeBatch(name, version, times.of_entry(name, entry))
            else:
                gaps[version] = LostBatch(version, reason, entry.rows)

    if not gaps and log.head_is_current:
        # What belongs to no version of a log that is known to be whole was never acknowledged.
        orphans = []
    # In the most likely order first: of many files not every order can be tried.
    orphans.sort(key=times.of)
    for version, name in _proven(orphans, gaps, log).items():
        orphans.remove(name)
        del gaps[version]
        placed[version] = WholeBatch(name, version, times.of(name))
    remains.batches = [placed[version] for version in sorted(placed)]
    remains.lost = [gaps[version] for version in sorted(gaps)]
    unplaced = [WholeBatch(name, None, times.of(name)) for name in orphans]
    for orphan in sorted(unplaced, key=lambda batch: batch.time):
        _insert(remains.batches, orphan)
    if orphans:
        remains.notes.append(
            f"{len(orphans)} files of the journal, whose log entries are lost, were put in order "
            f"by the times at which they were written (the first: {orphans[0]})"
        )
    return remains


def read_batches(journal: Journal, remains: JournalRemains) -> Iterator[pa.Table]:
    """Yield the whole batches in order."""
    for batch in remains.batches:
        yield journal.read_file(batch.file)


def _why_unreadable(journal: Journal, name: str) -> str | None:
    try:
        journal.check_file(name)
    except StoreDamagedError as error:
        return str(error).partition(": ")[0].rpartition("/")[2]
    return None


def _is_orphan(path: Path, named: set[str]) -> bool:
    return path.suffix == ".parquet" and path.name not in named and not path.name.startswith(".")


def _proven(names: Sequence[str], gaps: dict[int, LostBatch], log: LogCheck) -> dict[int, str]:
    """Return the files of the versions for which the chain proves them."""
    proven: dict[int, str] = {}
    for run in _runs(sorted(gaps)):
        before = log.entries.get(run[0] - 1)
        if run[0] > 0 and before is None:
            continue
        chain = before.chain if before is not None else ""
        free = [name for name in names if name not in proven.values()]
        for order in islice(permutations(free, len(run)), MAX_ORDERS):
            if _fits(chain, order, log, run[-1]):
                proven |= dict(zip(run, order, strict=True))
                break
    return proven


def _runs(versions: Sequence[int]) -> list[list[int]]:
    """Return the versions in runs of consecutive ones."""
    runs: list[list[int]] = []
    for version in versions:
        if not runs or runs[-1][-1] != version - 1:
            runs.append([])
        runs[-1].append(version)
    return runs


def _fits(chain: str, names: Sequence[str], log: LogCheck, last: int) -> bool:
    """Return whether files follow a chain, and are followed by the entry after ``last``."""
    for name in names:
        chain = chained(chain, [name])
    after: LogEntry | None = log.entries.get(last + 1)
    if after is not None:
        return chained(chain, after.files) == after.chain
    return log.head is not None and log.head.version == last and log.head.chain == chain


class _Times:
    """When the files of a journal were written, in ISO 8601.

    The file system knows best, unless the journal was copied without its files' times. So its times
    count if they agree with those that log entries have of their own files, or, without any entry,
    if they order the files as the times of their statements do.
    """

    def __init__(self, journal: Journal, log: LogCheck, orphans: Sequence[str]) -> None:
        self._journal = journal
        known = [
            (name, entry.milliseconds / 1000)
            for entry in log.entries.values()
            if entry.milliseconds is not None
            for name in entry.files
            if (journal.folder / name).exists()
        ]
        if known:
            gaps = [abs(self._seconds(name) - seconds) for name, seconds in known]
            self._trusts_files = max(gaps) < AGREEMENT_SECONDS
        else:
            in_order = sorted(orphans, key=self._seconds)
            stated = [time for time in map(self._stated, in_order) if time]
            self._trusts_files = stated == sorted(stated)

    def of_entry(self, name: str, entry: LogEntry) -> str:
        """Return when a file was written, by its log entry if that says it."""
        return self.of(name) if entry.milliseconds is None else _iso(entry.milliseconds / 1000)

    def of(self, name: str) -> str:
        """Return when a file was written."""
        stated = "" if self._trusts_files else self._stated(name)
        return stated or _iso(self._seconds(name))

    def _seconds(self, name: str) -> float:
        return (self._journal.folder / name).stat().st_mtime

    def _stated(self, name: str) -> str:
        """Return the newest time of a file's statements, or empty text if it has none."""
        newest = pc.max(self._journal.read_file(name)["time"]).as_py()
        return str(newest or "")


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")


def _insert(batches: list[WholeBatch], orphan: WholeBatch) -> None:
    """Insert a batch before the first one that was written later."""
    for place, batch in enumerate(batches):
        if batch.time > orphan.time:
            batches.insert(place, orphan)
            return
    batches.append(orphan)
