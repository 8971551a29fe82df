"""The log of a journal: an entry for each version, in which every byte is accounted for.

Delta Lake's log is a folder of JSON files, and knows no checksums. Here every entry says which
bytes the entries before it have, and the *head*, a small file beside the log, says which bytes all
of them have. So an entry that was altered, lost or put in is noticed, the newest one included:

    log hash before version 0   L(0)     = ""
    log hash after version v    L(v + 1) = sha256(L(v) + sha256(bytes of entry v))

Entry v carries L(v) in its custom metadata, and the head carries L(n) for n entries. Entries that
an earlier version of Catalograph wrote carry no log hash: those that follow account for them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from schema.errors import StoreDamagedError, StoreError
from schema.files import open_named, write_atomically
from schema.settings import shown
from schema.terminal import printable_line

CHAIN = "catalograph.chain"
"""Key of the chain's hash in the custom metadata of a log entry.

It chains the names of the Parquet files, which are the hashes of their contents. With it, the place
of a file whose entry is lost can be proven.
"""
LOG = "catalograph.log"
"""Key of the log hash before an entry in the entry's custom metadata."""
_BATCH_NAME = re.compile(r"[0-9a-f]{64}\.parquet")
_ENTRY_NAME = re.compile(r"[0-9]{20}\.json")
MAX_REASON = 100
HEAD = "_head.json"
"""Name of the head in the journal's folder. Delta Lake ignores names that begin with a line."""
VERSION_DIGITS = 20
"""Digits of the version in the name of an entry."""
GO_ON = (
    "restore the journal from a copy, or rescue what is left with `catalograph salvage NEW_HOME`"
)
"""How to go on when the journal is damaged: the end of such messages."""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A log entry as it was read: its version, the Parquet files it adds, and its two hashes.

    ``log`` is None in entries of earlier versions. ``sha256`` is that of the entry's bytes.
    ``rows`` and ``milliseconds`` are what the entry says about its files: how many rows they have
    and when they were written; None if it does not say.
    """

    version: int
    files: tuple[str, ...]
    chain: str
    log: str | None
    sha256: str
    rows: int | None = None
    milliseconds: int | None = None


@dataclass(frozen=True, slots=True)
class AddedFile:
    """A Parquet file that an entry adds: its name, its size in bytes, when it was written, rows."""

    path: str
    size: int
    milliseconds: int
    rows: int

    def statistics(self) -> str:
        """Return what Delta Lake keeps of the content."""
        return json.dumps({"numRecords": self.rows})


@dataclass(frozen=True, slots=True)
class Head:
    """The newest version, the log hash after it, and the chain's hash at it."""

    version: int
    log: str
    chain: str

    def text(self) -> str:
        """Return the head as the text of its file, which carries its own checksum."""
        fields = {"version": self.version, "log": self.log, "chain": self.chain}
        return json.dumps({**fields, "sha256": _sha256(json.dumps(fields).encode())}) + "\n"

    def after(self, entry: LogEntry) -> Head:
        """Return the head after the next entry."""
        return Head(entry.version, log_hash(self.log, entry.sha256), entry.chain)

    @classmethod
    def parse(cls, text: str) -> Head | None:
        """Return the head of a text; None if the text is not, byte for byte, that of a head."""
        try:
            fields = json.loads(text)
            head = cls(int(fields["version"]), str(fields["log"]), str(fields["chain"]))
        except (ValueError, KeyError, TypeError):
            return None
        return head if head.text() == text else None


NO_ENTRY = Head(-1, "", "")
"""The head of a log without an entry."""


@dataclass
class LogCheck:
    """What reading the whole log found: the entries that can be read, and the problems.

    ``missing`` are the versions without an entry, and ``unreadable`` those whose entry cannot be
    read; an ``altered`` one can be read, but other bytes were written. ``head_is_current`` tells
    whether the head accounts for all entries.
    """

    entries: dict[int, LogEntry] = field(default_factory=dict)
    head: Head | None = None
    missing: list[int] = field(default_factory=list)
    unreadable: list[int] = field(default_factory=list)
    altered: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    head_is_current: bool = False


class JournalLog:
    """The log in a journal's folder, and its head.

    Appending to it takes two steps, with the writing of the entry itself in between:
    ``next_hashes`` and ``add_to_head``. The first time, this reads the whole log.
    """

    def __init__(self, journal: Path, go_on: str = GO_ON) -> None:
        self.folder = journal / "_delta_log"
        self.go_on = go_on
        self.head_path = journal / HEAD
        # The head of the log as this process has read or written it, so that a second append need
        # not read the whole log again: the store's lock keeps other writers out.
        self._known_head: Head | None = None

    def version(self) -> int:
        """Return the newest version, or -1 if there is none."""
        return max(self._versions(), default=-1)

    def paths(self) -> list[Path]:
        """Return the entries' files, oldest first."""
        return [self.path(version) for version in sorted(self._versions())]

    def _versions(self) -> list[int]:
        try:
            with os.scandir(self.folder) as entries:
                names = [entry.name for entry in entries]
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [int(name[:VERSION_DIGITS]) for name in names if _ENTRY_NAME.fullmatch(name)]

    def path(self, version: int) -> Path:
        """Return the file of a version's entry."""
        return self.folder / f"{version:0{VERSION_DIGITS}d}.json"

    def entry(self, path: Path) -> LogEntry:
        """Read an entry. Raises StoreDamagedError if it is not one that Catalograph wrote."""
        try:
            with open_named(path.parent, path.name) as stream:
                data = stream.read()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise StoreDamagedError(f"{path} cannot be read ({reason}): {self.go_on}") from None
        return parsed_entry(int(path.stem), data, str(path), self.go_on)

    def entries(self, since: int = -1) -> Iterator[LogEntry]:
        """Yield the entries after version ``since`` in order.

        Raises StoreDamagedError if one cannot be read, or if one is missing in between or, by what
        the head says, at the end.
        """
        # Before the entries: a writer beside this reader adds an entry first, and then to the head.
        head = self._readable_head()
        expected = since + 1
        for path in self.paths():
            if int(path.stem) <= since:
                continue
            if int(path.stem) != expected:
                raise StoreDamagedError(f"{self.folder} lacks version {expected}: {self.go_on}")
            yield self.entry(path)
            expected += 1
        if head is not None and head.version >= expected:
            raise StoreDamagedError(f"{self.folder} lacks version {expected}: {self.go_on}")

    def _readable_head(self) -> Head | None:
        """Return the head; None if there is none, or if it is damaged, which `verify` reports."""
        try:
            return self.head()
        except StoreDamagedError:
            return None

    def head(self) -> Head | None:
        """Return the head, or None if there is none yet. Raises StoreDamagedError."""
        try:
            with open_named(self.head_path.parent, HEAD) as stream:
                text = stream.read().decode()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError):
            text = ""
        head = Head.parse(text)
        if head is None:
            raise StoreDamagedError(
                f"{self.head_path} is damaged: if `catalograph verify` finds nothing else, remove "
                "the file, and the next write makes it anew"
            )
        return head

    def check(self) -> LogCheck:
        """Read the whole log, and compare every entry with what the others and the head say."""
        check = LogCheck()
        try:
            check.head = self.head()
        except StoreDamagedError as error:
            check.problems.append(str(error))
        paths = {int(path.stem): path for path in self.paths()}
        last = max([*paths, check.head.version if check.head else -1], default=-1)

        # None while a missing or unreadable entry leaves a hash unknown.
        chain: str | None = ""
        log: str | None = ""
        for version in range(last + 1):
            path = paths.get(version)
            entry = None if path is None else self._read(path, check)
            if entry is None:
                if path is None:
                    check.missing.append(version)
                    check.problems.append(f"{self.folder} lacks version {version}: {self.go_on}")
                else:
                    check.unreadable.append(version)
                chain, log = None, None
                continue
            check.entries[version] = entry
            if chain is not None and chained(chain, entry.files) != entry.chain:
                check.problems.append(
                    f"{path} does not follow from the entry before: one of the two was altered; "
                    f"{self.go_on}"
                )
                check.altered.append(version)
            elif entry.log is not None and log is not None and entry.log != log:
                check.problems.append(
                    f"{path} says that other bytes were written before it: "
                    f"{self.path(version - 1).name} was altered, or this one; {self.go_on}"
                )
                check.altered.append(version - 1)
            chain = entry.chain
            # From here on the entry's own word counts, so that one alteration is reported once.
            before = entry.log if entry.log is not None else log
            log = None if before is None else log_hash(before, entry.sha256)
        self._check_head(check, last, log)
        return check

    def _read(self, path: Path, check: LogCheck) -> LogEntry | None:
        try:
            return self.entry(path)
        except StoreDamagedError as error:
            check.problems.append(str(error))
            return None

    def _check_head(self, check: LogCheck, last: int, log: str | None) -> None:
        """Compare the end of the log with the head."""
        head = check.head
        if head is None:
            return
        # A writer that was killed between an entry and the head leaves a head that is one behind;
        # the next one to open the store brings it up to date.
        if head.version == last:
            check.head_is_current = log is not None and log == head.log
            if log is not None and not check.head_is_current:
                check.altered.append(last)
                check.problems.append(
                    f"{self.path(last)} is not what was written ({HEAD} has another hash): "
                    f"{self.go_on}"
                )
        elif head.version == last - 1:
            newest = check.entries.get(last)
            if newest is not None and newest.log is not None and newest.log != head.log:
                check.altered.append(last)
                check.problems.append(
                    f"{self.path(last)} does not follow from {HEAD}: one of the two was altered; "
                    f"{self.go_on}"
                )
        elif head.version < last:
            check.problems.append(
                f"{self.head_path} ends at version {head.version}, the log at {last}: a writer "
                "that is not Catalograph added entries, or an old copy was put back; "
                f"{self.go_on}"
            )

    def next_hashes(self, files: Sequence[str]) -> dict[str, str]:
        """Return the custom metadata of the next entry, which adds some files.

        Raises StoreDamagedError if the log is damaged: an entry on top of it would only hide that.
        """
        head = self.end()
        return {CHAIN: chained(head.chain, files), LOG: head.log}

    def write_entry(self, version: int, added: AddedFile, hashes: dict[str, str]) -> None:
        """Write the entry of the next version, which adds a file, as Delta Lake's protocol says.

        Raises StoreError if there is one: then a writer that is not Catalograph is at work.
        """
        path = self.path(version)
        if path.exists():
            raise StoreError(
                f"{path} is there already: a writer that is not Catalograph adds entries to "
                f"{self.folder}; end it, and run `catalograph verify`"
            )
        write_atomically(path, entry_bytes(added, hashes))

    def add_to_head(self, version: int) -> None:
        """Account for the entry of a version, which was just written and synced."""
        before = self._known_head
        if before is None or before.version != version - 1:
            raise ValueError(f"version {version} was added without next_hashes")
        head = before.after(self.entry(self.path(version)))
        write_atomically(self.head_path, head.text())
        self._known_head = head

    def forget(self) -> None:
        """Forget the log that was read: another one has taken its place."""
        self._known_head = None

    def update_head(self) -> None:
        """Bring the head up to date if a writer was killed before it, or if there is none yet.

        Raises StoreDamagedError if the log is damaged, and OSError if the head cannot be written.
        """
        newest = self.version()
        head = self.head()
        if newest < 0 or (head is not None and head.version == newest):
            return
        head = _head_of(self.checked())
        write_atomically(self.head_path, head.text())
        self._known_head = head

    def checked(self) -> LogCheck:
        """Check the whole log. Raises StoreDamagedError with its first problem."""
        check = self.check()
        if check.problems:
            raise StoreDamagedError(check.problems[0])
        return check

    def end(self) -> Head:
        """Return the head of the log as it is, whatever the file says.

        Raises StoreDamagedError if the log is damaged.
        """
        if self._known_head is None or self._known_head.version != self.version():
            self._known_head = _head_of(self.checked())
        return self._known_head


def entry_bytes(added: AddedFile, metadata: dict[str, str]) -> bytes:
    """Return an entry that adds a file, with custom metadata, as Delta Lake's protocol says."""
    info = {
        "timestamp": added.milliseconds,
        "operation": "WRITE",
        "operationParameters": {"mode": "Append", "partitionBy": "[]"},
        "engineInfo": "catalograph",
        **metadata,
    }
    add = {
        "path": added.path,
        "partitionValues": {},
        "size": added.size,
        "modificationTime": added.milliseconds,
        "dataChange": True,
        "stats": added.statistics(),
    }
    lines = [json.dumps({"commitInfo": info}), json.dumps({"add": add})]
    return ("\n".join(lines) + "\n").encode()


def parsed_entry(version: int, data: bytes, place: str, go_on: str = GO_ON) -> LogEntry:
    """Parse an entry that lies in ``place``.

    Raises StoreDamagedError, which ends in ``go_on``, if it is not one that Catalograph wrote.
    """
    try:
        # One JSON document per line.
        actions = [json.loads(line) for line in data.decode().splitlines() if line]
        added = [action["add"] for action in actions if "add" in action]
        for add in added:
            # A log must not lead to other files of the machine.
            if not _BATCH_NAME.fullmatch(add["path"]):
                raise ValueError(f"it names {shown(add['path'])} as a batch")
        info: dict[str, Any] = next(
            (action["commitInfo"] for action in actions if "commitInfo" in action), {}
        )
        log = info.get(LOG)
        return LogEntry(
            version=version,
            files=tuple(str(add["path"]) for add in added),
            chain=str(info.get(CHAIN, "")),
            log=None if log is None else str(log),
            sha256=_sha256(data),
            rows=_rows(added),
            milliseconds=_milliseconds(added),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = printable_line(str(error))[:MAX_REASON]
        raise StoreDamagedError(f"{place} is damaged ({reason}): {go_on}") from None


def _head_of(check: LogCheck) -> Head:
    """Return the head of a log without problems; its version is -1 if there is no entry."""
    head = NO_ENTRY
    for entry in check.entries.values():
        head = head.after(entry)
    return head


def chained(before: str, names: Sequence[str]) -> str:
    """Return the chain's hash after an entry that adds files, given the hash before it."""
    # A file's name is the sha256 of its content, so the names stand for the contents.
    digests = "".join(name.removesuffix(".parquet") for name in names)
    return _sha256((before + digests).encode())


def log_hash(before: str, entry_sha256: str) -> str:
    """Return the log hash after an entry, given the one before it and the hash of its bytes."""
    return _sha256((before + entry_sha256).encode())


def _rows(added: Sequence[dict[str, Any]]) -> int | None:
    counts = [json.loads(add["stats"])["numRecords"] for add in added if add.get("stats")]
    return sum(map(int, counts)) if counts else None


def _milliseconds(added: Sequence[dict[str, Any]]) -> int | None:
    times = [int(add["modificationTime"]) for add in added if add.get("modificationTime")]
    return max(times, default=None)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
