"""Tokens of the API."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Create the table of tokens."""
    op.create_table(
        "tokens",
        sa.Column("digest", sa.String, primary_key=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("scopes", sa.JSON, nullable=False),
        sa.Column("created", sa.String, nullable=False),
        sa.Column("expires", sa.String),
        sa.Column("revoked", sa.String),
        sa.Column("checksum", sa.String),
    )
    op.create_index("ix_tokens_name", "tokens", ["name"])


def downgrade() -> None:
    """Remove the table: nobody has a token any more."""
    op.drop_table("tokens")
    op.execute("DELETE FROM table_checksums WHERE name = 'tokens'")
