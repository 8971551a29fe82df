"""Ingest runs, rejected rows, query log, training runs, completions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the first tables."""
    op.create_table(
        "ingest_runs",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("started", sa.String, nullable=False),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("sources", sa.JSON, nullable=False),
        sa.Column("report", sa.JSON, nullable=False),
    )
    op.create_table(
        "rejected_rows",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("run", sa.String, nullable=False, index=True),
        sa.Column("file", sa.String, nullable=False, index=True),
        sa.Column("line", sa.Integer, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("text", sa.String, nullable=False),
    )
    op.create_table(
        "query_log",
        sa.Column("query", sa.String, primary_key=True),
        sa.Column("item", sa.String, primary_key=True),
        *(
            sa.Column(name, sa.Integer, nullable=False)
            for name in ("impressions", "clicks", "purchases")
        ),
    )
    op.create_table(
        "training_runs",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("time", sa.String, nullable=False),
        sa.Column("name", sa.String, index=True),
        sa.Column("report", sa.JSON, nullable=False),
    )
    op.create_table(
        "completions",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("time", sa.String, nullable=False),
        sa.Column("model", sa.String, nullable=False),
        sa.Column("item", sa.String, nullable=False, index=True),
        sa.Column("property", sa.String, nullable=False),
        sa.Column("value", sa.String),
        sa.Column("probability", sa.Float),
        sa.Column("decision", sa.String, nullable=False),
        sa.Column("evidence", sa.JSON),
        sa.Column("reviewer", sa.String),
        sa.Column("reviewed", sa.String),
    )


def downgrade() -> None:
    """Drop the first tables."""
    for table in ("completions", "training_runs", "query_log", "rejected_rows", "ingest_runs"):
        op.drop_table(table)
