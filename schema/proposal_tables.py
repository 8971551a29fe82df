"""The ledger's tables of proposals, of the runs that changed them, and of their changes."""

from __future__ import annotations

import sqlalchemy as sa

from schema.ledger_checksums import CHECKSUM


def define_tables(metadata: sa.MetaData) -> tuple[sa.Table, sa.Table, sa.Table, sa.Table]:
    """Define proposals, runs of proposals, changes of proposals, and how far stores were read."""
    proposals = sa.Table(
        "proposals",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("item", sa.String, nullable=False),
        sa.Column("property", sa.String, nullable=False),
        sa.Column("value", sa.String, nullable=False),
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
        sa.Column(CHECKSUM, sa.String),
        sa.Column("replaces", sa.JSON, nullable=False, server_default="[]"),
        sa.Index("ix_proposals_cell", "item", "property"),
        sa.Index("ix_proposals_state", "state", "property", "probability"),
    )
    runs = sa.Table(
        "proposal_runs",
        metadata,
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("started", sa.String, nullable=False),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("reviewer", sa.String),
        sa.Column("undoes", sa.String),
        sa.Column("report", sa.JSON, nullable=False),
        sa.Column("pending", sa.Integer, nullable=False),
        sa.Column(CHECKSUM, sa.String),
    )
    changes = sa.Table(
        "proposal_changes",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("run", sa.String, nullable=False, index=True),
        sa.Column("proposal", sa.Integer, nullable=False, index=True),
        sa.Column("before", sa.String, nullable=False),
        sa.Column("after", sa.String, nullable=False),
        sa.Column("decided", sa.JSON, nullable=False),
        sa.Column("reviewer", sa.String),
        sa.Column("former", sa.Integer, nullable=False),
        sa.Column("restores", sa.Integer, nullable=False),
        sa.Column(CHECKSUM, sa.String),
    )
    read = sa.Table(
        "proposal_stores",
        metadata,
        sa.Column("store", sa.String, primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column(CHECKSUM, sa.String),
    )
    return proposals, runs, changes, read
