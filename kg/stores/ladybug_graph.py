"""A Ladybug graph file: open it, and apply the journal's batches to it.

These rules for Ladybug 0.22 were learned by measuring, and the code here keeps them:

- COPY from Arrow is the fastest way to load, but only into an empty graph: a second COPY of
  relationships duplicates them. Afterwards LOAD FROM ... MERGE takes about twice as long as COPY.
  ``UNWIND $rows MERGE`` is 70 times slower, and gets worse as the graph grows.
- COPY runs in autocommit, never in a transaction with other writes: killed there, it left a torn
  graph in 21 of 60 runs. A COPY that raised was not applied, whatever the message says.
- Two MATCH clauses, never ``MATCH (a), (b)``.
- A new connection for each batch, and a ``buffer_pool_size`` of at least 1 GB.
- One Database object open for writing per process, behind our own lock file. Processes are
  spawned, never forked.
- Extensions cannot be downloaded offline, so the graph has no vector and no full-text index.
- ``read_only=True`` keeps a query from changing the graph, but not from reading files or killing
  the process. That is what ``cypher_guard`` is for.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kg.stores.journal import JournalBatch
from kg.stores.ladybug_reading import LadybugReader
from kg.stores.property_graph import MATCH_STATEMENTS, RELATIONSHIP_PROPERTIES, first_image
from kg.stores.tables import BATCH_ROWS

BUFFER_POOL_BYTES = 1 << 30
FILE = "graph.lbug"
CREATE_TABLES = (
    "CREATE NODE TABLE IF NOT EXISTS Item("
    "id STRING PRIMARY KEY, title STRING, category STRING, image STRING, images STRING[])",
    "CREATE NODE TABLE IF NOT EXISTS Value(text STRING PRIMARY KEY)",
    "CREATE NODE TABLE IF NOT EXISTS Applied(name STRING PRIMARY KEY, version INT64)",
    "CREATE REL TABLE IF NOT EXISTS HAS("
    "FROM Item TO Value, id STRING, property STRING, rank STRING, source STRING, batch STRING, "
    "row INT64, model STRING, confidence DOUBLE, evidence STRING, reviewer STRING, time STRING)",
)
# The version is a node of the graph itself: one transaction commits it together with its batch.
SET_APPLIED_VERSION = "MERGE (a:Applied {name: 'journal'}) SET a.version = $version"

MERGE_ITEMS = """
LOAD FROM $rows MERGE (i:Item {id: id})
SET i.title = title, i.category = category, i.image = image, i.images = images
"""
MERGE_VALUES = "LOAD FROM $rows MERGE (v:Value {text: text})"
# Only nodes have an index, that of their primary key. So a statement is found through its two ends.
_MATCH_ENDS = "LOAD FROM $rows MATCH (i:Item {id: item}) MATCH (v:Value {text: value})"
CREATE_STATEMENTS = (
    f"{_MATCH_ENDS} CREATE (i)-[:HAS {{"
    + ", ".join(f"{name}: {name}" for name in RELATIONSHIP_PROPERTIES)
    + "}]->(v)"
)
UPDATE_STATEMENTS = f"{_MATCH_ENDS} MATCH (i)-[h:HAS {{id: id}}]->(v) SET " + ", ".join(
    f"h.{name} = {name}" for name in RELATIONSHIP_PROPERTIES if name != "id"
)
DELETE_STATEMENTS = f"{MATCH_STATEMENTS} WHERE list_contains($ids, h.id) DELETE h"


class LadybugGraph(LadybugReader):
    """The file ``graph.lbug`` in a store's folder, and the version of the journal that it shows.

    A graph that cannot be opened is torn: it is deleted, and the journal fills a new one. With
    ``read_only``, RuntimeError is raised instead.
    """

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        import ladybug

        self.folder = folder
        path = str(folder / FILE)
        if read_only:
            self.database = ladybug.Database(
                path, buffer_pool_size=BUFFER_POOL_BYTES, read_only=True
            )
            return
        try:
            self._open_for_writing(path)
        except RuntimeError:
            delete_files(folder)
            self._open_for_writing(path)

    def _open_for_writing(self, path: str) -> None:
        import ladybug

        self.database = ladybug.Database(path, buffer_pool_size=BUFFER_POOL_BYTES)
        for text in CREATE_TABLES:
            self._execute(text)

    def close(self) -> None:
        """Release the file."""
        self.database.close()

    def applied_version(self) -> int:
        """Return the journal's version that the graph shows, or -1 if it shows none."""
        rows = self.rows("MATCH (a:Applied {name: 'journal'}) RETURN a.version AS version")
        return int(rows[0]["version"]) if rows else -1

    def apply(self, version: int, changes: pa.Table) -> None:
        """Apply one batch of the journal; applying it twice has the same result as once."""
        batch = JournalBatch.from_table(changes)
        images = [first_image(each) for each in batch.items["images"].to_pylist()]
        items = batch.items.append_column("image", pa.array(images, pa.string()))
        texts = dict.fromkeys(batch.statements["value"].to_pylist())
        values = pa.table({"text": pa.array(texts, pa.string())})

        if version == 0 and not batch.retracted and self.is_empty():
            # Killed in here, the graph is not empty but shows no version, so that the batch is
            # applied again with MERGE, which creates only what is missing.
            self._copy(items, values, batch.statements)
            self._execute(SET_APPLIED_VERSION, {"version": version})
        else:
            self._merge(items, values, batch, version)

    def _copy(self, items: pa.Table, values: pa.Table, statements: pa.Table) -> None:
        """Load the first batch into an empty graph, one COPY at a time in autocommit."""
        nodes = items.select(["id", "title", "category", "image", "images"])
        relationships = statements.select(["item", "value", *RELATIONSHIP_PROPERTIES])
        for text, table in (
            ("COPY Item FROM $rows", nodes),
            ("COPY Value FROM $rows", values),
            ("COPY HAS FROM $rows", relationships),
        ):
            if table.num_rows:
                self._execute(text, {"rows": table})

    def _merge(self, items: pa.Table, values: pa.Table, batch: JournalBatch, version: int) -> None:
        """Apply a batch and its version in one transaction, so that nothing is created twice."""
        # New statements are created, and not merged like the nodes: later batches load six times as
        # fast.
        existing = pa.array(sorted(self._statement_ids(batch.statements["item"])), pa.string())
        exists = pc.is_in(batch.statements["id"], value_set=existing)
        steps = (
            (MERGE_ITEMS, items),
            (MERGE_VALUES, values),
            (CREATE_STATEMENTS, batch.statements.filter(pc.invert(exists))),
            (UPDATE_STATEMENTS, batch.statements.filter(exists)),
        )
        connection = self.connect()
        try:
            connection.execute("BEGIN TRANSACTION")
            for text, table in steps:
                for start in range(0, table.num_rows, BATCH_ROWS):
                    connection.execute(text, {"rows": table.slice(start, BATCH_ROWS)})
            if batch.retracted:
                connection.execute(DELETE_STATEMENTS, {"ids": batch.retracted})
            connection.execute(SET_APPLIED_VERSION, {"version": version})
            connection.execute("COMMIT")
        finally:
            # A transaction that was not committed is rolled back with its connection.
            connection.close()

    def _statement_ids(self, item_ids: pa.ChunkedArray) -> list[str]:
        """Return the ids of all statements that the graph has about some items."""
        wanted = pa.table({"item_id": pc.unique(item_ids)})
        if not wanted.num_rows:
            return []
        text = (
            "LOAD FROM $rows MATCH (i:Item {id: item_id}) MATCH (i)-[h:HAS]->(v:Value) "
            "RETURN h.id AS id"
        )
        return [row["id"] for row in self.rows(text, {"rows": wanted})]

    def _execute(self, text: str, params: dict[str, Any] | None = None) -> None:
        connection = self.connect()
        try:
            connection.execute(text, params or {})
        finally:
            connection.close()


def delete_files(folder: Path) -> None:
    """Delete the graph's files in a store's folder, but not the journal."""
    # The write-ahead log lies beside the graph, as graph.lbug.wal.
    for path in folder.glob(f"{FILE}*"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
