"""A journal that several homes share: a folder of an object store, which each of them follows.

The object store is what counts. A home has a copy of the journal beside its graph, byte for byte,
so that its history is read without a request, and a commit is one object that is created there:

1. The batch's Parquet file, under the sha256 of its content. A writer that is killed now leaves a
   file that nobody reads.
2. The log entry of the next version, *if there is none* (``If-None-Match: *``). From here on the
   batch is acknowledged. Of several writers one succeeds; the others fetch what it wrote, apply it
   to their graphs, work their changes out again, and try the version after it. An entry carries a
   random number of its writer's, so that one whose answer was lost is known when it is read back.
3. The head. What fails from now on does not fail the write.

**The head** is written by ``If-Match``, and only ever to a greater version. It may lag behind the
log, by one entry for each writer that was killed or cut off before the third step; the next commit
brings it up to date. A head that lags is no damage, and hides none:

- The log hash that the entries up to its version add up to has to be the head's, however many
  follow, and each of those says in its turn what bytes all entries before it have.
- So the only entries for which nothing in the store would account are the newest one, and the last
  ones if they are lost all together, as far as the head does not know them. For these the homes
  account: each copy has all entries that its home has written or read. A home refuses a log that
  ends before its copy does, and an entry that says other bytes than its copy has, and the home that
  wrote an acknowledged entry is always one of them.
- A head that is ahead of the log says that entries are lost, as in a folder.

**Turns.** A home that has lost to others several times in a row, because its writes take longer
than theirs, asks for a turn: an object names it, at which the others look once in a second while
they write, and then wait for a moment. Nothing but fairness depends on it.

A listing may be older than what it lists (S3's is not): where an entry is missing from it, or its
creation was refused, the entry itself is asked for.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from kg.stores.journal import (
    JOURNAL_SCHEMA,
    LINK,
    Batch,
    Journal,
    add_columns,
    create_table,
)
from kg.stores.journal_log import (
    GO_ON,
    HEAD,
    NO_ENTRY,
    VERSION_DIGITS,
    Head,
    LogEntry,
    chained,
    entry_bytes,
    parsed_entry,
)
from kg.stores.object_folder import ObjectFolder, StoredObject, TaggedObject
from kg.stores.tables import chunks
from schema.documents import parse_json_object
from schema.errors import StoreDamagedError, StoreError, UsageError
from schema.files import open_named, sync, write_atomically
from schema.progress import ProgressCallback, no_progress

WRITER = "catalograph.writer"
"""Key of a random number in the custom metadata of an entry, by which its writer knows it."""
LOG_FOLDER = "_delta_log"
MARKER = "_catalograph.json"
"""Name of the object that says that the folder holds a whole journal of Catalograph's."""
PROBE = "_probe.json"
"""Name of the object that shows whether the store creates an object only once."""
TURN = "_turn.json"
"""Name of the object that names the home whose turn it is; empty if none has asked for one."""
LOOK_SECONDS = 1.0
"""How often a writer looks whose turn it is."""
TURN_SECONDS = 5.0
"""How long it then waits at most: the home may have ended without giving the turn back."""
PARALLEL = 16
"""Objects that are asked for at the same time."""
HEAD_TRIES = 3
_ENTRY = re.compile(rf"{LOG_FOLDER}/([0-9]{{{VERSION_DIGITS}}})\.json")
_MAX_LINK = 4096


class _CheckAge:
    """How old what a reader of this process knows of a store's newest version may be, in seconds.

    Where readers open a home again and again, a request for each would be too slow.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._checked: dict[Path, float] = {}

    def is_young(self, folder: Path) -> bool:
        """Return whether somebody has asked lately; otherwise the caller does so now."""
        now = time.monotonic()
        is_young = now - self._checked.get(folder, float("-inf")) < self.seconds
        if not is_young:
            self._checked[folder] = now
        return is_young


_check_age = _CheckAge()


def ask_at_most_every(seconds: float) -> None:
    """Let the readers of this process ask a store for its newest version no more often than that.

    What this process writes they see at once.
    """
    _check_age.seconds = seconds


def link_of(journal: Path) -> str | None:
    """Return the URL of the journal of which a folder holds a copy; None if of none.

    Raises StoreDamagedError if the file that says so cannot be read.
    """
    try:
        with open_named(journal, LINK) as stream:
            return str(parse_json_object(stream.read(_MAX_LINK))["url"])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError) as error:
        raise StoreDamagedError(
            f"{journal / LINK} cannot be read ({error}): write "
            '{"url": "s3://BUCKET/PREFIX"} into it, with the URL of the home\'s journal'
        ) from None


def opened_journal(folder: Path) -> tuple[Journal, SharedJournal | None]:
    """Return the journal in a folder, and the shared one of which it is a copy, if it is one."""
    url = link_of(folder)
    if url is None:
        return Journal(folder), None
    copy = Journal(folder, f"run `catalograph rebuild`, which fetches the journal anew from {url}")
    return copy, SharedJournal(copy, url)


def entry_name(version: int) -> str:
    """Return the name of the object of a version's entry."""
    return f"{LOG_FOLDER}/{version:0{VERSION_DIGITS}d}.json"


@dataclass
class SharedCheck:
    """What checking a shared journal found: problems and remarks, one line each."""

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class SharedJournal:
    """The journal on an object store, and the copy of it in a home's folder.

    Only the holder of the store's lock calls what changes the copy: ``follow``, ``add`` and
    ``fetch_anew``.
    """

    def __init__(self, copy: Journal, url: str) -> None:
        self.copy = copy
        self.objects = ObjectFolder(url)
        self.url = self.objects.url
        self._expected = -1
        """A version that is known to be there, whatever a listing says."""
        self._sent = ""
        """The file that was sent last."""
        self._head_tag: str | None = None
        self._has_all_columns = False
        self._name = uuid.uuid4().hex.encode()
        self._has_turn = False
        self._looked = 0.0

    # Following

    def is_known_lately(self) -> bool:
        """Return whether a reader of this process has just asked for the newest version."""
        return _check_age.is_young(self.copy.folder)

    def newest(self) -> int:
        """Return the newest version in the store, -1 if there is none.

        Raises StoreDamagedError if the log there ends before the copy does.
        """
        known = self.copy.version
        # The newest one that is known is asked for as well: it has to be there.
        listed = self._versions(after=known - 1)
        if known >= 0 and known not in listed:
            try:
                self.objects.read(entry_name(known))
            except FileNotFoundError:
                raise StoreDamagedError(
                    f"{self.url} lacks version {known}, which {self.copy.folder} has a copy of: "
                    f"put back {entry_name(known)} from there"
                ) from None
        return max([known, self._expected, *listed])

    def _versions(self, after: int = -1) -> dict[int, StoredObject]:
        """Return the entries that are listed after a version."""
        name = entry_name(after) if after >= 0 else None
        found = {}
        for each in self.objects.list(LOG_FOLDER, after=name):
            match = _ENTRY.fullmatch(each.name)
            if match:
                found[int(match[1])] = each
        return found

    def follow(self) -> None:
        """Bring the copy up to date with the store.

        Raises StoreDamagedError if what is there does not follow from the copy, or is not whole;
        the versions before it have then been added. An interruption leaves a copy that ends early.
        """
        newest = self.newest()
        versions = range(self.copy.version + 1, newest + 1)
        if not versions:
            return
        head = self.copy.log.end()
        with ThreadPoolExecutor(PARALLEL) as pool:
            for some in chunks(list(versions), PARALLEL):
                for version, data in zip(some, pool.map(self._entry, some), strict=True):
                    entry, head = self._next(version, data, head)
                    files = dict(zip(entry.files, pool.map(self._file, entry.files), strict=True))
                    self.copy.adopt(version, data, files)

    def _entry(self, version: int) -> bytes:
        """Return the bytes of the entry of a version that has to be there."""
        for pause in (0.05, 0.5, None):
            try:
                return self.objects.read(entry_name(version))
            except FileNotFoundError:
                if pause is not None:
                    time.sleep(pause)
        raise StoreDamagedError(f"{self.url} lacks version {version}: {GO_ON}")

    def _next(self, version: int, data: bytes, head: Head) -> tuple[LogEntry, Head]:
        """Return the entry after a head, and the head after it. Raises StoreDamagedError."""
        place = f"{self.url}/{entry_name(version)}"
        entry = parsed_entry(version, data, place)
        is_other = entry.log is not None and entry.log != head.log
        if is_other or entry.chain != chained(head.chain, entry.files):
            raise StoreDamagedError(
                f"{place} does not follow from version {version - 1} as {self.copy.folder} has it: "
                f"one of the two was altered, or it is another catalogue's; {GO_ON}"
            )
        return entry, head.after(entry)

    def _file(self, name: str) -> bytes:
        """Return the bytes of a Parquet file, which are those of its name."""
        try:
            data = self.objects.read(name)
        except FileNotFoundError:
            raise StoreDamagedError(f"{self.url} lacks {name}: {GO_ON}") from None
        if not _is_whole(name, data):
            raise StoreDamagedError(
                f"{self.url}/{name} is damaged (its sha256 is not its name): {GO_ON}"
            )
        return data

    # Writing

    def add(self, batch: Batch) -> int | None:
        """Add a batch as the version after the copy's; return that version.

        Returns None, and adds nothing, if another writer was first: ``follow`` then fetches what
        it wrote. Raises StoreDamagedError if the copy is damaged, before anything is written, and
        StoreUnavailableError; the journal is then as it was before, or else it has the batch.
        """
        if self.copy.version >= 0 and not self._add_columns():
            return None
        version = self.copy.version + 1
        metadata = self._metadata([batch.name])
        if self._sent != batch.name:
            self.objects.write(batch.name, batch.data)
            self._sent = batch.name
        added = batch.added_now()
        if version:
            entry = entry_bytes(added, metadata)
        else:
            with tempfile.TemporaryDirectory(prefix="catalograph-") as folder:
                create_table(Path(folder), added, metadata)
                entry = (Path(folder) / entry_name(0)).read_bytes()
        if not self.objects.create(entry_name(version), entry):
            self._expected = version
            return None
        self.copy.adopt(version, entry, {batch.name: batch.data})
        self._advance_head(self.copy.log.end())
        return version

    def _metadata(self, files: Sequence[str]) -> dict[str, str]:
        return {**self.copy.log.next_hashes(files), WRITER: uuid.uuid4().hex}

    def _add_columns(self) -> bool:
        """Add the columns that an earlier version of Catalograph did not know.

        That is a version of its own. Returns False if another writer was first.
        """
        if self._has_all_columns or _columns(self.copy) >= set(JOURNAL_SCHEMA.names):
            self._has_all_columns = True
            return True
        from deltalake import DeltaTable

        version = self.copy.version + 1
        with tempfile.TemporaryDirectory(prefix="catalograph-") as name:
            folder = Path(name)
            shutil.copytree(self.copy.log.folder, folder / LOG_FOLDER)
            add_columns(DeltaTable(str(folder)), self._metadata([]))
            entry = (folder / entry_name(version)).read_bytes()
        if not self.objects.create(entry_name(version), entry):
            self._expected = version
            return False
        self.copy.adopt(version, entry, {})
        self._has_all_columns = True
        return True

    def _advance_head(self, head: Head) -> None:
        """Write the head, unless a later one is there; it may also stay as it is, see above."""
        data = head.text().encode()
        with suppress(StoreError):
            for _ in range(HEAD_TRIES):
                if self._head_tag is not None:
                    self._head_tag = self.objects.replace(HEAD, data, self._head_tag)
                    if self._head_tag is not None:
                        return
                try:
                    found = self.objects.read_tagged(HEAD)
                except FileNotFoundError:
                    self._head_tag = self.objects.replace(HEAD, data, None)
                    if self._head_tag is not None:
                        return
                    continue
                other = Head.parse(found.data.decode(errors="replace"))
                if other is None or other.version >= head.version:
                    # A damaged one is kept, for `verify` to report.
                    return
                self._head_tag = found.tag

    # Turns

    def ask_for_turn(self) -> None:
        """Ask other writers to wait, unless somebody else has."""
        if self._has_turn:
            return
        with suppress(StoreError):
            turn = self._turn()
            if not turn.data:
                self._has_turn = self.objects.replace(TURN, self._name, turn.tag) is not None

    def end_turn(self) -> None:
        """Let the others write again."""
        if self._has_turn:
            self._has_turn = False
            with suppress(StoreError):
                self.objects.write(TURN, b"")

    def give_way(self) -> None:
        """Wait for a moment if another home has asked for a turn."""
        if self._has_turn or time.monotonic() - self._looked < LOOK_SECONDS:
            return
        with suppress(StoreError):
            waited_for = self._turn().data
            deadline = time.monotonic() + TURN_SECONDS
            while waited_for and self._turn().data == waited_for:
                if time.monotonic() > deadline:
                    self.objects.write(TURN, b"")
                    break
                time.sleep(0.05)
        self._looked = time.monotonic()

    def _turn(self) -> TaggedObject:
        try:
            return self.objects.read_tagged(TURN)
        except FileNotFoundError:
            return TaggedObject(b"", None)

    # Checking

    def check(
        self, *, quick: bool = False, progress: ProgressCallback = no_progress
    ) -> SharedCheck:
        """Read all objects, and compare them with the copy and with each other.

        ``quick`` compares names and sizes alone. The copy itself is checked elsewhere. Raises
        StoreUnavailableError if the store does not answer.
        """
        check = SharedCheck()
        there = {each.name: each for each in self.objects.list()}
        known = self.copy.version
        entries = filter(None, map(_ENTRY.fullmatch, there))
        newest = max([known, *(int(found[1]) for found in entries)])
        head = NO_ENTRY
        heads: dict[int, Head] = {}
        with ThreadPoolExecutor(PARALLEL) as pool:
            for some in chunks(list(range(newest + 1)), PARALLEL):
                found = pool.map(lambda version: self._checked_entry(version, there, quick), some)
                for version, data in zip(some, found, strict=True):
                    if isinstance(data, str):
                        check.problems.append(data)
                        return check
                    try:
                        entry, head = self._next(version, data, head)
                    except StoreDamagedError as error:
                        check.problems.append(str(error))
                        return check
                    heads[version] = head
                    problems = pool.map(
                        lambda name: self._file_problem(name, there, quick), entry.files
                    )
                    check.problems += filter(None, problems)
                    progress(version + 1, newest + 1)
        self._check_head(check, heads, newest)
        if newest > known:
            check.notes.append(
                f"{self.url} has {newest - known} versions more than {self.copy.folder}: the next "
                "command fetches them"
            )
        return check

    def _checked_entry(
        self, version: int, there: dict[str, StoredObject], quick: bool
    ) -> bytes | str:
        """Return the bytes of an entry, or what is wrong with it."""
        name = entry_name(version)
        path = self.copy.log.path(version)
        copied = path.read_bytes() if path.is_file() else None
        put_back = f"put it back from {path}" if copied is not None else GO_ON
        if name not in there:
            with suppress(FileNotFoundError):
                there[name] = StoredObject(name, len(self.objects.read(name)))
        if name not in there:
            return f"{self.url} lacks version {version}: {put_back}"
        if quick and copied is not None:
            is_same = there[name].size == len(copied)
            data = copied
        else:
            data = self.objects.read(name)
            is_same = copied is None or data == copied
        if not is_same:
            return f"{self.url}/{name} is not what was written: {put_back}"
        return data

    def _file_problem(self, name: str, there: dict[str, StoredObject], quick: bool) -> str | None:
        """Return what is wrong with a Parquet file of the store; None if nothing is."""
        path = self.copy.folder / name
        put_back = f"put it back from {path}" if path.is_file() else GO_ON
        found = there.get(name)
        if found is None:
            return f"{self.url} lacks {name}: {put_back}"
        if quick and path.is_file():
            is_whole = found.size == path.stat().st_size
        else:
            is_whole = _is_whole(name, self.objects.read(name))
        return None if is_whole else f"{self.url}/{name} is not what was written: {put_back}"

    def _check_head(self, check: SharedCheck, heads: dict[int, Head], newest: int) -> None:
        try:
            head = Head.parse(self.objects.read(HEAD).decode(errors="replace"))
        except FileNotFoundError:
            if newest >= 0:
                check.notes.append(f"{self.url} has no {HEAD} yet: the next write makes it")
            return
        if head is None:
            check.problems.append(
                f"{self.url}/{HEAD} is damaged: if `catalograph verify` finds nothing else, remove "
                "it, and the next write makes it anew"
            )
        elif head.version > newest:
            check.problems.append(
                f"{self.url} lacks version {newest + 1} to {head.version}, which {HEAD} knows: put "
                f"them back from the copy in another home that follows it, or {GO_ON}"
            )
        elif head != heads[head.version]:
            check.problems.append(
                f"{self.url}/{HEAD} has another hash than the log at version {head.version}: one "
                f"of the two was altered; {GO_ON}"
            )
        elif head.version < newest:
            check.notes.append(
                f"{self.url}/{HEAD} is {newest - head.version} versions behind the log: a write is "
                "at work or was cut off, and the next one makes up for it"
            )

    def fetch_anew(self) -> Path | None:
        """Fetch the whole journal if its copy is damaged; return where that was moved to.

        Raises StoreDamagedError, and keeps the copy, if the store's journal is not whole either.
        """
        if not self.copy.verify():
            self.follow()
            return None
        folder = self.copy.folder
        fresh = folder.with_name(f"{folder.name}.writing")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        try:
            SharedJournal(Journal(fresh, self.copy.go_on), self.url).follow()
            write_link(fresh, self.url)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            raise
        aside = folder.with_name(f"{folder.name}.damaged-{int(time.time())}")
        folder.rename(aside)
        fresh.rename(folder)
        sync(folder.parent)
        self.copy.log.forget()
        return aside


def _is_whole(name: str, data: bytes) -> bool:
    return hashlib.sha256(data).hexdigest() == Path(name).stem


def _columns(journal: Journal) -> set[str]:
    """Return the columns of a journal's table, as the last entry that names them says."""
    columns: set[str] = set()
    for path in journal.log.paths():
        data = path.read_bytes()
        if b'"metaData"' in data:
            for line in data.decode().splitlines():
                metadata = json.loads(line).get("metaData")
                if metadata is not None:
                    fields = json.loads(metadata["schemaString"])["fields"]
                    columns = {each["name"] for each in fields}
    return columns


def write_link(journal: Path, url: str) -> None:
    """Let a folder be the copy of a shared journal."""
    write_atomically(journal / LINK, json.dumps({"url": url}) + "\n")
    sync(journal)


# Sharing


def share(journal: Journal, url: str, progress: ProgressCallback = no_progress) -> int:
    """Let a journal be the copy of the one in a folder of an object store; return what it sent.

    What the store lacks of the journal is sent there and read back; what it has more is fetched
    when the copy is used. The caller holds the store's lock. Raises UsageError if what is there is
    no beginning or continuation of the journal, or if the store cannot tell two writers apart, and
    StoreDamagedError if the journal is damaged.
    """
    shared = SharedJournal(journal, url)
    problems = journal.verify()
    if problems:
        raise StoreDamagedError(f"the journal stays where it is: {problems[0]}")
    check_creates_once(shared.objects)
    there = sorted(shared._versions())
    if there != list(range(len(there))):
        raise StoreDamagedError(
            f"the log in {shared.url} has gaps: put back the entries that it lacks, or name "
            "another folder"
        )
    has_marker = exists(shared.objects, MARKER)
    if there and not has_marker and journal.version < there[-1]:
        raise UsageError(
            f"{shared.url} holds a journal that is not all there, or a table of another program: "
            "end the `init --journal` that sends it there, or name another folder"
        )
    common = min(journal.version, len(there) - 1)
    if common >= 0 and not _is_same_at(shared, common):
        raise UsageError(
            f"{shared.url} holds the journal of another catalogue: name another folder, or make a "
            "new home for it with `catalograph --home NEW init --journal`"
        )
    sent = _send(shared, range(len(there), journal.version + 1), progress)
    if sent:
        found = shared.check()
        if found.problems:
            raise StoreError(f"the journal stays where it is: {found.problems[0]}")
    if not has_marker:
        shared.objects.create(MARKER, b'{"format": 1}\n')
    journal.folder.mkdir(parents=True, exist_ok=True)
    write_link(journal.folder, shared.url)
    return sent


def _send(shared: SharedJournal, versions: range, progress: ProgressCallback) -> int:
    """Send versions of the copy to the store: first the files, then the entries, in order."""
    log = shared.copy.log
    names = [name for version in versions for name in log.entry(log.path(version)).files]

    def send(name: str) -> None:
        shared.objects.write(name, (shared.copy.folder / name).read_bytes())

    with ThreadPoolExecutor(PARALLEL) as pool:
        for number, _ in enumerate(pool.map(send, names), start=1):
            progress(number, len(names))
    for version in versions:
        if not shared.objects.create(entry_name(version), log.path(version).read_bytes()):
            raise UsageError(
                f"{shared.url} was written to by another catalogue meanwhile: name another folder"
            )
    if versions:
        shared._advance_head(log.end())
    return len(versions)


def _is_same_at(shared: SharedJournal, version: int) -> bool:
    """Return whether the store has the same entry as the copy, and so the same ones before it."""
    log = shared.copy.log
    entry = log.entry(log.path(version))
    # An entry that says what bytes those before it have stands for them.
    first = version if entry.log is not None else 0
    return all(
        shared.objects.read(entry_name(each)) == log.path(each).read_bytes()
        for each in range(first, version + 1)
    )


def exists(objects: ObjectFolder, name: str) -> bool:
    """Return whether there is an object of a name."""
    try:
        objects.read(name)
    except FileNotFoundError:
        return False
    return True


def check_creates_once(objects: ObjectFolder) -> None:
    """Raise UsageError if the store would let two writers write the same entry.

    Raises StoreUnavailableError if it does not answer or refuses to.
    """
    objects.create(PROBE, uuid.uuid4().hex.encode())
    if objects.create(PROBE, uuid.uuid4().hex.encode()):
        raise UsageError(
            f"the server of {objects.url} does not know If-None-Match, so that two writers could "
            "write over each other: use one that does (Amazon S3, MinIO, Ceph, Cloudflare R2)"
        )
