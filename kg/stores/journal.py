"""The journal: a Delta Lake table to which every batch of changes is appended before it is applied.

A graph file has no page checksums, and a torn write-ahead log may be dropped without an error. So
the journal, and not the graph, is what counts:

- Every batch is a Parquet file with page checksums that is named after its own sha256.
- delta-rs never calls fsync. A batch is acknowledged only when its Parquet file, its log entry and
  the folders of both are on the disk.
- delta-rs creates the table and changes its schema. An entry that adds a file is written here: to
  append one, delta-rs reads the whole log, which took 0.4 s after a thousand entries.
- Every byte of the log is accounted for, so a lost or altered entry is noticed
  (:mod:`kg.stores.journal_log`).
- A journal may be shared by several homes on an object store. The folder then holds a copy of it,
  byte for byte, and the store is what counts (:mod:`kg.stores.shared_journal`).
"""

from __future__ import annotations

import hashlib
import io
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kg.stores.failures import MAX_REASON, store_error, unavailable
from kg.stores.journal_log import GO_ON, AddedFile, JournalLog
from kg.stores.merge import Changes
from kg.stores.tables import ITEM_SCHEMA, STATEMENT_SCHEMA, Row
from schema.errors import StoreDamagedError, StoreError, StoreUnavailableError
from schema.files import open_named, sync, write_atomically
from schema.terms import now

if TYPE_CHECKING:
    from deltalake import DeltaTable, PostCommitHookProperties

# An item and a statement both have a column "id": here the statement's is called "statement". The
# other columns that both have are the same ones.
_STATEMENT_COLUMNS = ["statement" if name == "id" else name for name in STATEMENT_SCHEMA.names]
JOURNAL_SCHEMA = pa.schema(
    [
        pa.field("operation", pa.string()),
        *(field for field in ITEM_SCHEMA if field.name not in _STATEMENT_COLUMNS),
        *map(pa.field, _STATEMENT_COLUMNS, STATEMENT_SCHEMA.types),
        pa.field("run", pa.string()),
        pa.field("at", pa.string()),
    ]
)
"""The changes of a batch: what became of each item and statement.

``operation`` is one of Operation, ``run`` and ``at`` are the run that made the change and its time
in ISO 8601.
"""


_REVISION = re.compile(r"journal version (\d{1,18}),")


class Operation(StrEnum):
    """What a row of the journal does."""

    ITEM = "item"
    """Puts an item."""
    STATEMENT = "statement"
    """Puts a statement."""
    RETRACT = "retract"
    """Removes a statement, whose item earlier versions of Catalograph left out."""
    DELETE = "delete"
    """Removes an item, whose statements the same batch removes."""


# By default Delta Lake deletes the log of versions that are older than a month.
KEEP_FOREVER = {
    "delta.logRetentionDuration": "interval 36500 days",
    "delta.deletedFileRetentionDuration": "interval 36500 days",
}


LINK = "_shared.json"
"""Name of the file in a journal's folder that says of which shared journal it is a copy."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch of changes as a Parquet file: its name, its bytes, and the number of its rows."""

    name: str
    data: bytes
    rows: int

    @classmethod
    def of(cls, changes: pa.Table) -> Batch:
        """Write changes in JOURNAL_SCHEMA into a file that is named after its sha256."""
        data = bytes_of_changes(changes)
        return cls(f"{hashlib.sha256(data).hexdigest()}.parquet", data, changes.num_rows)

    def added_now(self) -> AddedFile:
        """Return what an entry that adds the file now says of it."""
        return AddedFile(self.name, len(self.data), time.time_ns() // 1_000_000, self.rows)


class Journal:
    """An append-only table in a folder; version 0 is the first batch.

    ``go_on`` is how to go on if it is damaged: the end of such messages.
    """

    def __init__(self, folder: Path, go_on: str = GO_ON) -> None:
        self.folder = folder
        self.go_on = go_on
        self.log = JournalLog(folder, go_on)
        self._has_all_columns = False

    @property
    def version(self) -> int:
        """The newest version, or -1 if there is none."""
        return self.log.version()

    @property
    def revision(self) -> str:
        """The newest version, with a hash that stands for all batches up to it."""
        version = self.version
        if version < 0:
            return "journal version -1"
        return self._revision_at(version)

    def _revision_at(self, version: int) -> str:
        return f"journal version {version}, {self.log.entry(self.log.path(version)).chain[:16]}"

    def version_at(self, revision: str) -> int | None:
        """Return the version at a revision of this journal; None if it had no such revision."""
        found = _REVISION.match(revision)
        version = int(found[1]) if found else -1
        if not 0 <= version <= self.version or self._revision_at(version) != revision:
            return None
        return version

    def append(self, changes: pa.Table) -> int:
        """Add changes in JOURNAL_SCHEMA as a batch, see :meth:`add`."""
        return self.add(Batch.of(changes))

    def add(self, batch: Batch) -> int:
        """Write a batch durably; return its version.

        Raises StoreDamagedError if the log is damaged, before anything is written, and
        StoreUnavailableError if the disk is full or refuses it: the journal is then as it was
        before, or else it has the batch.
        """
        with unavailable(self.folder):
            return self._add(batch)

    def _add(self, batch: Batch) -> int:
        # The store's lock keeps other writers out, so the version cannot change before the commit.
        if self.version >= 0 and not self._has_all_columns:
            self._add_columns()
        self._has_all_columns = True
        version = self.version + 1
        hashes = self.log.next_hashes([batch.name])
        # The file comes before the log entry that names it: a writer killed in between leaves only
        # a file that nobody reads.
        write_atomically(self.folder / batch.name, batch.data)
        added = batch.added_now()
        if version == 0:
            self._create(added, hashes)
        else:
            self.log.write_entry(version, added, hashes)
        self._acknowledge(version)
        return version

    def _acknowledge(self, version: int) -> None:
        """Make a version's log entry durable, and account for it in the head."""
        sync(self.log.path(version))
        self.log.add_to_head(version)
        # A new file is durable only with the folder that names it, and the first batch creates the
        # folders, too.
        for folder in (self.log.folder, self.folder, self.folder.parent):
            sync(folder)

    def adopt(self, version: int, entry: bytes, files: Mapping[str, bytes]) -> None:
        """Add the next version as it is in the journal of which this one is a copy.

        Its files, by their names, and its hashes have been checked. Raises StoreUnavailableError if
        the disk is full or refuses it, and StoreDamagedError if this log is damaged.
        """
        with unavailable(self.folder):
            self.log.end()
            for name, data in files.items():
                write_atomically(self.folder / name, data)
            write_atomically(self.log.path(version), entry)
            # Only so that the head is never ahead: what the copy loses is fetched again.
            sync(self.log.folder)
            self.log.add_to_head(version)

    def _add_columns(self) -> None:
        """Add the columns to the table's schema that an earlier version did not know.

        That is a version of its own, without a batch.
        """
        from deltalake import DeltaTable

        hashes = self.log.next_hashes([])
        version = self.version + 1
        with self._delta_errors(version):
            has_added = add_columns(DeltaTable(str(self.folder)), hashes)
        if has_added:
            self._acknowledge(version)

    def _create(self, added: AddedFile, hashes: dict[str, str]) -> None:
        """Create the table with its first file."""
        with self._delta_errors(0):
            create_table(self.folder, added, hashes)

    @contextmanager
    def _delta_errors(self, version: int) -> Iterator[None]:
        """Raise delta-rs's errors as StoreError about adding a version."""
        from deltalake.exceptions import DeltaError

        try:
            yield
        except DeltaError as error:
            passing = store_error(error, self.log.folder, ())
            if isinstance(passing, StoreUnavailableError):
                raise passing from None
            reason = " ".join(str(error).split())[:MAX_REASON]
            raise StoreError(
                f"version {version} cannot be added to {self.log.folder} ({reason}): "
                "check the folder and free space, and run `catalograph verify`"
            ) from None

    def read(self, since: int = -1) -> Iterator[tuple[int, pa.Table]]:
        """Yield the batches after version ``since`` in order, with their versions.

        A version that only added columns has an empty one.
        Raises StoreDamagedError if a file or a log entry is missing or altered.
        """
        for entry in self.log.entries(since):
            if not entry.files:
                yield entry.version, JOURNAL_SCHEMA.empty_table()
            for name in entry.files:
                yield entry.version, self.read_file(name)

    def time_of(self, version: int) -> str:
        """Return when a version was written, in ISO 8601; empty if its log entry lacks it."""
        milliseconds = self.log.entry(self.log.path(version)).milliseconds
        if milliseconds is None:
            return ""
        return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")

    def verify(self) -> list[str]:
        """Check the log and all files; return the problems, one line each."""
        check = self.log.check()
        problems = list(check.problems)
        for entry in check.entries.values():
            for name in entry.files:
                try:
                    self.check_file(name)
                except StoreDamagedError as error:
                    problems.append(str(error))
        return problems

    def other_files(self) -> list[Path]:
        """Return the files of the folder that are neither log entries nor the head or the link.

        These are the Parquet files, and whatever else lies there.
        """
        log = {*self.log.paths(), self.log.head_path, self.folder / LINK}
        paths = [*self.folder.glob("*"), *self.log.folder.glob("*")]
        return sorted(path for path in paths if path not in log and path != self.log.folder)

    def check_file(self, name: str) -> None:
        """Raise StoreDamagedError if a Parquet file is missing or altered."""
        self._whole(self.folder / name)

    def read_file(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Read some columns of a Parquet file, or all of them.

        Those that an earlier version did not know are empty. Raises StoreDamagedError if the file
        is missing or altered.
        """
        names = JOURNAL_SCHEMA.names if columns is None else columns
        return changes_from_bytes(self._whole(self.folder / name), names)

    def _whole(self, path: Path) -> bytes:
        """Read a file whose name is the hash of its content."""
        try:
            with open_named(path.parent, path.name) as stream:
                data = stream.read()
        except OSError as error:
            raise StoreDamagedError(
                f"{path} cannot be read ({error.strerror}): {self.go_on}"
            ) from None
        if hashlib.sha256(data).hexdigest() != path.stem:
            raise StoreDamagedError(f"{path} is damaged (its sha256 is not its name): {self.go_on}")
        return data


@dataclass(frozen=True, slots=True)
class JournalBatch:
    """A batch of the journal by operation.

    Attributes:
        items: items put, in ITEM_SCHEMA
        statements: statements put, in STATEMENT_SCHEMA
        retracted: ids of statements removed
        deleted: ids of items removed
    """

    items: pa.Table
    statements: pa.Table
    retracted: list[str]
    deleted: list[str]

    @classmethod
    def from_table(cls, changes: pa.Table) -> JournalBatch:
        """Split a table in JOURNAL_SCHEMA by its operations."""
        items = _rows_of(Operation.ITEM, changes)
        statements = _rows_of(Operation.STATEMENT, changes)
        retracted = _rows_of(Operation.RETRACT, changes)
        deleted = _rows_of(Operation.DELETE, changes)
        return cls(
            items.select(ITEM_SCHEMA.names),
            statements.select(_STATEMENT_COLUMNS).rename_columns(STATEMENT_SCHEMA.names),
            retracted["statement"].to_pylist(),
            deleted["id"].to_pylist(),
        )


def bytes_of_changes(changes: pa.Table) -> bytes:
    """Return a batch in JOURNAL_SCHEMA as a Parquet file."""
    buffer = io.BytesIO()
    pq.write_table(changes, buffer, compression="zstd", write_page_checksum=True)
    return buffer.getvalue()


def changes_from_bytes(data: bytes, names: Sequence[str] = JOURNAL_SCHEMA.names) -> pa.Table:
    """Read some columns of a Parquet file of changes, or all of them.

    Those that an earlier version did not know are empty.
    """
    file = pq.ParquetFile(io.BytesIO(data))
    known = set(file.schema_arrow.names)
    table = file.read([each for each in names if each in known])
    for each in names:
        if each not in known:
            nulls = pa.nulls(len(table), JOURNAL_SCHEMA.field(each).type)
            table = table.append_column(each, nulls)
    return table.select(names).cast(pa.schema([JOURNAL_SCHEMA.field(each) for each in names]))


def create_table(folder: Path, added: AddedFile, metadata: dict[str, str]) -> None:
    """Create a journal's table with its first file; raises DeltaError."""
    from deltalake import CommitProperties, Schema
    from deltalake.transaction import AddAction, create_table_with_add_actions

    action = AddAction(added.path, added.size, {}, added.milliseconds, True, added.statistics())
    create_table_with_add_actions(
        str(folder),
        Schema.from_arrow(JOURNAL_SCHEMA),
        [action],
        mode="error",
        configuration=KEEP_FOREVER,
        commit_properties=CommitProperties(custom_metadata=metadata),
    )


def add_columns(table: DeltaTable, metadata: dict[str, str]) -> bool:
    """Add the columns to a table that it lacks; return whether it lacked one.

    Raises DeltaError.
    """
    from deltalake import CommitProperties, Field
    from deltalake.schema import PrimitiveType

    known = {field.name for field in table.schema().fields}
    lacking = [
        Field(field.name, PrimitiveType(str(field.type)))
        for field in JOURNAL_SCHEMA
        if field.name not in known
    ]
    if lacking:
        table.alter.add_columns(
            lacking,
            commit_properties=CommitProperties(custom_metadata=metadata),
            post_commithook_properties=_keep_everything(),
        )
    return bool(lacking)


def _keep_everything() -> PostCommitHookProperties:
    """Return that no log entry is removed, since the chain begins with the first one.

    Nothing here reads checkpoints, so none is made.
    """
    from deltalake import PostCommitHookProperties

    return PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)


@dataclass(frozen=True, slots=True)
class ChangeOrigin:
    """The run that makes changes, and its time in ISO 8601."""

    run: str = ""
    at: str = ""

    @classmethod
    def of(cls, run: str) -> ChangeOrigin:
        """Return that a run makes changes now."""
        return cls(run, now())


def _rows_of(operation: Operation, changes: pa.Table) -> pa.Table:
    """Return the rows of an operation, which usually stand together, so that none is copied."""
    is_wanted = pc.equal(changes["operation"], operation)
    count = pc.sum(is_wanted, min_count=0).as_py()
    start = max(0, pc.index(is_wanted, True).as_py())
    rows = changes.slice(start, count)
    if pc.all(is_wanted.slice(start, count), min_count=0).as_py():
        return rows
    return changes.filter(is_wanted)


def new_rows_table(
    items: pa.Table, statements: pa.Table, origin: ChangeOrigin = ChangeOrigin()
) -> pa.Table:
    """Return items put and statements put in JOURNAL_SCHEMA, as :func:`changes_table` does."""
    parts = []
    renamed = statements.rename_columns(_STATEMENT_COLUMNS)
    for operation, table in ((Operation.ITEM, items), (Operation.STATEMENT, renamed)):
        columns = {name: table[name] for name in table.column_names}
        for name, text in (
            ("operation", str(operation)),
            ("run", origin.run),
            ("at", origin.at),
        ):
            columns[name] = pa.repeat(pa.scalar(text), table.num_rows)
        for field in JOURNAL_SCHEMA:
            columns.setdefault(field.name, pa.nulls(table.num_rows, field.type))
        parts.append(pa.table({name: columns[name] for name in JOURNAL_SCHEMA.names}))
    return pa.concat_tables(parts).cast(JOURNAL_SCHEMA)


def changes_table(changes: Changes, origin: ChangeOrigin = ChangeOrigin()) -> pa.Table:
    """Return changes in JOURNAL_SCHEMA."""
    rows: list[Row] = [{"operation": Operation.ITEM, **row} for row in changes.items]
    for row in changes.statements:
        renamed = {"statement" if name == "id" else name: value for name, value in row.items()}
        rows.append({"operation": Operation.STATEMENT, **renamed})
    rows += [
        {"operation": Operation.RETRACT, "statement": id, "item": item}
        for id, item in changes.retracted.items()
    ]
    rows += [{"operation": Operation.DELETE, "id": id} for id in changes.deleted]
    for row in rows:
        row["run"] = origin.run
        row["at"] = origin.at
    return pa.Table.from_pylist(rows, schema=JOURNAL_SCHEMA)
