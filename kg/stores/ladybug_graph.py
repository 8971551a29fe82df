"""A Ladybug graph file: open it, and apply the journal's batches to it.

These rules for Ladybug 0.22 were learned by measuring, and the code here keeps them:

- COPY from Arrow is the fastest way to load, but a second COPY of the same relationships duplicates
  them, and each COPY takes time for all relationships that are there. So new rows wait until there
  are many of them (``ladybug_loading``). LOAD FROM ... MERGE takes six times as long for each row,
  but is faster for a few. ``UNWIND $rows MERGE`` is 70 times slower, and gets worse as the graph
  grows.
- COPY runs in autocommit, never in a transaction with other writes: killed there, it left a torn
  graph in 21 of 60 runs. A COPY that raised was not applied, whatever the message says.
- COPY holds both ends' copies of all its relationships in the buffer pool, about five bytes for a
  byte of Arrow, and what it has freed stays with the process unless it is asked back. A checkpoint
  needs more the larger the graph is: 256 MB were too few for five million statements.
- A COPY that more than doubles the nodes of a kind loses one in a million from their index, without
  a word (27 of 115 loads of 100,000 to 400,000 nodes; none of 280 that added half as many, or as
  many, as there were). So later nodes are loaded by several. MERGE and CREATE lose none.
- COPY takes time and memory for each column, at both ends, and most for texts of more than twelve
  bytes. As UUIDs the ids of statements would take a third of it, but 1 of 60 checkpoints of a few
  of them fails ("INT128 is out of range").
- Two MATCH clauses, never ``MATCH (a), (b)``.
- A new connection for each batch. The buffer pool holds the results of queries, too, so a large
  graph is read a range of items at a time.
- One Database object open for writing per process, behind our own lock file. Processes are
  spawned, never forked.
- A checkpoint changes the file in place, so nobody reads a file that is being written: a writer has
  a copy of its own (``graph_files``). A batch is applied there in several transactions, with
  checkpoints in between, which bounds the write-ahead log.
- A write that fails for want of room is repeated when the Database is destroyed, and ends the
  process (std::terminate) if it fails again. So a Database that failed to write is never destroyed.
- Extensions cannot be downloaded offline, so the graph has no vector and no full-text index.
- ``read_only=True`` keeps a query from changing the graph, but not from reading files or killing
  the process. That is what ``cypher_guard`` is for.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kg.stores.graph_files import copy_file, side_files
from kg.stores.journal import JournalBatch
from kg.stores.ladybug_columns import (
    COLUMNS,
    HAS,
    ITEM,
    KEPT,
    LeftOutColumns,
    add_column,
    create_table,
)
from kg.stores.ladybug_database import (
    COMMITTED,
    POOL_IS_FULL,
    WRITER_POOL_BYTES,
    execute,
    ladybug_errors,
    open_database,
)
from kg.stores.ladybug_loading import (
    AddedItems,
    HeldRows,
    Loading,
    NewRows,
    WaitingRows,
    has_no_references,
    is_whole,
    parts,
    together,
)
from kg.stores.ladybug_reading import FROM_ITEMS, IN_RANGE, LadybugReader, ranges_of
from kg.stores.property_graph import (
    ITEM_PROPERTIES,
    MATCH_STATEMENTS,
    RELATIONSHIP_PROPERTIES,
    with_image,
)
from kg.stores.query_child import Engine
from kg.stores.query_pool import QueryPool
from kg.stores.query_process import GraphSource
from schema.errors import StoreDamagedError
from schema.memory import available_memory, return_freed_memory

FILE = "graph.lbug"
MERGED_ROWS = 8_192
"""Rows of one transaction; it is all that the write-ahead log ever holds beyond its limit."""
DELETED_ROWS = 1_000
"""Statements that are deleted at once: each of their items' is compared with all of them."""
COPIED_BYTES = 96 << 20
"""The most that is loaded by one COPY into a small graph: a million statements with short texts.

Two loads of half as many take a tenth more of the processors' time, and no less memory, since the
second writes the rows of the first anew.
"""
LOADED_SHARE = 4
"""Into a large graph, so much of its file is loaded by one COPY, which is half of its rows in
Arrow's form: what is written anew by all of them is then no more than three times the graph. With
loads of one size it would grow with the square of the graph."""
MEMORY_OF_LOAD = 16
"""Never more is loaded at once than this part of the memory that is available."""
HELD_BYTES = 1 << 27
"""The most that is held in memory to be read while it is loaded."""
COPIED_ROWS = 16_384
"""Into a graph that has some already, fewer new rows are merged at once."""
CREATED_ROWS = 500
"""So few new rows are created by a query, also in an empty graph: a COPY takes some milliseconds,
whatever it loads."""
CREATED_BYTES = 1 << 20
"""What has more bytes is loaded by a COPY, which can be split if the buffer pool is too small."""
SMALL_COPY_BYTES = 1 << 25
"""The most for a COPY for which the buffer pool of a writer is large enough."""
COPY_POOL_BYTES = 1 << 30
FREE_MEMORY_SHARE = 0.7
"""How much of the memory that is available the buffer pool for a large COPY may have."""
GROWTH = 5
"""Bytes of the graph file for a byte of changes in Arrow's form."""
LOG_GROWTH = 15
"""Bytes of the write-ahead log for a byte of changes that replace statements; new ones take 4."""
LOG_BYTES = 50_000_000
"""The most that the write-ahead log and what lies beside it reach, measured."""
CREATE_VALUES = "CREATE NODE TABLE IF NOT EXISTS Value(text STRING PRIMARY KEY)"
CREATE_APPLIED = "CREATE NODE TABLE IF NOT EXISTS Applied(name STRING PRIMARY KEY, version INT64)"
# The version is a node of the graph itself, so that no file can say anything else.
SET_APPLIED_VERSION = "MERGE (a:Applied {name: 'journal'}) SET a.version = $version"

MERGE_ITEMS = "LOAD FROM $rows MERGE (i:Item {id: id}) SET " + ", ".join(
    f"i.{name} = {name}" for name in ITEM_PROPERTIES if name != "id"
)
KNOWN_VALUES = "LOAD FROM $rows MATCH (v:Value {text: wanted}) RETURN v.text AS text"
MERGE_VALUES = "LOAD FROM $rows MERGE (v:Value {text: text})"
# Only nodes have an index, that of their primary key. So a statement is found through its two ends.
_MATCH_ENDS = "LOAD FROM $rows MATCH (i:Item {id: item}) MATCH (v:Value {text: value})"


def _create_rows(label: str, names: Sequence[str]) -> str:
    """Return the query that creates nodes or statements with some columns, which are new."""
    if label != HAS:
        return f"LOAD FROM $rows CREATE (:{label} {{{_named(names)}}})"
    properties = [name for name in names if name not in ("item", "value")]
    return f"{_MATCH_ENDS} CREATE (i)-[:HAS {{{_named(properties)}}}]->(v)"


def _named(names: Sequence[str]) -> str:
    return ", ".join(f"{name}: {name}" for name in names)


CREATE_STATEMENTS = _create_rows(HAS, RELATIONSHIP_PROPERTIES)
DELETE_STATEMENTS = (
    f"{MATCH_STATEMENTS} WHERE {IN_RANGE} AND offset(id(i)) IN $places "
    f"AND list_contains($ids, h.id) {FROM_ITEMS} DELETE h"
)
DELETE_ITEMS = "LOAD FROM $rows MATCH (i:Item {id: id}) DELETE i"


class LadybugGraph(LadybugReader):
    """A graph file, and the version of the journal that it shows.

    Opened for writing, the file is made if there is none. Raises StoreDamagedError if the file is
    damaged, and StoreUnavailableError if the system refuses to open it for now.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        super().__init__()
        self.path = path
        self._file: int | None = None
        self._waiting = WaitingRows()
        self._loading: Loading | None = None
        self._is_empty: bool | None = None
        self._was_empty: bool | None = None
        self._added = AddedItems()
        self._held: HeldRows | None = None
        self._left_out: list[LeftOutColumns] = []
        if read_only:
            self._open_published()
            return
        is_new = not path.exists()
        self.database = open_database(path, read_only=False, buffer_pool_bytes=self._pool_bytes())
        self._create_tables(is_new)
        self.queries = QueryPool(GraphSource(Engine.LADYBUG, path))

    def _create_tables(self, is_new: bool) -> None:
        """Create the tables of a new graph, or add what those of an earlier version lack."""
        self._execute(CREATE_VALUES)
        self._execute(CREATE_APPLIED)
        for label, columns in COLUMNS.items():
            if is_new:
                self._execute(create_table(label, KEPT[label]))
                self._left_out.append(LeftOutColumns.of_new_table(label))
                continue
            self._execute(create_table(label, tuple(columns)))
            known = self._properties(label)
            for name in columns:
                if name not in known:
                    self._execute(add_column(label, name))

    def _open_published(self) -> None:
        """Open the file for reading, and keep it for queries, whatever takes its place."""
        if not self.path.stat().st_size:
            # Ladybug would take it for a new graph.
            raise StoreDamagedError(f"{self.path} is empty: run `catalograph rebuild`")
        while True:
            file = _open_apart(self.path)
            try:
                self.database = open_database(self.path, read_only=True)
                # A writer may have published another file between the two calls.
                is_same = os.path.samestat(os.fstat(file), self.path.stat())
            except BaseException:
                os.close(file)
                raise
            if is_same:
                break
            self.database.close()
            os.close(file)
        self._file = file
        # An earlier version's writer may have left a log, which only belongs to it by its name.
        handle = None if side_files(self.path) else file
        self.queries = QueryPool(GraphSource(Engine.LADYBUG, self.path, handle))

    def close(self) -> None:
        """Release the file."""
        if self._loading is not None:
            self._loading.end()
        self.queries.close()
        self._close_database()
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def finish(self) -> None:
        """Write all changes into the file itself, and release it."""
        self.flush()
        self.close()

    def flush(self) -> None:
        """Write all changes into the file itself."""
        self.settle()
        self._execute("CHECKPOINT")

    def save_copy(self, target: Path) -> None:
        """Copy the file."""
        copy_file(self.path, target)

    def abandon(self) -> None:
        """Give up a graph that failed to be written, without touching it any more."""
        if self._loading is not None:
            self._loading.end()
        self.queries.close()
        self._loading = None
        self._waiting = WaitingRows()
        # Its files are worth nothing now, but the disk may need their room.
        for path in (self.path, *side_files(self.path)):
            with suppress(OSError):
                os.truncate(path, 0)
        # One reference more than there are: the Database lives, unused, until the process ends.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self.database))

    def room_for(self, changes: pa.Table) -> int:
        """Return about how many bytes of disk a batch needs while it is applied."""
        loading = 0 if self._loading is None else self._loading.nbytes
        size = changes.nbytes + self._waiting.nbytes + loading
        return GROWTH * size + min(LOG_GROWTH * size, LOG_BYTES)

    def applied_version(self) -> int:
        """Return the journal's version that the graph shows, or -1 if it shows none."""
        if self._waiting:
            return self._waiting.version
        if self._loading is not None:
            return self._loading.rows.version
        rows = self.rows("MATCH (a:Applied {name: 'journal'}) RETURN a.version AS version")
        return int(rows[0]["version"]) if rows else -1

    def lacks_all(self, item_ids: Sequence[str]) -> bool:
        """Return whether the graph has none of these items, not even one that waits.

        In rare cases it is False although that is so.
        """
        if self._added.may_have_any(item_ids):
            return False
        if not item_ids or self._was_empty_at_first():
            return True
        self._finish_loading()
        return self.count_of(item_ids) == 0

    def apply(self, version: int, changes: pa.Table) -> None:
        """Apply one batch of the journal; applying it twice has the same result as once.

        A batch of new rows may wait until ``settle``.
        """
        batch = JournalBatch.from_table(changes)
        item_ids = batch.items["id"].to_pylist()
        if self._may_wait(batch, item_ids):
            rows = NewRows.of(batch)
            if self._waiting and self._waiting.nbytes + rows.nbytes > self._most_at_once():
                # No more than the rows of two loads are in memory.
                self._finish_loading()
                self._begin_loading(self._load_waiting)
            self._waiting.add(version, rows)
            self._hold(rows, batch)
        else:
            self.settle()
            self._held = None
            self._merge(batch, version)
        self._added.add(item_ids)

    def _most_at_once(self) -> int:
        """Return the most bytes that one COPY loads."""
        of_memory = available_memory() // MEMORY_OF_LOAD
        return max(COPIED_BYTES, min(self._size() // LOADED_SHARE, of_memory))

    def _hold(self, rows: NewRows, batch: JournalBatch) -> None:
        """Hold new rows, if the graph's rows are all held and few enough."""
        if self._held is not None and has_no_references(batch):
            self._held.add(rows)
            if self._held.nbytes <= HELD_BYTES:
                return
        self._held = None

    def held_rows(self) -> HeldRows | None:
        """Return all rows of the graph if they are in memory, and begin to settle beside that."""
        if self._held is not None and self._waiting:
            self._begin_loading(self._load_last)
        return self._held

    def _may_wait(self, batch: JournalBatch, item_ids: Sequence[str]) -> bool:
        """Return whether all rows of a batch are new, and enough to be loaded by a COPY."""
        if not batch.items.num_rows or not is_whole(batch):
            return False
        rows = batch.items.num_rows + batch.statements.num_rows
        size = batch.items.nbytes + batch.statements.nbytes
        # Of very long rows so few make a COPY that they are merged.
        if COPIED_BYTES * rows < MERGED_ROWS * size and size > COPIED_BYTES:
            return False
        if not self._waiting and rows < COPIED_ROWS and not self._has_nothing():
            return False
        return self.lacks_all(item_ids)

    def settle(self) -> bool:
        """Load the rows that wait; return whether there were any.

        A graph into which only a part was loaded is never published.
        """
        has_waited = bool(self._waiting) or self._loading is not None
        if self._waiting:
            self._begin_loading(self._load_last)
        self._finish_loading()
        self._add_columns()
        return has_waited

    def _begin_loading(self, load: Callable[[WaitingRows], None]) -> None:
        """Begin to load the rows that wait, as soon as those before them are loaded."""
        if self._loading is None:
            self._has_nothing()  # while nobody else uses the database
        self._loading = Loading(self._waiting, load, self._loading)
        self._waiting = WaitingRows()

    def _finish_loading(self) -> None:
        if self._loading is not None:
            self._loading.finish()
            self._loading = None

    def _load_waiting(self, waiting: WaitingRows) -> None:
        parts = {ITEM: waiting.items, HAS: waiting.statements}
        with self._pool_for_copies(waiting.nbytes):
            for left_out in self._left_out:
                for text in left_out.add_for(parts[left_out.label]):
                    self._execute(text)
            self._load_nodes(ITEM, together(waiting.items, self._columns_of(ITEM)))
            values = together(waiting.statements, ["value"])["value"]
            self._load_nodes("Value", pa.table({"text": self._new_texts(values)}))
            columns = ["item", "value", *self._columns_of(HAS)]
            self._load(HAS, together(waiting.statements, columns))
            self._execute(SET_APPLIED_VERSION, {"version": waiting.version})
        self._is_empty = False

    def _load_last(self, waiting: WaitingRows) -> None:
        """Load rows after which the graph is probably read."""
        self._load_waiting(waiting)
        self._add_columns()

    def _add_columns(self) -> None:
        """Add the columns that were left out to load rows faster."""
        if not self._left_out:
            return
        for left_out in self._left_out:
            for text in left_out.add_all():
                self._execute(text)
        # From the write-ahead log, only a writer could add them again.
        self._execute("CHECKPOINT")
        self._left_out = []

    def settling_seconds(self) -> float:
        """Return about how long ``settle`` would take."""
        loading = 0.0 if self._loading is None else self._loading.seconds
        return self._waiting.seconds + loading

    def _load_nodes(self, label: str, rows: pa.Table) -> None:
        """Load new nodes, at most half as many at once as there are, so that all can be found."""
        there = self.count_nodes(label)
        start = 0
        while start < rows.num_rows:
            part = rows.slice(start, max(1, there // 2) if there else None)
            self._load(label, part)
            start += part.num_rows
            there += part.num_rows

    def _load(self, label: str, rows: pa.Table) -> None:
        """Load new rows, each COPY in autocommit."""
        if 0 < rows.num_rows <= CREATED_ROWS and rows.nbytes <= CREATED_BYTES:
            self._execute(_create_rows(label, rows.column_names), {"rows": rows})
            return
        for part in parts(rows, self._most_at_once()):
            if not self._copy(label, part):
                # Half as many take half of the memory, but all of them more time.
                for half in parts(part, part.nbytes // 2 + 1):
                    self._load(label, half)

    def _copy(self, label: str, rows: pa.Table) -> bool:
        """Load rows by one COPY; return False, with nothing loaded, if there is no room for them.

        That is room in the buffer pool.
        """
        with ladybug_errors(self.path):
            connection = self.connect()
            try:
                execute(connection, f"COPY {label} FROM $rows", {"rows": rows})
            except RuntimeError as error:
                # What was committed must not be loaded twice, whatever else failed.
                is_too_large = POOL_IS_FULL in str(error) and COMMITTED not in str(error)
                if not is_too_large or rows.num_rows <= MERGED_ROWS:
                    raise
                return False
            finally:
                connection.close()
        return True

    def _new_texts(self, texts: pa.ChunkedArray) -> pa.ChunkedArray:
        """Return the texts that the graph has no value for, each once."""
        texts = pa.chunked_array([texts.unique()])
        if self._has_nothing():
            return texts
        schema = pa.schema([("text", pa.string())])
        known = [
            self.table(KNOWN_VALUES, {"rows": part}, schema)["text"]
            for part in parts(pa.table({"wanted": texts}), SMALL_COPY_BYTES)
        ]
        found = pa.chunked_array(
            [chunk for column in known for chunk in column.chunks], pa.string()
        )
        return texts.filter(pc.invert(pc.is_in(texts, value_set=found)))

    @contextmanager
    def _pool_for_copies(self, size: int) -> Iterator[None]:
        """Give the database a larger buffer pool in the block, if so many bytes need it."""
        if size <= SMALL_COPY_BYTES:
            yield
            return
        most = int(FREE_MEMORY_SHARE * available_memory())
        self._reopen(max(self._pool_bytes(), min(COPY_POOL_BYTES + 2 * self._size(), most)))
        yield
        self._reopen(self._pool_bytes())

    def _close_database(self) -> None:
        with ladybug_errors(self.path):
            self.close_lookups()
            self.database.close()

    def _pool_bytes(self) -> int:
        """Return the size of a writer's buffer pool.

        A checkpoint rewrites all statements about each 131,072 items or values together.
        """
        return WRITER_POOL_BYTES + self._size()

    def _size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def _reopen(self, pool_bytes: int) -> None:
        """Open the database anew, with a buffer pool of another size."""
        # A write that fails when a Database is destroyed may end the process: this one raises.
        self._execute("CHECKPOINT")
        self._close_database()
        return_freed_memory()
        self.database = open_database(self.path, read_only=False, buffer_pool_bytes=pool_bytes)

    def _has_nothing(self) -> bool:
        """Return whether the graph has no item and no value; it is asked only once.

        Values stay when the statements that have them are deleted.
        """
        if self._is_empty is None:
            self._is_empty = self.is_empty() and self.places("Value") == 0
        return self._is_empty

    def _was_empty_at_first(self) -> bool:
        """Return whether the graph had nothing when it was opened."""
        if self._was_empty is None:
            self._was_empty = self._has_nothing()
            self._held = HeldRows() if self._was_empty else None
        return self._was_empty

    def _merge(self, batch: JournalBatch, version: int) -> None:
        """Apply a batch a few rows at a time, and its version last.

        A graph in which only a part was applied is never published.
        """
        items = with_image(batch.items)
        values = pa.table({"text": batch.statements["value"].unique()})
        self._is_empty = None
        # Statements are created, and not merged like the nodes: later batches load six times as
        # fast. To set the properties of those that exist, Ladybug would find them by a hash table
        # of all statements, which does not fit into the buffer pool.
        self._delete_existing(batch.statements)
        for text, table in (
            (MERGE_ITEMS, items),
            (MERGE_VALUES, values),
            (CREATE_STATEMENTS, batch.statements),
        ):
            for start in range(0, table.num_rows, MERGED_ROWS):
                self._execute(text, {"rows": table.slice(start, MERGED_ROWS)})
        if batch.retracted:
            self._delete(self.placed_statements(batch.retracted))
        if batch.deleted:
            self._execute(DELETE_ITEMS, {"rows": pa.table({"id": batch.deleted})})
        self._execute(SET_APPLIED_VERSION, {"version": version})

    def _delete_existing(self, statements: pa.Table) -> None:
        """Delete those of the statements that the graph has."""
        found = self.placed_statements_about(statements["item"].unique().to_pylist())
        ids = statements["id"].combine_chunks()
        self._delete(found.filter(pc.is_in(found["id"], value_set=ids)))

    def _delete(self, placed: pa.Table) -> None:
        """Delete statements, which are found at the places of their items."""
        in_order = placed.sort_by("place")
        for start in range(0, in_order.num_rows, DELETED_ROWS):
            part = in_order.slice(start, DELETED_ROWS)
            ids = part["id"].to_pylist()
            for each in ranges_of(part["place"].unique().to_pylist()):
                self._execute(DELETE_STATEMENTS, {**each, "ids": ids})

    def _execute(self, text: str, params: dict[str, Any] | None = None) -> None:
        with ladybug_errors(self.path):
            connection = self.connect()
            try:
                execute(connection, text, params)
            finally:
                connection.close()


def _open_apart(path: Path) -> int:
    """Open a file for reading; its handle is none of the numbers of the standard streams.

    Where one of those is closed, a handle can be such a number, and a child process would have a
    stream of its own in its place.
    """
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    if file > 2:
        return file
    try:
        return fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(file)
