"""New rows that wait to be loaded into a Ladybug graph together.

COPY takes a sixth of the time of LOAD FROM ... MERGE, but each COPY into a graph that has
statements takes time for all of them. So the rows of many batches are loaded by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from kg.stores.journal import JournalBatch
from kg.stores.tables import ITEM_SCHEMA, STATEMENT_SCHEMA

LOAD_SECONDS = 6e-6
"""About how long it takes to load a statement."""


@dataclass
class WaitingRows:
    """Items that the graph has none of, with statements about them, and their newest version."""

    version: int = -1
    item_ids: set[str] = field(default_factory=set)
    _items: list[pa.Table] = field(default_factory=list)
    _statements: list[pa.Table] = field(default_factory=list)

    def __bool__(self) -> bool:
        return self.version >= 0

    def add(self, version: int, batch: JournalBatch) -> None:
        """Add the rows of a version."""
        self.version = version
        self.item_ids.update(batch.items["id"].to_pylist())
        self._items.append(batch.items)
        self._statements.append(batch.statements)

    @property
    def nbytes(self) -> int:
        """The size of the rows in Arrow's form, in bytes."""
        return sum(table.nbytes for table in (*self._items, *self._statements))

    @property
    def seconds(self) -> float:
        """About how long it takes to load the rows."""
        return LOAD_SECONDS * sum(table.num_rows for table in self._statements)

    def items(self) -> pa.Table:
        """Return the items."""
        return pa.concat_tables([ITEM_SCHEMA.empty_table(), *self._items])

    def statements(self) -> pa.Table:
        """Return the statements."""
        return pa.concat_tables([STATEMENT_SCHEMA.empty_table(), *self._statements])


def is_whole(batch: JournalBatch) -> bool:
    """Return whether a batch puts each item that it makes statements about, and removes nothing.

    If the graph has none of these items, then it has none of the statements either.
    """
    if batch.retracted or batch.deleted:
        return False
    mentioned = batch.statements["item"].unique()
    is_put = pc.is_in(mentioned, value_set=batch.items["id"].combine_chunks())
    return bool(pc.all(is_put, min_count=0).as_py())


def parts(table: pa.Table, most_bytes: int) -> Iterator[pa.Table]:
    """Yield a table in parts of about so many bytes, or of one row."""
    if not table.num_rows:
        return
    rows = max(1, most_bytes * table.num_rows // max(1, table.nbytes))
    for start in range(0, table.num_rows, rows):
        yield table.slice(start, rows)
