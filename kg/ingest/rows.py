"""Rows and records, as readers yield them: in batches, with the rows that could not be read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from schema.arrays import IntArray
from schema.rejects import RejectedRow
from schema.spreadsheets import restored_column


class BadRowError(ValueError):
    """A row that cannot be stored; the text is the reason that is shown to the user."""


@dataclass(frozen=True, slots=True)
class TextRow:
    """One row of a source: its line in the file, and its cells in the order of the columns."""

    line: int
    cells: Sequence[str | None]


@dataclass(frozen=True, slots=True)
class SkippedLine:
    """A line that is no row of the table, and what it is: such as a repeated header."""

    line: int
    what: str


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a source: the line where it starts, and its value.

    The value is made of dict, list, str, int, float, bool and None, and of bytes that are no text.
    Numbers that are written as 1.10 keep that text, see ``WrittenFloat``.
    """

    line: int
    value: dict[str, Any]


@dataclass
class RecordBatch:
    """Records in the order of the source, and the rows that are none.

    Records have no lines that are skipped, nor cells that were defused for spreadsheets.
    """

    records: list[Record] = field(default_factory=list)
    rejects: list[RejectedRow] = field(default_factory=list)
    restored: int = 0
    skipped: list[SkippedLine] = field(default_factory=list)

    @classmethod
    def of(cls, read: Iterable[Record | RejectedRow]) -> RecordBatch:
        """Return what was read as a batch."""
        batch = cls()
        for each in read:
            if isinstance(each, Record):
                batch.records.append(each)
            else:
                batch.rejects.append(each)
        return batch


@dataclass
class Batch:
    """Rows of a source: a table of text [N], the line of each row [N], and rejected rows.

    ``restored`` is the number of cells that had been defused for spreadsheets. ``skipped`` are
    lines between the rows that are none, and not counted as such.
    """

    table: pa.Table
    lines: IntArray
    rejects: list[RejectedRow] = field(default_factory=list)
    restored: int = 0
    skipped: list[SkippedLine] = field(default_factory=list)

    @property
    def rows_read(self) -> int:
        """The number of rows that the reader saw, with the rejected ones."""
        return int(self.table.num_rows) + len(self.rejects)

    def restore_formulas(self) -> None:
        """Undo what an export did to keep spreadsheets from running a text, see ``restored``."""
        columns = [restored_column(column) for column in self.table.columns]
        self.restored = sum(column.changed for column in columns)
        if self.restored:
            names = self.table.column_names
            self.table = pa.table([column.column for column in columns], names=names)


def batches_of_rows(
    rows: Iterable[TextRow | RejectedRow | SkippedLine], columns: Sequence[str], batch_rows: int
) -> Iterator[Batch]:
    """Gather rows into batches of at most ``batch_rows``, with rejected rows and skipped lines."""
    good: list[TextRow] = []
    rejects: list[RejectedRow] = []
    skipped: list[SkippedLine] = []
    for row in rows:
        if isinstance(row, TextRow):
            good.append(row)
        elif isinstance(row, RejectedRow):
            rejects.append(row)
        else:
            skipped.append(row)
        if len(good) + len(rejects) + len(skipped) >= batch_rows:
            yield Batch(*_table_of(good, columns), rejects, skipped=skipped)
            good = []
            rejects = []
            skipped = []
    if good or rejects or skipped:
        yield Batch(*_table_of(good, columns), rejects, skipped=skipped)


def _table_of(rows: list[TextRow], columns: Sequence[str]) -> tuple[pa.Table, IntArray]:
    """Return N rows as a table and their lines [N]."""
    cells_by_column = (
        zip(*(row.cells for row in rows), strict=True) if rows else [()] * len(columns)
    )
    table = pa.table(
        {
            name: pa.array(cells, pa.string())
            for name, cells in zip(columns, cells_by_column, strict=True)
        }
    )
    return table, np.array([row.line for row in rows], np.int64)
