"""The journal: a Delta Lake table to which every batch of changes is appended before it is applied.

A graph file has no page checksums, and a torn write-ahead log may be dropped without an error. So
the journal, and not the graph, is what counts:

- Every batch is a Parquet file with page checksums that is named after its own sha256.
- delta-rs never calls fsync. A batch is acknowledged only when its Parquet file, its log entry and
  the folders of both are on the disk.
- Each log entry carries a hash of the entry before it, so a lost or altered entry is noticed.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kg.stores.failures import MAX_REASON, unavailable
from kg.stores.tables import ITEM_SCHEMA, STATEMENT_SCHEMA, Row
from schema.errors import StoreDamagedError
from schema.files import open_named, write_atomically
from schema.settings import shown

# An item and a statement both have a column "id": here the statement's is called "statement".
_STATEMENT_COLUMNS = ["statement" if name == "id" else name for name in STATEMENT_SCHEMA.names]
JOURNAL_SCHEMA = pa.schema(
    [
        pa.field("operation", pa.string()),
        *ITEM_SCHEMA,
        *map(pa.field, _STATEMENT_COLUMNS, STATEMENT_SCHEMA.types),
    ]
)
# By default Delta Lake deletes the log of versions that are older than a month.
KEEP_FOREVER = {
    "delta.logRetentionDuration": "interval 36500 days",
    "delta.deletedFileRetentionDuration": "interval 36500 days",
}
_BATCH_NAME = re.compile(r"[0-9a-f]{64}\.parquet")
CHAIN = "catalograph.chain"
"""Key of the chain's hash in the custom metadata of a log entry."""


class Journal:
    """An append-only table in a folder; version 0 is the first batch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "_delta_log"

    @property
    def version(self) -> int:
        """The newest version, or -1 if there is none."""
        entries = self._entries()
        return int(entries[-1].stem) if entries else -1

    def append(self, changes: pa.Table) -> int:
        """Write a batch durably; return its version.

        Raises StoreUnavailableError if the disk is full or refuses it, and StoreDamagedError if the
        log cannot be read. The journal is then as it was before, or else it has the batch.
        """
        from deltalake.exceptions import DeltaError

        try:
            with unavailable(self.folder):
                return self._append(changes)
        except DeltaError as error:
            reason = " ".join(str(error).split())[:MAX_REASON]
            raise StoreDamagedError(
                f"{self.log} is damaged ({reason}): restore the journal from a copy"
            ) from None

    def _append(self, changes: pa.Table) -> int:
        from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Schema
        from deltalake.transaction import AddAction, create_table_with_add_actions

        buffer = io.BytesIO()
        pq.write_table(changes, buffer, compression="zstd", write_page_checksum=True)
        data = buffer.getvalue()
        digest = hashlib.sha256(data).hexdigest()
        path = self.folder / f"{digest}.parquet"
        # The file comes before the log entry that names it: a writer killed in between leaves only
        # a file that nobody reads.
        write_atomically(path, data)

        # The store's lock keeps other writers out, so the version cannot change before the commit.
        version = self.version
        statistics = json.dumps({"numRecords": changes.num_rows})
        milliseconds = time.time_ns() // 1_000_000
        action = AddAction(path.name, len(data), {}, milliseconds, True, statistics)
        chain = _chained(self._chain_hash(version), [path.name])
        properties = CommitProperties(custom_metadata={CHAIN: chain})
        schema = Schema.from_arrow(JOURNAL_SCHEMA)
        if version < 0:
            create_table_with_add_actions(
                str(self.folder),
                schema,
                [action],
                mode="error",
                configuration=KEEP_FOREVER,
                commit_properties=properties,
            )
        else:
            DeltaTable(str(self.folder)).create_write_transaction(
                [action],
                "append",
                schema,
                commit_properties=properties,
                # Every entry is kept, since the chain begins with the first one; and nothing here
                # reads checkpoints.
                post_commithook_properties=PostCommitHookProperties(
                    create_checkpoint=False, cleanup_expired_logs=False
                ),
            )

        _sync(self._entry(version + 1))
        # A new file is durable only with the folder that names it, and the first batch creates the
        # folders, too.
        for folder in (self.log, self.folder, self.folder.parent):
            _sync(folder)
        return version + 1

    def read(self, since: int = -1) -> Iterator[tuple[int, pa.Table]]:
        """Yield the batches after version ``since`` in order, with their versions.

        Raises StoreDamagedError if a file is missing or altered.
        """
        for entry in self._entries():
            version = int(entry.stem)
            if version > since:
                for name in self._added_files(entry):
                    yield version, self._read_file(name)

    def verify(self) -> list[str]:
        """Check the log and all files; return the problems, one line each."""
        problems: list[str] = []
        chain = ""
        for version, entry in enumerate(self._entries()):
            if int(entry.stem) != version:
                # Without the missing entry, the chain of those that follow cannot be checked.
                return [*problems, f"{self.log} lacks version {version}: restore it from a copy"]
            try:
                names = self._added_files(entry)
                for name in names:
                    self._read_file(name)
                chain = _chained(chain, names)
                if chain != self._chain_hash(version):
                    problems.append(
                        f"{entry} does not follow from the entry before: "
                        "restore the journal from a copy"
                    )
            except StoreDamagedError as error:
                problems.append(str(error))
        return problems

    def _entry(self, version: int) -> Path:
        return self.log / f"{version:020d}.json"

    def _entries(self) -> list[Path]:
        """Return the log's entries, oldest first."""
        if not self.log.is_dir():
            return []
        return sorted(path for path in self.log.glob("*.json") if path.stem.isdigit())

    def _actions(self, entry: Path) -> list[dict[str, Any]]:
        """Return the actions of a log entry, which has one JSON document per line."""
        try:
            lines = entry.read_text(encoding="utf-8").splitlines()
            return [json.loads(line) for line in lines if line]
        except (OSError, ValueError):
            raise StoreDamagedError(
                f"{entry} is damaged: restore the journal from a copy"
            ) from None

    def _added_files(self, entry: Path) -> list[str]:
        """Return the names of the files that a log entry adds.

        Raises StoreDamagedError if one of them is not the name of a batch, since a log must not
        lead to other files of the machine.
        """
        try:
            names = [action["add"]["path"] for action in self._actions(entry) if "add" in action]
            damaged = [name for name in names if not _BATCH_NAME.fullmatch(name)]
        except (KeyError, TypeError):
            damaged = [None]
        if damaged:
            raise StoreDamagedError(
                f"{entry} is damaged (it names {shown(damaged[0])} as a batch): "
                "restore the journal from a copy"
            )
        return names

    def _chain_hash(self, version: int) -> str:
        """Return the chain's hash that a version's log entry carries; empty before the first."""
        if version < 0:
            return ""
        for action in self._actions(self._entry(version)):
            if "commitInfo" in action:
                return str(action["commitInfo"].get(CHAIN, ""))
        return ""

    def _read_file(self, name: str) -> pa.Table:
        path = self.folder / name
        try:
            with open_named(self.folder, name) as stream:
                data = stream.read()
        except OSError:
            raise StoreDamagedError(f"{path} is missing: restore the journal from a copy") from None
        if hashlib.sha256(data).hexdigest() != path.stem:
            raise StoreDamagedError(
                f"{path} is damaged (its sha256 is not its name): restore the journal from a copy"
            )
        return pq.read_table(io.BytesIO(data)).cast(JOURNAL_SCHEMA)


@dataclass(frozen=True, slots=True)
class JournalBatch:
    """A batch of the journal by operation: items put, statements put, statements retracted."""

    items: pa.Table
    statements: pa.Table
    retracted: list[str]

    @classmethod
    def from_table(cls, changes: pa.Table) -> JournalBatch:
        """Split a table in JOURNAL_SCHEMA by its operations."""
        operation = changes["operation"]
        items = changes.filter(pc.equal(operation, "item"))
        statements = changes.filter(pc.equal(operation, "statement"))
        retracted = changes.filter(pc.equal(operation, "retract"))
        return cls(
            items.select(ITEM_SCHEMA.names),
            statements.select(_STATEMENT_COLUMNS).rename_columns(STATEMENT_SCHEMA.names),
            retracted["statement"].to_pylist(),
        )


def changes_table(
    items: Sequence[Row] = (), statements: Sequence[Row] = (), retracted: Sequence[str] = ()
) -> pa.Table:
    """Return items put, statements put and ids of retracted statements in JOURNAL_SCHEMA."""
    rows: list[Row] = [{"operation": "item", **row} for row in items]
    for row in statements:
        renamed = {"statement" if name == "id" else name: value for name, value in row.items()}
        rows.append({"operation": "statement", **renamed})
    rows += [{"operation": "retract", "statement": id} for id in retracted]
    return pa.Table.from_pylist(rows, schema=JOURNAL_SCHEMA)


def _chained(before: str, names: Sequence[str]) -> str:
    """Return the chain's hash after an entry that adds files, given the hash before it."""
    # A file's name is the sha256 of its content, so the names stand for the contents.
    digests = "".join(name.removesuffix(".parquet") for name in names)
    return hashlib.sha256((before + digests).encode()).hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
