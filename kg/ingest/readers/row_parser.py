r"""Parse lines of delimited text into rows, and account for every line.

Most blocks of lines are well formed: every quote opens or closes a cell or is doubled within one.
Which ones those are is found with a few operations of numpy on the positions of quotes, delimiters
and newlines, which also give the number of cells of each row. Only such rows go to Arrow's parser,
which has to find as many rows. Whatever is not well formed is parsed row by row in Python.

A quote that is not closed swallows further rows up to the next one, and what is parsed may still be
a row, with a cell of many lines. If these lines read as rows themselves, the row is rejected, and
its other lines are read again as rows of their own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kg.ingest.readers.row_form import ESCAPED_NEWLINE, RowForm
from kg.ingest.readers.text_blocks import MAX_LINE_BYTES
from kg.ingest.rows import BadRowError
from schema.arrays import BoolArray, IntArray
from schema.rejects import MAX_REJECT_TEXT, RejectedRow

_NEWLINE = ord("\n")
_RETURN = ord("\r")
_LINES_TO_BE_SURE = 20
"""Of a cell that is still open: if so many lines in it are rows, its quote was never closed."""

_UNDECODABLE = "not valid "


@dataclass
class Parsed:
    """What some lines hold.

    Attributes:
        tables: rows of text, in the order of the file
        lines: the line in which each of these rows starts
        rejects: the rows that were rejected
        repeated_headers: lines that repeat the header
        comments: lines that are comments
        undecodable: how many of the rejected rows are not valid in the encoding
        consumed: how many bytes were parsed; the rest belongs to a row that goes on after them
        line_count: how many lines these bytes are
    """

    tables: list[pa.Table] = field(default_factory=list)
    lines: list[IntArray] = field(default_factory=list)
    rejects: list[RejectedRow] = field(default_factory=list)
    repeated_headers: list[int] = field(default_factory=list)
    comments: list[int] = field(default_factory=list)
    undecodable: int = 0
    consumed: int = 0
    line_count: int = 0


class OpenQuoteError(BadRowError):
    """A quote is opened and not closed within the text at hand."""

    def __init__(self) -> None:
        super().__init__("a quote is opened and never closed")


@dataclass(frozen=True, slots=True)
class Record:
    """The cells of a row as bytes, and the position after it."""

    cells: list[bytes]
    stop: int


class RecordParser:
    """Parses single rows of text, whose signs are those that a form prepares."""

    def __init__(self, delimiter: bytes, quote: bytes) -> None:
        self.delimiter = delimiter
        self.quote = quote
        if quote:
            sign = re.escape(quote)
            # Possessive, so that a cell of many megabytes leaves nothing to come back to.
            self._quoted = re.compile(sign + b"((?:[^" + sign + b"]++|" + sign * 2 + b")*+)" + sign)
            self._plain = re.compile(b"[^" + re.escape(delimiter) + b"\n]*+")

    def parse(self, data: bytes, start: int) -> Record:
        """Return the row that starts at a position of lines that end with newlines.

        Raises BadRowError if there is none.
        """
        end = data.find(b"\n", start)
        if end < 0:
            end = len(data)
        if not self.quote or data.find(self.quote, start, end) < 0:
            return Record(_without_return(data[start:end]).split(self.delimiter), end + 1)
        cells: list[bytes] = []
        at = start
        while True:
            if data.startswith(self.quote, at):
                match = self._quoted.match(data, at)
                if match is None:
                    raise OpenQuoteError
                cells.append(match[1].replace(self.quote * 2, self.quote))
                at = match.end()
                if data.startswith(b"\r\n", at):
                    at += 1
            else:
                match = self._plain.match(data, at)
                assert match is not None  # it may be empty
                at = match.end()
                cell = match[0]
                is_last = at >= len(data) or data[at] == _NEWLINE
                cells.append(_without_return(cell) if is_last else cell)
            if at >= len(data) or data[at] == _NEWLINE:
                return Record(cells, at + 1)
            if not data.startswith(self.delimiter, at):
                raise BadRowError("text after a closing quote")
            at += 1


def _without_return(line: bytes) -> bytes:
    return line[:-1] if line.endswith(b"\r") else line


class RowParser:
    """Parses the lines of a file in a given form."""

    def __init__(self, form: RowForm, columns: Sequence[str], file: str) -> None:
        self.form = form
        self.columns = tuple(columns)
        self.file = file
        self._records = RecordParser(form.delimiter, form.quote)

    def parse(self, data: bytes, first_line: int, is_last: bool) -> Parsed:
        """Parse lines that were prepared; the last row may go on unless they are the file's last.

        What goes on for more than ``MAX_LINE_BYTES`` is not waited for.
        """
        must_end = is_last or len(data) > MAX_LINE_BYTES
        layout = _Layout(data, self.form)
        if b"\0" in data or not layout.is_well_formed():
            return self._parse_each(data, first_line, must_end)
        if layout.rest_bytes and (must_end or self._is_surely_open(data[-layout.rest_bytes :])):
            # The rest starts with a quote that is never closed.
            return self._parse_each(data, first_line, must_end)
        if layout.has_suspicious_rows():
            return self._parse_each(data, first_line, must_end)
        return self._parse_together(data, first_line, layout)

    def _parse_together(self, data: bytes, first_line: int, layout: _Layout) -> Parsed:
        """Let Arrow parse the rows of a well-formed block that have the right number of cells."""
        parsed = Parsed(consumed=layout.stop, line_count=layout.line_count)
        good = layout.good_rows()
        passed_over = layout.blank_rows()
        for row in np.flatnonzero(~good & ~passed_over).tolist():
            self._put_aside(layout.line(row), layout, row, first_line, parsed)
        for row in layout.rows_like(self.form.header).tolist():
            if good[row]:
                good[row] = False
                parsed.repeated_headers.append(first_line + int(layout.first_lines[row]))
        table = self._arrow_table(layout, good)
        if table is None:
            for row in layout.undecodable_rows(good):
                good[row] = False
                line = first_line + int(layout.first_lines[row])
                self._reject(parsed, line, _UNDECODABLE + self.form.encoding, layout.line(row))
                parsed.undecodable += 1
            table = self._arrow_table(layout, good)
        if table is None or table.num_rows != int(good.sum()):
            # Not known to happen: Arrow and the positions do not agree on what is a row.
            return self._parse_each(data, first_line, True)
        lines = layout.first_lines[good] + first_line
        parsed.rejects.sort(key=lambda row: row.line)
        self._add(parsed, table, lines)
        return parsed

    def _put_aside(
        self, line: bytes, layout: _Layout, row: int, first_line: int, parsed: Parsed
    ) -> None:
        number = first_line + int(layout.first_lines[row])
        self._put_line_aside(line, int(layout.counts[row]) + 1, number, parsed)

    def _put_line_aside(self, line: bytes, cells: int, number: int, parsed: Parsed) -> None:
        """Deal with a row of a wrong number of cells: a comment, or one that is rejected."""
        comment = self.form.dialect.comment.encode()
        if comment and line.startswith(comment):
            parsed.comments.append(number)
            return
        self._reject(parsed, number, wrong_cell_count(cells, self.form.width), line)

    def _reject(self, parsed: Parsed, line: int, reason: str, text: bytes) -> None:
        shown = self.form.shown(text[: 4 * MAX_REJECT_TEXT].partition(b"\n")[0])
        parsed.rejects.append(RejectedRow(self.file, line, reason, shown[:MAX_REJECT_TEXT]))

    def _arrow_table(self, layout: _Layout, good: BoolArray) -> pa.Table | None:
        """Return the table of some rows, or None if they have invalid bytes."""
        if not good.any():
            return pa.table({name: pa.array([], pa.string()) for name in self.columns})
        from pyarrow import csv

        data = layout.bytes_of(good)
        options = self._arrow_options
        try:
            return csv.read_csv(
                pa.BufferReader(data),
                csv.ReadOptions(
                    use_threads=False, block_size=len(data) + 1, column_names=self.columns
                ),
                options.parse,
                options.convert,
            )
        except pa.ArrowInvalid:
            return None

    @cached_property
    def _arrow_options(self) -> _ArrowOptions:
        from pyarrow import csv

        return _ArrowOptions(
            csv.ParseOptions(
                delimiter=self.form.delimiter.decode(),
                quote_char=self.form.quote.decode() or False,
                double_quote=True,
                escape_char=False,
                newlines_in_values=bool(self.form.quote),
                ignore_empty_lines=False,
            ),
            csv.ConvertOptions(
                column_types={name: pa.string() for name in self.columns},
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
            ),
        )

    def _parse_each(self, data: bytes, first_line: int, must_end: bool) -> Parsed:
        """Parse row by row; a bad row never costs another row."""
        parsed = Parsed()
        cells: list[list[str | None]] = []
        numbers: list[int] = []
        at = 0
        number = first_line
        while at < len(data):
            end = data.find(b"\n", at)
            if end < 0 and not must_end:
                break
            end = len(data) if end < 0 else end
            try:
                record = self._records.parse(data, at)
            except OpenQuoteError as error:
                if not must_end and not self._is_surely_open(data[at:]):
                    break
                stop = end + 1
                self._reject(parsed, number, str(error), data[at:end])
            except BadRowError as error:
                stop = end + 1
                self._reject(parsed, number, str(error), data[at:end])
            else:
                stop = self._take(record, data, at, end, number, parsed, cells, numbers)
            number += _count_lines(data[at:stop])
            at = stop
        parsed.consumed = min(at, len(data))
        parsed.line_count = number - first_line
        columns = zip(*cells, strict=True) if cells else [()] * len(self.columns)
        arrays = [pa.array(column, pa.string()) for column in columns]
        table = pa.table(arrays, names=list(self.columns))
        self._add(parsed, table, np.array(numbers, np.int64), escaped=False)
        return parsed

    def _take(
        self,
        record: Record,
        data: bytes,
        start: int,
        end: int,
        number: int,
        parsed: Parsed,
        cells: list[list[str | None]],
        numbers: list[int],
    ) -> int:
        """Add a row to the cells or the rejects, and return the position after it."""
        form = self.form
        first = data[start:end]
        if self._is_blank(record.cells):
            return record.stop
        count = len(record.cells)
        fits = form.least <= count <= form.width
        if record.stop > end + 1:
            lines = data[start : record.stop - 1].split(b"\n")
            swallowed = self.swallowed_rows(lines)
            if swallowed or (not fits and any(map(self._reads_as_row, lines[1:]))):
                reason = "a quote opens a cell that goes on over lines that are rows themselves"
                self._reject(parsed, number, reason, first)
                return end + 1
        if not fits:
            if record.stop == end + 1 and self._take_lines_of_returns(
                first, number, parsed, cells, numbers
            ):
                return record.stop
            self._put_line_aside(first, count, number, parsed)
            return record.stop
        if form.header and _without_return(first) == form.header and record.stop == end + 1:
            parsed.repeated_headers.append(number)
            return record.stop
        self._add_cells(record.cells, first, number, parsed, cells, numbers)
        return record.stop

    def _take_lines_of_returns(
        self,
        line: bytes,
        number: int,
        parsed: Parsed,
        cells: list[list[str | None]],
        numbers: list[int],
    ) -> bool:
        """Take a line for several rows if carriage returns alone separate them."""
        rows = [row for row in line.split(b"\r") if row]
        if len(rows) < 2 or (self.form.quote and self.form.quote in line):
            return False
        counts = {row.count(self.form.delimiter) + 1 for row in rows}
        if counts != {self.form.width}:
            return False
        for row in rows:
            self._add_cells(row.split(self.form.delimiter), row, number, parsed, cells, numbers)
        return True

    def _add_cells(
        self,
        raw: list[bytes],
        line: bytes,
        number: int,
        parsed: Parsed,
        cells: list[list[str | None]],
        numbers: list[int],
    ) -> None:
        try:
            row = [self.form.restored(cell.decode()) or None for cell in raw]
        except UnicodeDecodeError:
            self._reject(parsed, number, _UNDECODABLE + self.form.encoding, line)
            parsed.undecodable += 1
            return
        if any(b"\0" in cell for cell in raw):
            self._reject(parsed, number, "a NUL character", line)
            return
        cells.append(row + [None] * (self.form.width - len(row)))
        numbers.append(number)

    def _is_blank(self, cells: Sequence[bytes]) -> bool:
        """Return whether no cell of a row holds anything, or it is a line of spaces."""
        return not any(cells) or (len(cells) == 1 < self.form.width and not cells[0].strip())

    def _add(
        self, parsed: Parsed, table: pa.Table, lines: IntArray, *, escaped: bool = True
    ) -> None:
        """Add rows, but for those of which no cell holds anything."""
        if escaped:
            table = self._restored_table(table)
        empty = _empty_rows(table)
        if empty is not None:
            table = table.filter(pa.array(~empty))
            lines = lines[~empty]
        if self.form.dialect.ends_with_delimiter:
            table, lines = self._without_last_column(table, lines, parsed)
        if table.num_rows:
            parsed.tables.append(table)
            parsed.lines.append(lines)

    def _restored_table(self, table: pa.Table) -> pa.Table:
        for sign, meaning in self.form.escapes():
            columns = []
            for column in table.columns:
                if pc.any(pc.match_substring(column, sign)).as_py():
                    column = pc.replace_substring(column, sign, meaning)
                columns.append(column)
            table = pa.table(columns, names=table.column_names)
        return table

    def _without_last_column(
        self, table: pa.Table, lines: IntArray, parsed: Parsed
    ) -> tuple[pa.Table, IntArray]:
        """Drop the cell after the delimiter that ends a row; reject the rows in which it is filled.

        Returns the table and the lines of its rows.
        """
        filled = pc.is_valid(table.column(table.num_columns - 1)).to_numpy(zero_copy_only=False)
        if filled.any():
            reason = wrong_cell_count(self.form.width, self.form.width - 1)
            for line, row in zip(
                lines[filled], table.filter(pa.array(filled)).to_pylist(), strict=True
            ):
                text = self.form.dialect.delimiter.join(cell or "" for cell in row.values())
                parsed.rejects.append(
                    RejectedRow(self.file, int(line), reason, text[:MAX_REJECT_TEXT])
                )
            parsed.rejects.sort(key=lambda row: row.line)
            table = table.filter(pa.array(~filled))
            lines = lines[~filled]
        return table.select(range(table.num_columns - 1)), lines

    def _is_surely_open(self, text: bytes) -> bool:
        """Return whether what follows an open quote is so many rows that it was never closed."""
        end = 0
        lines = []
        for _ in range(_LINES_TO_BE_SURE + 1):
            start = end
            end = text.find(b"\n", start) + 1
            if not end:
                return False
            lines.append(text[start : end - 1])
        return sum(map(self._reads_as_row, lines[1:])) >= 0.9 * _LINES_TO_BE_SURE

    def swallowed_rows(self, lines: Sequence[bytes]) -> int:
        """Return how many of a row's lines are rows themselves, if it is an accident that they are
        in one; otherwise 0."""
        further = [line for line in lines[1:] if line.strip()]
        rows = sum(map(self._reads_as_row, further))
        if not rows:
            return 0
        # A quote that is but a sign stands in a line that is a whole row without it.
        is_row_itself = lines[0].count(self.form.delimiter) + 1 == self.form.width
        share = rows / len(further)
        is_accident = (is_row_itself and share >= 0.5) or (rows >= 3 and share >= 0.9)
        return rows if is_accident else 0

    def _reads_as_row(self, line: bytes) -> bool:
        """Return whether a line, in which quotes are plain signs, could be a row of the file."""
        form = self.form
        cells = _without_return(line).split(form.delimiter)
        if len(cells) != form.width:
            return False
        known = [(kind, cell) for kind, cell in zip(form.kinds, cells, strict=False) if kind]
        if not known:
            # Prose may have a few commas in a line, but hardly the same number in every one.
            return form.width > 3
        return all(
            not text or kind.fits(text)
            for kind, cell in known
            for text in [cell.strip(b' "' + form.quote).decode(errors="replace")]
        )


@dataclass(frozen=True)
class _ArrowOptions:
    parse: Any
    convert: Any


class _Layout:
    """The positions of rows and cells in a block of lines, if its quotes are well formed.

    Attributes:
        first_lines: the line in the block in which each row starts, counted from 0
        counts: the number of delimiters between the cells of each row
        stop: the position after the last row
        rest_bytes: how many bytes there are after it: a row that goes on after the block
        line_count: how many lines there are before ``stop``
    """

    def __init__(self, data: bytes, form: RowForm) -> None:
        self._data = data
        self._form = form
        array = np.frombuffer(data, np.uint8)
        self._array = array
        self._ends = np.flatnonzero(array == _NEWLINE)
        self._delimiters = np.flatnonzero(array == ord(form.delimiter))
        has_quotes = bool(form.quote) and form.quote in data
        none = np.zeros(0, np.int64)
        self._quotes = np.flatnonzero(array == ord(form.quote)) if has_quotes else none

        ends_row = self._outside(self._ends)
        rows = np.flatnonzero(ends_row)
        self._stops = self._ends[rows]
        self._starts = np.concatenate(([0], self._stops[:-1] + 1)) if len(rows) else none
        self._last_lines = rows
        self.first_lines = np.concatenate(([0], rows[:-1] + 1)) if len(rows) else none
        self.stop = int(self._stops[-1]) + 1 if len(rows) else 0
        self.rest_bytes = len(data) - self.stop
        self.line_count = int(rows[-1]) + 1 if len(rows) else 0
        if has_quotes:
            between = self._delimiters[self._outside(self._delimiters)]
        else:
            between = self._delimiters
        self.counts = _count_before(between, self._stops)

    def _outside(self, positions: IntArray) -> BoolArray:
        """Return which positions are outside of quotes."""
        if not len(self._quotes):
            return np.ones(len(positions), bool)
        return np.searchsorted(self._quotes, positions) % 2 == 0

    def is_well_formed(self) -> bool:
        """Return whether quotes stand at the ends of cells or are doubled, and lines end."""
        if ESCAPED_NEWLINE in self._data and self._form.dialect.escape:
            return False
        array = self._array
        if b"\r" in self._data:
            returns = np.flatnonzero(array == _RETURN)
            after = array[np.minimum(returns + 1, len(array) - 1)]
            alone = returns[after != _NEWLINE]
            if self._outside(alone).any():
                return False
        if not len(self._quotes):
            return True
        quote = ord(self._form.quote)
        delimiter = ord(self._form.delimiter)
        opening = self._quotes[0::2]
        before = array[np.maximum(opening - 1, 0)]
        starts_cell = (before == delimiter) | (before == _NEWLINE) | (opening == 0)
        # One that follows a closing quote is the second of a doubled quote.
        if not (starts_cell | (before == quote)).all():
            return False
        closing = self._quotes[1::2]
        at_end = closing + 1 >= len(array)
        after = array[np.minimum(closing + 1, len(array) - 1)]
        second = array[np.minimum(closing + 2, len(array) - 1)]
        ends_line = (after == _RETURN) & (second == _NEWLINE)
        ends_cell = (after == delimiter) | (after == _NEWLINE) | ends_line | at_end
        return bool((ends_cell | (after == quote)).all())

    def has_suspicious_rows(self) -> bool:
        """Return whether a row of several lines may have swallowed further rows."""
        several = self._last_lines > self.first_lines
        if not several.any():
            return False
        form = self._form
        fits = (self.counts + 1 >= form.least) & (self.counts + 1 <= form.width)
        if (several & ~fits).any():
            return True
        # Counted as if quotes were plain signs.
        is_row = _count_before(self._delimiters, self._ends) + 1 == form.width
        rows_before = np.concatenate(([0], np.cumsum(is_row)))
        further = self._last_lines - self.first_lines
        rows = rows_before[self._last_lines + 1] - rows_before[self.first_lines + 1]
        # Half of them, or fewer if others are blank.
        return bool((several & (rows * 4 >= further)).any())

    def good_rows(self) -> BoolArray:
        """Return which rows have a right number of cells."""
        form = self._form
        return (
            (self.counts + 1 >= form.least) & (self.counts + 1 <= form.width) & ~self.blank_rows()
        )

    def blank_rows(self) -> BoolArray:
        """Return which lines hold nothing, or nothing but spaces."""
        sizes = self._stops - self._starts
        before_end = self._array[np.maximum(self._stops - 1, 0)]
        blank = (sizes == 0) | ((sizes == 1) & (before_end == _RETURN))
        if self._form.width > 1:
            for row in np.flatnonzero((self.counts == 0) & ~blank).tolist():
                blank[row] = not self.line(row).strip()
        return blank

    def rows_like(self, line: bytes) -> IntArray:
        """Return the rows whose text is that of a line."""
        if not line:
            return np.zeros(0, np.int64)
        sizes = self._stops - self._starts
        size = len(line)
        likely = np.flatnonzero((sizes == size) | (sizes == size + 1))
        alike = [row for row in likely.tolist() if _without_return(self.line(row)) == line]
        return np.array(alike, np.int64)

    def undecodable_rows(self, among: BoolArray) -> list[int]:
        """Return which of some rows are not valid UTF-8."""
        found = []
        for row in np.flatnonzero(among).tolist():
            try:
                self.line(row).decode()
            except UnicodeDecodeError:
                found.append(row)
        return found

    def line(self, row: int) -> bytes:
        """Return the text of a row."""
        return self._data[int(self._starts[row]) : int(self._stops[row])]

    def bytes_of(self, rows: BoolArray) -> bytes:
        """Return the text of some rows, with delimiters at the ends of those that lack cells."""
        lacking = self._form.width - 1 - self.counts
        is_short = rows & (lacking > 0)
        if rows.all() and not is_short.any():
            return self._data if self.stop == len(self._data) else self._data[: self.stop]
        parts = []
        # Neighbouring rows are one part; a short row is one of its own.
        kind = np.where(is_short, -1 - np.arange(len(rows)), rows.astype(np.int64))
        first_rows = np.concatenate(([0], np.flatnonzero(np.diff(kind)) + 1))
        last_rows = np.concatenate((first_rows[1:], [len(rows)])) - 1
        for first, last in zip(first_rows.tolist(), last_rows.tolist(), strict=True):
            if not rows[first]:
                continue
            part = self._data[int(self._starts[first]) : int(self._stops[last]) + 1]
            if is_short[first]:
                part = (
                    _without_return(part[:-1]) + self._form.delimiter * int(lacking[first]) + b"\n"
                )
            parts.append(part)
        return b"".join(parts)


def _count_before(positions: IntArray, ends: IntArray) -> IntArray:
    """Return how many positions there are before each end and after the end before it."""
    before = np.searchsorted(positions, ends)
    return np.diff(before, prepend=0)


def _count_lines(text: bytes) -> int:
    return text.count(b"\n") + text.count(ESCAPED_NEWLINE)


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


def wrong_cell_count(count: int, expected: int) -> str:
    """Return the reason to reject a row with ``count`` cells."""
    return f"{count} columns where {expected} are expected"
