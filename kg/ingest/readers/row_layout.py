"""Where the rows and cells of a block of lines are, found with a few operations of numpy."""

from __future__ import annotations

import codecs
from functools import cached_property

import numpy as np

from kg.ingest.readers.record_parser import is_line, without_return
from kg.ingest.readers.row_form import ESCAPED_NEWLINE, RowForm
from schema.arrays import BoolArray, IntArray

_NEWLINE = ord("\n")
_RETURN = ord("\r")


class RowLayout:
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
        if (several & ~self.fitting_rows()).any():
            return True
        # Counted as if quotes were plain signs.
        is_row = _count_before(self._delimiters, self._ends) + 1 == form.width
        rows_before = np.concatenate(([0], np.cumsum(is_row)))
        further = self._last_lines - self.first_lines
        rows = rows_before[self._last_lines + 1] - rows_before[self.first_lines + 1]
        # Half of them, or fewer if others are blank.
        return bool((several & (rows * 4 >= further)).any())

    def fitting_rows(self) -> BoolArray:
        """Return which rows have a right number of cells, but for empty ones at their ends."""
        form = self._form
        fitting = (self.counts + 1 >= form.least) & (self.counts + 1 <= form.width)
        return fitting | self._overlong_rows

    @cached_property
    def _overlong_rows(self) -> BoolArray:
        """Which rows only have empty cells too many: spreadsheets add them to single rows."""
        overlong = self.counts + 1 > self._form.width
        for row in np.flatnonzero(overlong).tolist():
            further = int(self.counts[row]) + 1 - self._form.width
            line = without_return(self.line(row))
            overlong[row] = line.endswith(self._form.delimiter * further)
        return overlong

    def blank_rows(self) -> BoolArray:
        """Return which lines hold nothing, or nothing but spaces."""
        sizes = self._stops - self._starts
        before_end = self._array[np.maximum(self._stops - 1, 0)]
        blank = (sizes == 0) | ((sizes == 1) & (before_end == _RETURN))
        if self._form.width > 1:
            for row in np.flatnonzero((self.counts == 0) & ~blank).tolist():
                blank[row] = not self.line(row).strip()
        return blank

    def rows_like(self, line: bytes) -> list[int]:
        """Return the rows whose text is that of a line."""
        if not line:
            return []
        sizes = self._stops - self._starts
        size = len(line)
        # With a carriage return at its end, and a byte-order mark before it.
        longer = sizes - size
        likely = np.flatnonzero((longer >= 0) & (longer <= 1 + len(codecs.BOM_UTF8)))
        return [row for row in likely.tolist() if is_line(self.line(row), line)]

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
        """Return the text of some rows, all with as many cells as there are columns.

        Those that lack cells get delimiters at their ends, and empty cells too many go.
        """
        lacking = self._form.width - 1 - self.counts
        is_other = rows & (lacking != 0)
        if rows.all() and not is_other.any():
            return self._data if self.stop == len(self._data) else self._data[: self.stop]
        parts = []
        # Neighbouring rows are one part; one with other cells is a part of its own.
        kind = np.where(is_other, -1 - np.arange(len(rows)), rows.astype(np.int64))
        first_rows = np.concatenate(([0], np.flatnonzero(np.diff(kind)) + 1))
        last_rows = np.concatenate((first_rows[1:], [len(rows)])) - 1
        for first, last in zip(first_rows.tolist(), last_rows.tolist(), strict=True):
            if not rows[first]:
                continue
            part = self._data[int(self._starts[first]) : int(self._stops[last]) + 1]
            if is_other[first]:
                line = without_return(part[:-1])
                further = int(lacking[first])
                # Several characters cannot separate cells.
                line = line + self._form.delimiter * further if further > 0 else line[:further]
                part = line + b"\n"
            parts.append(part)
        return b"".join(parts)


def _count_before(positions: IntArray, ends: IntArray) -> IntArray:
    """Return how many positions there are before each end and after the end before it."""
    before = np.searchsorted(positions, ends)
    return np.diff(before, prepend=0)
