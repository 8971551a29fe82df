"""New ledgers as the migrations make them, without running these again for each test's home."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

Migrate = Callable[..., None]


class RememberedMigrations:
    """Runs the migrations of the first empty file, and repeats what they left for the others.

    A third of what it takes to make a small home would be migrations.
    """

    def __init__(self, migrate: Migrate) -> None:
        self._migrate = migrate
        self._left: list[str] = []

    def __call__(self, connection: Connection, downgrade_to: str | None = None) -> None:
        """Upgrade a ledger to the newest revision, or downgrade it."""
        is_empty_file = (
            downgrade_to is None
            and connection.dialect.name == "sqlite"
            and not sa.inspect(connection).get_table_names()
        )
        if not is_empty_file:
            self._migrate(connection, downgrade_to)
            return
        if self._left:
            for statement in self._left:
                connection.exec_driver_sql(statement)
            return
        self._migrate(connection)
        database: Any = connection.connection.driver_connection
        # But for the first and the last, which begin and end a transaction.
        self._left = list(database.iterdump())[1:-1]
