"""Proposals, their runs and changes; the table of completions, which nothing wrote, goes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the tables of proposals."""
    op.create_table(
        "proposals",
        sa.Column("id", sa.Integer, primary_key=True),
        *(sa.Column(name, sa.String, nullable=False) for name in ("item", "property", "value")),
        sa.Column("values", sa.JSON, nullable=False),
        sa.Column("probability", sa.Float, nullable=False),
        sa.Column("candidates", sa.JSON, nullable=False),
        sa.Column("decision", sa.String, nullable=False),
        sa.Column("proven", sa.Float),
        sa.Column("evidence", sa.JSON, nullable=False),
        sa.Column("origin", sa.String, nullable=False),
        sa.Column("model", sa.String),
        sa.Column("run", sa.String, nullable=False, index=True),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("decided", sa.JSON, nullable=False),
        sa.Column("reviewer", sa.String),
        sa.Column("created", sa.String, nullable=False),
        sa.Column("changed", sa.String, nullable=False),
        sa.Column("due", sa.String),
        sa.Column("skips", sa.Integer, nullable=False),
        sa.Column("change", sa.Integer, nullable=False),
        sa.Column("checksum", sa.String),
    )
    op.create_index("ix_proposals_cell", "proposals", ["item", "property"])
    op.create_index("ix_proposals_state", "proposals", ["state", "property", "probability"])
    op.create_table(
        "proposal_runs",
        sa.Column("id", sa.String, primary_key=True),
        *(sa.Column(name, sa.String, nullable=False) for name in ("kind", "started", "status")),
        sa.Column("reviewer", sa.String),
        sa.Column("undoes", sa.String),
        sa.Column("report", sa.JSON, nullable=False),
        sa.Column("pending", sa.Integer, nullable=False),
        sa.Column("checksum", sa.String),
    )
    op.create_table(
        "proposal_changes",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("run", sa.String, nullable=False, index=True),
        sa.Column("proposal", sa.Integer, nullable=False, index=True),
        *(sa.Column(name, sa.String, nullable=False) for name in ("before", "after")),
        sa.Column("decided", sa.JSON, nullable=False),
        sa.Column("reviewer", sa.String),
        sa.Column("former", sa.Integer, nullable=False),
        sa.Column("restores", sa.Integer, nullable=False),
        sa.Column("checksum", sa.String),
    )
    op.create_table(
        "proposal_stores",
        sa.Column("store", sa.String, primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("checksum", sa.String),
    )
    op.drop_table("completions")
    op.execute("DELETE FROM table_checksums WHERE name = 'completions'")


def downgrade() -> None:
    """Drop the tables of proposals, and create that of completions again, which was empty."""
    for table in ("proposals", "proposal_runs", "proposal_changes", "proposal_stores"):
        op.drop_table(table)
        op.execute(f"DELETE FROM table_checksums WHERE name = '{table}'")
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
        sa.Column("checksum", sa.String),
    )
