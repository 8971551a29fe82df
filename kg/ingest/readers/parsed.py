"""What was parsed of some lines of delimited text."""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from kg.ingest.readers.row_form import RowForm
from kg.ingest.rows import SkippedLine
from schema.arrays import BoolArray, IntArray
from schema.rejects import MAX_REJECT_TEXT, RejectedRow


@dataclass
class Parsed:
    """What some lines hold.

    Attributes:
        form: the form of the rows
        file: what rejected rows call the file
        tables: rows of text, in the order of the file
        lines: the line in which each of these rows starts
        rejects: the rows that were rejected
        skipped: the lines that are no rows
        undecodable: how many of the rejected rows are not valid in the encoding
        consumed: how many bytes were parsed; the rest belongs to a row that goes on after them
        line_count: how many lines these bytes are
    """

    form: RowForm
    file: str
    tables: list[pa.Table] = field(default_factory=list)
    lines: list[IntArray] = field(default_factory=list)
    rejects: list[RejectedRow] = field(default_factory=list)
    skipped: list[SkippedLine] = field(default_factory=list)
    undecodable: int = 0
    consumed: int = 0
    line_count: int = 0

    @property
    def row_count(self) -> int:
        """The number of rows, with the rejected ones."""
        return sum(map(len, self.lines)) + len(self.rejects)

    def reject(self, line: int, reason: str, text: bytes) -> None:
        """Reject the row that starts in a line, of which ``text`` is shown."""
        start = self.form.shown(text[: 4 * MAX_REJECT_TEXT].partition(b"\n")[0])
        self.rejects.append(RejectedRow(self.file, line, reason, start[:MAX_REJECT_TEXT]))

    def reject_undecodable(self, line: int, text: bytes) -> None:
        """Reject a row with bytes that are not valid in the file's encoding."""
        self.reject(line, f"not valid {self.form.encoding}", text)
        self.undecodable += 1

    def put_aside(self, line: int, cell_count: int, text: bytes) -> None:
        """Skip a comment, or reject a row that does not have the right number of cells."""
        comment = self.form.dialect.comment.encode()
        if comment and text.startswith(comment):
            self.skipped.append(SkippedLine(line, "comment"))
        else:
            self.reject(line, wrong_cell_count(cell_count, self.form.width), text)

    def add(self, table: pa.Table, lines: IntArray) -> None:
        """Add rows, but for those of which no cell holds anything; what is known of others is
        brought into the order of the file."""
        empty = _empty_rows(table)
        if empty is not None:
            table = table.filter(pa.array(~empty))
            lines = lines[~empty]
        if self.form.dialect.ends_with_delimiter:
            filled = pc.is_valid(table.columns[-1]).to_numpy(zero_copy_only=False)
            if filled.any():
                self._reject_filled_ends(table.filter(pa.array(filled)), lines[filled])
                table = table.filter(pa.array(~filled))
                lines = lines[~filled]
            table = table.select(range(table.num_columns - 1))
        if table.num_rows:
            self.tables.append(table)
            self.lines.append(lines)
        self.rejects.sort(key=lambda reject: reject.line)
        self.skipped.sort(key=lambda skipped: skipped.line)

    def _reject_filled_ends(self, table: pa.Table, lines: IntArray) -> None:
        """Reject rows with a cell after the delimiter that ends a row."""
        reason = wrong_cell_count(self.form.width, self.form.width - 1)
        sign = self.form.dialect.delimiter
        for line, row in zip(lines.tolist(), table.to_pylist(), strict=True):
            text = sign.join(cell or "" for cell in row.values())
            self.rejects.append(RejectedRow(self.file, line, reason, text[:MAX_REJECT_TEXT]))


def wrong_cell_count(count: int, expected: int) -> str:
    """Return the reason to reject a row with ``count`` cells."""
    return f"{count} columns where {expected} are expected"


def _empty_rows(table: pa.Table) -> BoolArray | None:
    """Return which rows have no cell that holds anything; None if there is no such row."""
    empty: BoolArray | None = None
    for column in table.columns:
        if column.null_count == 0:
            return None
        nulls = pc.is_null(column).to_numpy(zero_copy_only=False)
        empty = nulls if empty is None else empty & nulls
        if not empty.any():
            return None
    return empty
