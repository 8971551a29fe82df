"""The Ladybug graph file: opened, read, and brought up to a journal's batches.

Rules that were learned by measuring: COPY from Arrow only into an empty graph and in autocommit; MERGE from Arrow afterwards; two MATCH
clauses, never one with a comma; a fresh connection a batch; one read-write database a process.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kg.stores.journal import parts_of
from kg.stores.ladybug_reading import BATCH_ROWS, PROPERTIES, LadybugReading

BUFFER_POOL = 1 << 30
FILE = "graph.lbug"
TABLES = (
    "CREATE NODE TABLE IF NOT EXISTS Item(id STRING PRIMARY KEY, title STRING, category STRING, image STRING, images STRING[])",
    "CREATE NODE TABLE IF NOT EXISTS Value(text STRING PRIMARY KEY)",
    "CREATE NODE TABLE IF NOT EXISTS Applied(name STRING PRIMARY KEY, version INT64)",
    "CREATE REL TABLE IF NOT EXISTS HAS(FROM Item TO Value, id STRING, property STRING, rank STRING, source STRING, batch STRING, "
    "row INT64, model STRING, confidence DOUBLE, evidence STRING, reviewer STRING, time STRING)",
)
APPLIED = "MERGE (a:Applied {name: 'journal'}) SET a.version = $version"


class LadybugGraph(LadybugReading):
    """The file ``graph.lbug`` in a store's folder, and the version of the journal that it shows.

    It is a projection: where it is torn, it is wiped, and the journal makes it anew. Raises RuntimeError where a file that is only read
    cannot be opened.
    """

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        import ladybug

        self.folder = folder
        path = str(folder / FILE)
        if read_only:
            self.database = ladybug.Database(path, buffer_pool_size=BUFFER_POOL, read_only=True)
            return
        try:
            self._create(path)
        except RuntimeError:
            wipe(folder)
            self._create(path)

    def _create(self, path: str) -> None:
        import ladybug

        self.database = ladybug.Database(path, buffer_pool_size=BUFFER_POOL)
        for text in TABLES:
            self._execute(text)

    def close(self) -> None:
        """Release the file."""
        self.database.close()

    def applied(self) -> int:
        """The journal's version that the graph shows, -1 for none."""
        rows = self.rows("MATCH (a:Applied {name: 'journal'}) RETURN a.version AS version", {})
        return int(rows[0]["version"]) if rows else -1

    def apply(self, version: int, changes: pa.Table) -> None:
        """Bring one batch into the graph; doing it twice is doing it once."""
        items, facts, retracted = parts_of(changes)
        items = items.append_column(
            "image",
            pa.array(
                [(images or [None])[0] for images in items["images"].to_pylist()], pa.string()
            ),
        )
        values = pa.table(
            {"text": pa.array(dict.fromkeys(facts["value"].to_pylist()), pa.string())}
        )
        if self.is_empty() and version == 0 and not retracted:
            self._copy(items, values, facts)
            self._execute(APPLIED, {"version": version})
        else:
            self._merge(items, values, facts, retracted, version)

    def _copy(self, items: pa.Table, values: pa.Table, facts: pa.Table) -> None:
        edges = facts.select(["item", "value", *PROPERTIES])
        for text, table in (
            ("COPY Item FROM $rows", items.select(["id", "title", "category", "image", "images"])),
            ("COPY Value FROM $rows", values),
            ("COPY HAS FROM $rows", edges),
        ):
            if table.num_rows:
                self._execute(text, {"rows": table})

    def _merge(
        self, items: pa.Table, values: pa.Table, facts: pa.Table, retracted: list[str], version: int
    ) -> None:
        """One transaction with the version, so that what is created is never created twice."""
        known = pa.array(sorted(self._known_ids(facts["item"])), pa.string())
        there = pc.is_in(facts["id"], value_set=known)
        fields = ", ".join(
            f"i.{name} = {name}" for name in ("title", "category", "image", "images")
        )
        ends = "LOAD FROM $rows MATCH (i:Item {id: item}) MATCH (v:Value {text: value})"
        steps = [
            (f"LOAD FROM $rows MERGE (i:Item {{id: id}}) SET {fields}", items),
            ("LOAD FROM $rows MERGE (v:Value {text: text})", values),
            (
                f"{ends} CREATE (i)-[:HAS {{{', '.join(f'{name}: {name}' for name in PROPERTIES)}}}]->(v)",
                facts.filter(pc.invert(there)),
            ),
            (
                f"{ends} MATCH (i)-[h:HAS {{id: id}}]->(v) SET {', '.join(f'h.{n} = {n}' for n in PROPERTIES[1:])}",
                facts.filter(there),
            ),
        ]
        connection = self.connect()
        try:
            connection.execute("BEGIN TRANSACTION")
            for text, table in steps:
                for start in range(0, table.num_rows, BATCH_ROWS):
                    connection.execute(text, {"rows": table.slice(start, BATCH_ROWS)})
            if retracted:
                text = "MATCH (i:Item)-[h:HAS]->(v:Value) WHERE list_contains($ids, h.id) DELETE h"
                connection.execute(text, {"ids": retracted})
            connection.execute(APPLIED, {"version": version})
            connection.execute("COMMIT")
        finally:
            connection.close()

    def _known_ids(self, names: pa.ChunkedArray) -> list[str]:
        """Ids of the statements that the graph has about the named items."""
        wanted = pa.table({"name": pc.unique(names)})
        if not wanted.num_rows:
            return []
        text = "LOAD FROM $rows MATCH (i:Item {id: name}) MATCH (i)-[h:HAS]->(v:Value) RETURN h.id AS id"
        return [row["id"] for row in self.rows(text, {"rows": wanted})]

    def _execute(self, text: str, params: dict[str, Any] | None = None) -> None:
        connection = self.connect()
        try:
            connection.execute(text, params or {})
        finally:
            connection.close()


def wipe(folder: Path) -> None:
    """Delete the graph's files below ``folder``; the journal stays."""
    for path in folder.glob(f"{FILE}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
