"""What a written source would say if it was ingested, compared with what it should say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa

from kg.stores.sorting import sorting_errors, temporary_database

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


class Comparison:
    """The ids of statements that are expected and of those that are found, on the disk."""

    def __init__(self, database: DuckDBPyConnection) -> None:
        self._database = database
        for name in ("expected", "found"):
            database.execute(f"CREATE TABLE {name} (id VARCHAR)")

    def expect(self, statements: pa.Table) -> None:
        """Add the ids of statements that have to be there."""
        self._insert("expected", statements)

    def find(self, statements: pa.Table) -> None:
        """Add the ids of statements that are there."""
        self._insert("found", statements)

    def differences(self) -> int:
        """Return how many ids only one side has."""
        with sorting_errors():
            rows = self._database.execute(
                "SELECT count(*) FROM (SELECT DISTINCT id FROM expected) AS one "
                "FULL OUTER JOIN (SELECT DISTINCT id FROM found) AS other ON one.id = other.id "
                "WHERE one.id IS NULL OR other.id IS NULL"
            ).fetchall()
        ((count,),) = rows
        return int(count)

    def _insert(self, name: str, statements: pa.Table) -> None:
        with sorting_errors():
            self._database.register("new_rows", statements.select(["id"]))
            self._database.execute(f"INSERT INTO {name} FROM new_rows")
            self._database.unregister("new_rows")


@contextmanager
def comparison() -> Iterator[Comparison]:
    """Open a comparison, which lasts as long as the ``with`` block."""
    with temporary_database() as database:
        yield Comparison(database)
