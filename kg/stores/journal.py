"""The journal: a Delta Lake table to which every batch of changes is appended before the graph sees it.

delta-rs never fsyncs, so a batch is acknowledged only once its Parquet file, its log entry and both folders are on the disk. Each log entry
carries the hash of the entry before, so that a lost or altered one shows.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from kg.stores.tables import ITEM_SCHEMA, STATEMENT_SCHEMA
from schema.errors import StoreDamagedError
from schema.files import write_atomically

OPERATION = pa.field("operation", pa.string())
JOURNAL_SCHEMA = pa.schema(
    [OPERATION, *ITEM_SCHEMA]
    + [pa.field(f.name if f.name != "id" else "statement", f.type) for f in STATEMENT_SCHEMA]
)
ENDLESS = {
    "delta.logRetentionDuration": "interval 36500 days",
    "delta.deletedFileRetentionDuration": "interval 36500 days",
}


class Journal:
    """An append-only table in a folder; version 0 is the first batch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "_delta_log"

    @property
    def version(self) -> int:
        """The newest version, -1 where there is none."""
        entries = self._entries()
        return int(entries[-1].stem) if entries else -1

    def append(self, changes: pa.Table) -> int:
        """Write a batch durably; its version."""
        from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Schema
        from deltalake.transaction import AddAction, create_table_with_add_actions

        buffer = io.BytesIO()
        pq.write_table(changes, buffer, compression="zstd", write_page_checksum=True)
        data = buffer.getvalue()
        digest = hashlib.sha256(data).hexdigest()
        path = self.folder / f"{digest}.parquet"
        write_atomically(path, data)
        stats = json.dumps({"numRecords": changes.num_rows})
        action = AddAction(path.name, len(data), {}, time.time_ns() // 1_000_000, True, stats)
        version = self.version
        link = hashlib.sha256((self._link(version) + digest).encode()).hexdigest()
        properties = CommitProperties(custom_metadata={"catalograph.chain": link})
        schema = Schema.from_arrow(JOURNAL_SCHEMA)
        if version < 0:
            create_table_with_add_actions(
                str(self.folder),
                schema,
                [action],
                mode="error",
                configuration=ENDLESS,
                commit_properties=properties,
            )
        else:
            hooks = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)
            table = DeltaTable(str(self.folder))
            table.create_write_transaction(
                [action],
                "append",
                schema,
                commit_properties=properties,
                post_commithook_properties=hooks,
            )
        _sync(self.log / f"{version + 1:020d}.json")
        for folder in (self.log, self.folder, self.folder.parent):
            _sync(folder)
        return version + 1

    def read(self, since: int = -1) -> Iterator[tuple[int, pa.Table]]:
        """Batches after version ``since``, in order; raises StoreDamagedError on a missing or altered file."""
        for entry in self._entries():
            version = int(entry.stem)
            if version > since:
                for name in self._added(entry):
                    yield version, self._batch(name)

    def verify(self) -> list[str]:
        """What is wrong with log and files, a line a problem; empty where all is well."""
        problems: list[str] = []
        link = ""
        for number, entry in enumerate(self._entries()):
            if int(entry.stem) != number:
                return [*problems, f"{self.log} lacks version {number}: restore it from a copy"]
            try:
                names = self._added(entry)
                for name in names:
                    self._batch(name)
                link = hashlib.sha256(
                    (link + "".join(name.removesuffix(".parquet") for name in names)).encode()
                ).hexdigest()
                if link != self._link(number):
                    problems.append(
                        f"{entry} does not follow from the entry before: restore the journal from a copy"
                    )
            except StoreDamagedError as error:
                problems.append(str(error))
        return problems

    def _entries(self) -> list[Path]:
        return (
            sorted(path for path in self.log.glob("*.json") if path.stem.isdigit())
            if self.log.is_dir()
            else []
        )

    def _actions(self, entry: Path) -> list[dict[str, Any]]:
        try:
            return [
                json.loads(line) for line in entry.read_text(encoding="utf-8").splitlines() if line
            ]
        except (OSError, ValueError):
            raise StoreDamagedError(
                f"{entry} is damaged: restore the journal from a copy"
            ) from None

    def _added(self, entry: Path) -> list[str]:
        return [action["add"]["path"] for action in self._actions(entry) if "add" in action]

    def _link(self, version: int) -> str:
        if version < 0:
            return ""
        for action in self._actions(self.log / f"{version:020d}.json"):
            if "commitInfo" in action:
                return str(action["commitInfo"].get("catalograph.chain", ""))
        return ""

    def _batch(self, name: str) -> pa.Table:
        path = self.folder / name
        try:
            data = path.read_bytes()
        except OSError:
            raise StoreDamagedError(f"{path} is missing: restore the journal from a copy") from None
        if hashlib.sha256(data).hexdigest() != path.stem:
            raise StoreDamagedError(
                f"{path} is damaged (its sha256 is not its name): restore the journal from a copy"
            )
        return pq.read_table(io.BytesIO(data)).cast(JOURNAL_SCHEMA)


def changes_table(
    items: list[dict[str, Any]], statements: list[dict[str, Any]], retracted: list[str]
) -> pa.Table:
    """A batch of changes in JOURNAL_SCHEMA: items put, statements put, statements retracted."""
    rows = [{"operation": "item", **row} for row in items]
    rows += [
        {
            "operation": "statement",
            **{k: v for k, v in row.items() if k != "id"},
            "statement": row["id"],
        }
        for row in statements
    ]
    rows += [{"operation": "retract", "statement": name} for name in retracted]
    return pa.Table.from_pylist(rows, schema=JOURNAL_SCHEMA)


def parts_of(changes: pa.Table) -> tuple[pa.Table, pa.Table, list[str]]:
    """The reverse of :func:`changes_table`: items, statements, ids retracted."""
    import pyarrow.compute as pc

    items = changes.filter(pc.equal(changes["operation"], "item")).select(ITEM_SCHEMA.names)
    facts = changes.filter(pc.equal(changes["operation"], "statement"))
    names = ["statement" if name == "id" else name for name in STATEMENT_SCHEMA.names]
    retracted = changes.filter(pc.equal(changes["operation"], "retract"))["statement"].to_pylist()
    return items, facts.select(names).rename_columns(STATEMENT_SCHEMA.names), retracted


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
