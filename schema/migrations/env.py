"""The environment that Alembic runs; the ledger passes its open connection."""

from __future__ import annotations

from alembic import context

from schema.ledger import metadata

connection = context.config.attributes["connection"]
# SQLite cannot alter most parts of a table: in batch mode Alembic copies the table instead.
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
