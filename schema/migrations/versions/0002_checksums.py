"""Checksums of rows and tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from schema.ledger_checksums import CHECKSUM, ChecksummedTable, checksums_table

revision = "0002"
down_revision = "0001"

TABLES = ("ingest_runs", "rejected_rows", "query_log", "training_runs", "completions")


def upgrade() -> None:
    """Add the checksums of what the tables hold now."""
    connection = op.get_bind()
    metadata = sa.MetaData()
    sums = checksums_table(metadata)
    sums.create(connection)
    for name in TABLES:
        op.add_column(name, sa.Column(CHECKSUM, sa.String))
        table = sa.Table(name, metadata, autoload_with=connection)
        ChecksummedTable(connection, table, sums).recompute()


def downgrade() -> None:
    """Remove the checksums."""
    op.drop_table("table_checksums")
    for name in TABLES:
        with op.batch_alter_table(name) as table:
            table.drop_column(CHECKSUM)
