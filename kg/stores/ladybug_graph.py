"""A Ladybug graph file: open it, and apply the journal's batches to it.

These rules for Ladybug 0.22 were learned by measuring, and the code here keeps them:

- COPY from Arrow is the fastest way to load, but only into an empty graph: a second COPY of
  relationships duplicates them. Afterwards LOAD FROM ... MERGE takes about twice as long as COPY.
  ``UNWIND $rows MERGE`` is 70 times slower, and gets worse as the graph grows.
- COPY runs in autocommit, never in a transaction with other writes: killed there, it left a torn
  graph in 21 of 60 runs. A COPY that raised was not applied, whatever the message says.
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
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kg.stores.graph_files import copy_file, side_files
from kg.stores.journal import JournalBatch
from kg.stores.ladybug_database import WRITER_POOL_BYTES, ladybug_errors, open_database
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

FILE = "graph.lbug"
MERGED_ROWS = 8_192
"""Rows of one transaction; it is all that the write-ahead log ever holds beyond its limit."""
COPIED_BYTES = 1 << 26
"""The largest first batch for COPY, which takes several times its size of the buffer pool."""
GROWTH = 5
"""Bytes of the graph file for a byte of changes in Arrow's form."""
LOG_GROWTH = 15
"""Bytes of the write-ahead log for a byte of changes that replace statements; new ones take 4."""
LOG_BYTES = 50_000_000
"""The most that the write-ahead log and what lies beside it reach, measured."""
CREATE_TABLES = (
    "CREATE NODE TABLE IF NOT EXISTS Item("
    "id STRING PRIMARY KEY, title STRING, category STRING, image STRING, images STRING[], "
    "description STRING, source STRING, batch STRING, row INT64, evidence STRING, time STRING, "
    "references STRING)",
    "CREATE NODE TABLE IF NOT EXISTS Value(text STRING PRIMARY KEY)",
    "CREATE NODE TABLE IF NOT EXISTS Applied(name STRING PRIMARY KEY, version INT64)",
    "CREATE REL TABLE IF NOT EXISTS HAS("
    "FROM Item TO Value, id STRING, property STRING, rank STRING, source STRING, batch STRING, "
    "row INT64, model STRING, confidence DOUBLE, evidence STRING, reviewer STRING, time STRING, "
    "language STRING, references STRING)",
    # A graph of an earlier version lacks these.
    "ALTER TABLE Item ADD IF NOT EXISTS description STRING",
    "ALTER TABLE Item ADD IF NOT EXISTS source STRING",
    "ALTER TABLE Item ADD IF NOT EXISTS batch STRING",
    "ALTER TABLE Item ADD IF NOT EXISTS row INT64",
    "ALTER TABLE Item ADD IF NOT EXISTS evidence STRING",
    "ALTER TABLE Item ADD IF NOT EXISTS time STRING",
    "ALTER TABLE Item ADD IF NOT EXISTS references STRING",
    "ALTER TABLE HAS ADD IF NOT EXISTS language STRING",
    "ALTER TABLE HAS ADD IF NOT EXISTS references STRING",
)
# The version is a node of the graph itself, so that no file can say anything else.
SET_APPLIED_VERSION = "MERGE (a:Applied {name: 'journal'}) SET a.version = $version"

MERGE_ITEMS = "LOAD FROM $rows MERGE (i:Item {id: id}) SET " + ", ".join(
    f"i.{name} = {name}" for name in ITEM_PROPERTIES if name != "id"
)
MERGE_VALUES = "LOAD FROM $rows MERGE (v:Value {text: text})"
# Only nodes have an index, that of their primary key. So a statement is found through its two ends.
_MATCH_ENDS = "LOAD FROM $rows MATCH (i:Item {id: item}) MATCH (v:Value {text: value})"
CREATE_STATEMENTS = (
    f"{_MATCH_ENDS} CREATE (i)-[:HAS {{"
    + ", ".join(f"{name}: {name}" for name in RELATIONSHIP_PROPERTIES)
    + "}]->(v)"
)
REPLACED_STATEMENTS = (
    f"{MATCH_STATEMENTS} WHERE {IN_RANGE} AND offset(id(i)) IN $places "
    f"AND list_contains($ids, h.id) {FROM_ITEMS} DELETE h"
)
DELETE_STATEMENTS = f"{MATCH_STATEMENTS} WHERE list_contains($ids, h.id) DELETE h"
DELETE_ITEMS = "LOAD FROM $rows MATCH (i:Item {id: id}) DELETE i"


class LadybugGraph(LadybugReader):
    """A graph file, and the version of the journal that it shows.

    Opened for writing, the file is made if there is none. Raises StoreDamagedError if the file is
    damaged, and StoreUnavailableError if the system refuses to open it for now.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self._file: int | None = None
        if read_only:
            self._open_published()
            return
        self.database = open_database(path, read_only=False, buffer_pool_bytes=WRITER_POOL_BYTES)
        for text in CREATE_TABLES:
            self._execute(text)
        self.queries = QueryPool(GraphSource(Engine.LADYBUG, path))

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
        self.queries.close()
        with ladybug_errors(self.path):
            self.database.close()
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def finish(self) -> None:
        """Write all changes into the file itself, and release it."""
        self.flush()
        self.close()

    def flush(self) -> None:
        """Write all changes into the file itself."""
        self._execute("CHECKPOINT")

    def save_copy(self, target: Path) -> None:
        """Copy the file."""
        copy_file(self.path, target)

    def abandon(self) -> None:
        """Give up a graph that failed to be written, without touching it any more."""
        self.queries.close()
        # Its files are worth nothing now, but the disk may need their room.
        for path in (self.path, *side_files(self.path)):
            with suppress(OSError):
                os.truncate(path, 0)
        # One reference more than there are: the Database lives, unused, until the process ends.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self.database))

    def room_for(self, changes: pa.Table) -> int:
        """Return about how many bytes of disk a batch needs while it is applied."""
        return GROWTH * changes.nbytes + min(LOG_GROWTH * changes.nbytes, LOG_BYTES)

    def applied_version(self) -> int:
        """Return the journal's version that the graph shows, or -1 if it shows none."""
        rows = self.rows("MATCH (a:Applied {name: 'journal'}) RETURN a.version AS version")
        return int(rows[0]["version"]) if rows else -1

    def apply(self, version: int, changes: pa.Table) -> None:
        """Apply one batch of the journal; applying it twice has the same result as once."""
        batch = JournalBatch.from_table(changes)
        items = with_image(batch.items)
        texts = dict.fromkeys(batch.statements["value"].to_pylist())
        values = pa.table({"text": pa.array(texts, pa.string())})

        removes = bool(batch.retracted or batch.deleted)
        is_first = version == 0 and not removes and changes.nbytes <= COPIED_BYTES
        if is_first and self.is_empty():
            # Killed in here, the graph is not empty but shows no version, so that the batch is
            # applied again with MERGE, which creates only what is missing.
            self._copy(items, values, batch.statements)
            self._execute(SET_APPLIED_VERSION, {"version": version})
        else:
            self._merge(items, values, batch, version)

    def _copy(self, items: pa.Table, values: pa.Table, statements: pa.Table) -> None:
        """Load the first batch into an empty graph, one COPY at a time in autocommit."""
        relationships = statements.select(["item", "value", *RELATIONSHIP_PROPERTIES])
        for text, table in (
            ("COPY Item FROM $rows", items),
            ("COPY Value FROM $rows", values),
            ("COPY HAS FROM $rows", relationships),
        ):
            if table.num_rows:
                self._execute(text, {"rows": table})

    def _merge(self, items: pa.Table, values: pa.Table, batch: JournalBatch, version: int) -> None:
        """Apply a batch a few rows at a time, and its version last.

        A graph in which only a part was applied is never published.
        """
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
            self._execute(DELETE_STATEMENTS, {"ids": batch.retracted})
        if batch.deleted:
            self._execute(DELETE_ITEMS, {"rows": pa.table({"id": batch.deleted})})
        self._execute(SET_APPLIED_VERSION, {"version": version})

    def _delete_existing(self, statements: pa.Table) -> None:
        """Delete those of the statements that the graph has."""
        wanted = pc.unique(statements["item"]).to_pylist()
        places = self.places_of(wanted) if wanted else []
        found = pa.array([row["id"] for row in self.statements_of(places, "h.id AS id")])
        existing = statements.filter(pc.is_in(statements["id"], value_set=found.cast(pa.string())))
        for start in range(0, existing.num_rows, MERGED_ROWS):
            part = existing.slice(start, MERGED_ROWS)
            items = pc.unique(part["item"]).to_pylist()
            ids = part["id"].to_pylist()
            for each in ranges_of(self.places_of(items)):
                self._execute(REPLACED_STATEMENTS, {**each, "ids": ids})

    def _execute(self, text: str, params: dict[str, Any] | None = None) -> None:
        with ladybug_errors(self.path):
            connection = self.connect()
            try:
                connection.execute(text, params or {})
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
