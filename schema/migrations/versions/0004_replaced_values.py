"""What a proposal replaces."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from schema.ledger_checksums import ChecksummedTable, checksums_table

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column; none of the proposals so far replaces anything."""
    before = _proposals()
    column = sa.Column("replaces", sa.JSON, nullable=False, server_default="[]")
    op.add_column("proposals", column)
    _with_checksums(_proposals()).take_over(before)


def downgrade() -> None:
    """Remove the column; what was proposed in the place of stored values looks like the rest."""
    before = _proposals()
    names = [column.name for column in before.columns if column.name != "replaces"]
    _with_checksums(_proposals(names)).take_over(before)
    with op.batch_alter_table("proposals") as table:
        table.drop_column("replaces")


def _proposals(columns: Sequence[str] | None = None) -> sa.Table:
    """Return the table as it is now, with all of its columns or with some."""
    return sa.Table(
        "proposals", sa.MetaData(), autoload_with=op.get_bind(), include_columns=columns
    )


def _with_checksums(table: sa.Table) -> ChecksummedTable:
    return ChecksummedTable(op.get_bind(), table, checksums_table(sa.MetaData()))
