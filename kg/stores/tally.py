"""Count what a journal's batches leave, apart from any graph that shows them."""

from __future__ import annotations

import tempfile
from typing import Self

import pyarrow as pa

from kg.stores.sorting import SORT_MEMORY_LIMIT, sorting_errors


class Tally:
    """The items and statements that are left after some batches of a journal.

    They are counted in a database on disk, which lasts as long as the ``with`` block.
    """

    def __enter__(self) -> Self:
        import duckdb

        self._folder = tempfile.TemporaryDirectory()
        with sorting_errors():
            self._database = duckdb.connect(
                f"{self._folder.name}/tally.duckdb", config={"memory_limit": SORT_MEMORY_LIMIT}
            )
            self._database.execute("CREATE TABLE items (id VARCHAR)")
            self._database.execute(
                "CREATE TABLE statements (id VARCHAR, turn BIGINT, is_there BOOL)"
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()
        self._folder.cleanup()

    def add(self, version: int, changes: pa.Table) -> None:
        """Add the batch of a version, a table in JOURNAL_SCHEMA."""
        with sorting_errors():
            self._database.register("changes", changes.select(["operation", "id", "statement"]))
            self._database.execute(
                "INSERT INTO items SELECT id FROM changes WHERE operation = 'item'"
            )
            # Within a batch, statements are retracted last.
            self._database.execute(
                "INSERT INTO statements "
                "SELECT statement, 2 * $version + (operation = 'retract')::INT, "
                "operation = 'statement' FROM changes WHERE operation != 'item'",
                {"version": version},
            )
            self._database.unregister("changes")

    def counts(self) -> tuple[int, int]:
        """Return the number of items and of statements that are there now."""
        with sorting_errors():
            items = self._database.sql("SELECT count(DISTINCT id) FROM items").fetchall()
            statements = self._database.sql(
                "SELECT count(*) FROM (SELECT arg_max(is_there, turn) AS is_there FROM statements "
                "GROUP BY id) WHERE is_there"
            ).fetchall()
        return items[0][0], statements[0][0]
