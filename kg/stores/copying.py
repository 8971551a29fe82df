"""Copy one store's graph into another, in batches, and check that both are the same afterwards."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from kg.stores.journal import Operation
from kg.stores.protocol import GraphStore
from kg.stores.replay import misnamed
from schema.documents import parse_json_object
from schema.errors import StoreDamagedError, StoreError
from schema.files import write_atomically
from schema.progress import ProgressCallback, no_progress

PUT_ROWS = 50_000


@dataclass(frozen=True)
class CopyReport:
    """Sizes and hash of the graph that both stores hold now, and the seconds the copy took.

    ``versions`` counts the writes of the source's history that the target has as well.
    """

    items: int
    statements: int
    content_hash: str
    seconds: float
    versions: int = 0


@dataclass
class Cursor:
    """The last item and the last statement that were copied, both in the order of their ids.

    ``with_history`` says that the target was empty, and gets the history first. With a ``path`` the
    cursor is kept in a file, so that an interrupted copy can be resumed.
    """

    path: Path | None = None
    item: str = ""
    statement: str = ""
    with_history: bool = False

    @classmethod
    def load(cls, folder: Path | None, source: str, target: str) -> Cursor:
        """Load the cursor of a copy between two URLs, or return one at the beginning."""
        if folder is None:
            return cls()
        urls = hashlib.sha256(f"{source} {target}".encode()).hexdigest()
        path = folder / f"copy-{urls[:16]}.json"
        try:
            saved = parse_json_object(path.read_bytes())
            with_history = saved.get("with_history") is True
            return cls(path, str(saved["item"]), str(saved["statement"]), with_history)
        except (OSError, ValueError, KeyError):
            # Without a readable cursor the copy begins again; putting a row twice changes nothing.
            return cls(path)

    def save(self) -> None:
        """Write the cursor to its file."""
        if self.path is None:
            return
        try:
            saved = {
                "item": self.item,
                "statement": self.statement,
                "with_history": self.with_history,
            }
            write_atomically(self.path, json.dumps(saved))
        except OSError:
            # A home that cannot be written can be copied, but an interrupted copy begins again.
            self.path = None

    def delete(self) -> None:
        """Delete the file of a finished copy."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def copy_store(
    source: GraphStore,
    target: GraphStore,
    cursor_folder: Path | None = None,
    progress: ProgressCallback = no_progress,
) -> CopyReport:
    """Copy all that ``source`` holds; an interrupted copy resumes at its cursor in a folder.

    An empty target gets the history of the source as well, as far as the source has it. Raises
    StoreError if the target holds something else as well, and so is not a copy, and
    StoreDamagedError if a statement of the source has not the id of its item, property and value.
    """
    began = time.monotonic()
    counts = source.counts()
    total = counts.items + counts.statements
    done = 0
    cursor = Cursor.load(cursor_folder, source.url, target.url)
    versions = _copy_history(source, target, cursor, total, progress)
    content_hash = source.content_hash()
    if versions and target.content_hash() == content_hash:
        cursor.delete()
        seconds = time.monotonic() - began
        return CopyReport(counts.items, counts.statements, content_hash, seconds, versions)
    # Items come first: a statement about an item that the target lacks would create it bare.
    for table in _tables_after(source.items(), cursor.item):
        target.put(table, None)
        # The cursor moves after the put. A copy that is killed in between puts the table again,
        # which changes nothing.
        cursor.item = table["id"][-1].as_py()
        cursor.save()
        done += table.num_rows
        progress(done, total)
    for table in _tables_after(source.scan(), cursor.statement):
        _check_ids(source, table)
        target.put(None, table)
        cursor.statement = table["id"][-1].as_py()
        cursor.save()
        done += table.num_rows
        progress(done, total)
    # Before the comparison, so that a copy that fails it starts from the beginning the next time.
    cursor.delete()

    if target.content_hash() != content_hash:
        found = target.counts()
        raise StoreError(
            f"{target.url} is not a copy: "
            f"it holds {found.items:,} items and {found.statements:,} statements, "
            f"the source {counts.items:,} and {counts.statements:,}; "
            "copy into an empty store, or copy again if the source changed meanwhile"
        )
    seconds = time.monotonic() - began
    return CopyReport(counts.items, counts.statements, content_hash, seconds, versions)


def _copy_history(
    source: GraphStore,
    target: GraphStore,
    cursor: Cursor,
    total: int,
    progress: ProgressCallback,
) -> int:
    """Write the changes of the source into a target that was empty; return their number."""
    if not cursor.with_history:
        if not target.is_empty() or cursor.item or cursor.statement:
            return 0
        cursor.with_history = True
        cursor.save()
    # What an interrupted copy has written is the beginning of the same history.
    done = sum(1 for batch in target.changes() if batch.changes.num_rows)
    versions = 0
    rows = 0
    for batch in source.changes():
        if not batch.changes.num_rows:
            continue
        versions += 1
        rows = min(rows + batch.changes.num_rows, total)
        if versions > done:
            is_statement = pc.equal(batch.changes["operation"], Operation.STATEMENT)
            _check_ids(source, batch.changes.filter(is_statement), "statement")
            target.append(batch.dated())
            progress(rows, total)
    return versions


def _check_ids(source: GraphStore, statements: pa.Table, column: str = "id") -> None:
    wrong = misnamed(statements, column)
    if wrong:
        raise StoreDamagedError(
            f"{source.url} is damaged: statement {wrong[0]}, and {len(wrong) - 1:,} more, have an "
            "id that is not that of their item, property and value; run `catalograph verify`, "
            "which says how to go on"
        )


def _tables_after(batches: Iterator[pa.RecordBatch], last_id: str) -> Iterator[pa.Table]:
    """Yield the rows whose id comes after ``last_id`` as tables of at most PUT_ROWS rows."""
    for batch in batches:
        table = pa.Table.from_batches([batch])
        if last_id:
            table = table.filter(pc.greater(table["id"], last_id))
        for start in range(0, table.num_rows, PUT_ROWS):
            yield table.slice(start, PUT_ROWS)
