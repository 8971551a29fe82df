"""New rows that wait to be loaded into a Ladybug graph together.

COPY takes a sixth of the time of LOAD FROM ... MERGE, but each COPY into a graph that has
statements takes time for all of them. So the rows of many batches are loaded by one, in a thread of
its own, beside which the next rows are read.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kg.stores.journal import JournalBatch
from kg.stores.ladybug_columns import CompactRows
from kg.stores.projection import WholeReads
from kg.stores.property_graph import with_image
from kg.stores.protocol import Pattern
from kg.stores.tables import (
    FACT_SCHEMA,
    SOURCED_TRIPLE_SCHEMA,
    STATEMENT_SCHEMA,
    TRIPLE_SCHEMA,
)
from schema.arrays import IntArray, are_in
from schema.terms import Rank

LOAD_SECONDS = 6e-6
"""About how long it takes to load a statement."""


@dataclass
class WaitingRows:
    """Items that the graph has none of, with statements about them, and their newest version."""

    version: int = -1
    items: list[CompactRows] = field(default_factory=list)
    statements: list[CompactRows] = field(default_factory=list)

    def __bool__(self) -> bool:
        return self.version >= 0

    def add(self, version: int, batch: NewRows) -> None:
        """Add the rows of a version."""
        self.version = version
        self.items.append(batch.items)
        self.statements.append(batch.statements)

    @property
    def nbytes(self) -> int:
        """The size of the rows in memory, in bytes."""
        return sum(rows.nbytes for rows in (*self.items, *self.statements))

    @property
    def seconds(self) -> float:
        """About how long it takes to load the rows."""
        return LOAD_SECONDS * sum(rows.num_rows for rows in self.statements)


@dataclass(frozen=True)
class NewRows:
    """Items that the graph has none of, as it shows them, and statements about them."""

    items: CompactRows
    statements: CompactRows

    @classmethod
    def of(cls, batch: JournalBatch) -> NewRows:
        """Return the rows of a batch."""
        return cls(CompactRows.of(with_image(batch.items)), CompactRows.of(batch.statements))

    @property
    def nbytes(self) -> int:
        """The size of the rows in memory, in bytes."""
        return self.items.nbytes + self.statements.nbytes


def together(parts: Sequence[CompactRows], names: Sequence[str]) -> pa.Table:
    """Return some columns of one or more parts of a table."""
    return pa.concat_tables([rows.table(names) for rows in parts])


class Loading:
    """A load of rows in a thread of its own, from which whoever waits for it gets its error.

    It begins when the load before it has ended, whose error is its own.
    """

    def __init__(
        self,
        rows: WaitingRows,
        load: Callable[[WaitingRows], None],
        before: Loading | None = None,
    ) -> None:
        self.rows = rows
        self._load = load
        self._before = before
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="load")
        self._thread.start()

    @property
    def nbytes(self) -> int:
        """The size of the rows that are not yet loaded."""
        before = self._before
        return self.rows.nbytes + (0 if before is None else before.nbytes)

    @property
    def seconds(self) -> float:
        """About how long it takes from the beginning of the first load that has not ended."""
        before = self._before
        return self.rows.seconds + (0.0 if before is None else before.seconds)

    def finish(self) -> None:
        """Wait for the end; raises what the load has raised, each time anew."""
        self._thread.join()
        if self._error is not None:
            raise self._error

    def end(self) -> None:
        """Wait for the end, whether the load fails or not."""
        self._thread.join()

    def _run(self) -> None:
        try:
            if self._before is not None:
                self._before.finish()
                self._before = None
            self._load(self.rows)
        except BaseException as error:
            self._error = error


class AddedItems:
    """The items that were added to a graph, known by 64-bit hashes of their ids."""

    def __init__(self) -> None:
        self._parts: list[IntArray] = []

    def add(self, ids: Sequence[str]) -> None:
        """Add the ids [N] of items."""
        self._parts.append(np.sort(_hashes(ids)))
        # Each part is at least twice as long as the next, so that there are few to look through.
        while len(self._parts) > 1 and len(self._parts[-2]) < 2 * len(self._parts[-1]):
            last = self._parts.pop()
            self._parts[-1] = np.sort(np.concatenate([self._parts[-1], last]))

    def may_have_any(self, ids: Sequence[str]) -> bool:
        """Return False if none of the items [N] was added, and True almost only if one was."""
        hashes = _hashes(ids)
        return any(are_in(hashes, part).any() for part in self._parts)


def _hashes(ids: Sequence[str]) -> IntArray:
    return np.fromiter(map(hash, ids), np.int64, len(ids))


class HeldRows(WholeReads):
    """All rows of a graph, as long as they are few enough to be held in memory, too.

    Then they can be read while the graph is loaded.
    """

    def __init__(self) -> None:
        self.nbytes = 0
        self._items: list[CompactRows] = []
        self._statements: list[CompactRows] = []

    def add(self, rows: NewRows) -> None:
        """Add new rows, of which none has several sources."""
        self.nbytes += rows.nbytes
        self._items.append(rows.items)
        self._statements.append(rows.statements)

    def categories(self) -> Iterator[pa.RecordBatch]:
        """Yield the id and the category of all items in any order."""
        for items in self._items:
            yield from items.table(["id", "category"]).to_batches()

    def scan(self, pattern: Pattern) -> Iterator[pa.RecordBatch]:
        """Yield the statements that match, ordered by id."""
        found = [STATEMENT_SCHEMA.empty_table()]
        for statements in self._statements:
            condition = _has_rank(statements, pattern.ranks)
            for name, text in pattern.texts().items():
                condition = pc.and_(condition, pc.equal(statements.column(name), text))
            if pc.any(condition).as_py():
                found.append(statements.table(STATEMENT_SCHEMA.names).filter(condition))
        yield from pa.concat_tables(found).sort_by("id").to_batches()

    def facts(self) -> Iterator[pa.RecordBatch]:
        """Yield all statements in any order, in FACT_SCHEMA."""
        for statements in self._statements:
            yield from statements.table(FACT_SCHEMA.names).to_batches()

    def triples(self, ranks: Sequence[Rank]) -> Iterator[pa.RecordBatch]:
        """Yield the statements of some ranks."""
        return self._in_leading_language(ranks, TRIPLE_SCHEMA)

    def sourced_triples(self, ranks: Sequence[Rank]) -> Iterator[pa.RecordBatch]:
        """Yield the statements of some ranks in SOURCED_TRIPLE_SCHEMA."""
        return self._in_leading_language(ranks, SOURCED_TRIPLE_SCHEMA)

    def sources(self) -> list[str]:
        """Return the sources of items and statements in order; what is only predicted has none."""
        columns = [items.column("source") for items in self._items]
        for statements in self._statements:
            is_predicted = pc.equal(statements.column("rank"), str(Rank.PREDICTED))
            columns.append(statements.column("source").filter(pc.invert(is_predicted)))
        names = {name for column in columns for name in column.unique().to_pylist()}
        return sorted(name for name in names if name)

    def _in_leading_language(
        self, ranks: Sequence[Rank], schema: pa.Schema
    ) -> Iterator[pa.RecordBatch]:
        for statements in self._statements:
            has_none = statements.column("language").is_null()
            condition = pc.and_(_has_rank(statements, ranks), has_none)
            yield from statements.table(schema.names).filter(condition).to_batches()


def _has_rank(statements: CompactRows, ranks: Sequence[Rank] | None) -> pa.ChunkedArray:
    column = statements.column("rank")
    if ranks is None:
        return column.is_valid()
    return pc.is_in(column, value_set=pa.array([str(rank) for rank in ranks], pa.string()))


def has_no_references(batch: JournalBatch) -> bool:
    """Return whether each row of a batch has one source at most."""
    columns = (batch.items["references"], batch.statements["references"])
    return all(column.null_count == len(column) for column in columns)


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
