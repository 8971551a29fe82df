"""One store's graph into another, in batches, and proof that both are the same."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from kg.stores.protocol import GraphStore
from schema.errors import StoreError
from schema.files import write_atomically

PUT_ROWS = 50_000
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class CopyReport:
    """What both stores hold now, and in how many seconds."""

    items: int
    statements: int
    content_hash: str
    seconds: float


@dataclass
class Cursor:
    """How far a copy came: the last item and the last statement, both ordered by id, in a file of its own."""

    path: Path | None
    item: str = ""
    statement: str = ""

    @classmethod
    def between(cls, folder: Path | None, source: str, target: str) -> Cursor:
        """Where a copy from one URL to another stood, kept in ``folder``; at its beginning where nothing is kept."""
        if folder is None:
            return cls(None)
        pair = hashlib.sha256(f"{source} {target}".encode()).hexdigest()
        path = folder / f"copy-{pair[:16]}.json"
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            return cls(path, str(kept["item"]), str(kept["statement"]))
        except (OSError, ValueError, KeyError):
            return cls(path)

    def keep(self) -> None:
        """Write it down."""
        if self.path is not None:
            write_atomically(
                self.path, json.dumps({"item": self.item, "statement": self.statement})
            )

    def forget(self) -> None:
        """The copy is done."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def copy_store(
    source: GraphStore,
    target: GraphStore,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> CopyReport:
    """Copy what ``source`` holds; a copy that was cut off goes on from its cursor in ``folder``.

    Raises StoreError where the target holds something else as well, and so is no copy.
    """
    began = time.monotonic()
    report = progress or (lambda what, done, total: None)
    counts = source.counts()
    cursor = Cursor.between(folder, source.url, target.url)
    for what, total, batches in (
        ("items", counts.items, source.items()),
        ("statements", counts.statements, source.scan()),
    ):
        done = 0
        for part in _after(batches, cursor.item if what == "items" else cursor.statement):
            if part.num_rows:
                target.put(
                    part if what == "items" else None, part if what == "statements" else None
                )
                setattr(cursor, what[:-1], part["id"][-1].as_py())
                cursor.keep()
            done += part.num_rows
            report(what, done, total)
    cursor.forget()
    mine = source.content_hash()
    theirs = target.content_hash()
    if mine != theirs:
        held = target.counts()
        raise StoreError(
            f"{target.url} is no copy: it holds {held.items:,} items and {held.statements:,} statements, the source {counts.items:,} and "
            f"{counts.statements:,}; copy into an empty store, or again where the source changed meanwhile"
        )
    return CopyReport(counts.items, counts.statements, mine, time.monotonic() - began)


def _after(batches: Iterator[pa.RecordBatch], last: str) -> Iterator[pa.Table]:
    """The rows of ordered batches whose id comes after ``last``, as tables of a put's size."""
    for batch in batches:
        table = pa.Table.from_batches([batch])
        table = table.filter(pc.greater(table["id"], last)) if last else table
        for start in range(0, table.num_rows, PUT_ROWS):
            yield table.slice(start, PUT_ROWS)
