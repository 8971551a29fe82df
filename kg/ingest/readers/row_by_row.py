"""Parse rows of delimited text one after another: slowly, but a bad row never costs another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from kg.ingest.readers.parsed import Parsed
from kg.ingest.readers.record_parser import (
    OpenQuoteError,
    Record,
    RecordParser,
    is_line,
)
from kg.ingest.readers.row_form import ESCAPED_NEWLINE, RowForm
from kg.ingest.readers.swallowing import is_surely_open, reads_as_row, swallowed_rows
from kg.ingest.readers.text_blocks import MAX_LINE_BYTES
from kg.ingest.rows import BadRowError, SkippedLine

_STEP_BYTES = 1 << 22
"""How much is parsed at once, so that millions of rejected rows are not held at the same time."""


class RowByRow:
    """Parses some lines, which were prepared for the form."""

    def __init__(self, data: bytes, form: RowForm, file: str) -> None:
        self._data = data
        self._form = form
        self._records = RecordParser(form.delimiter, form.quote)
        self._parsed = Parsed(form, file)
        self._rows: list[list[str | None]] = []
        self._lines: list[int] = []

    def parse(self, columns: Sequence[str], first_line: int, is_last: bool) -> Parsed:
        """Return the rows; the last one may go on after the lines unless they are the file's last.

        Of very many lines only the first are parsed. What goes on for more than ``MAX_LINE_BYTES``
        is not waited for.
        """
        data = self._data
        at = 0
        line = first_line
        while at < min(len(data), _STEP_BYTES):
            end = data.find(b"\n", at)
            must_end = is_last or len(data) - at > MAX_LINE_BYTES
            if end < 0 and not must_end:
                break
            end = len(data) if end < 0 else end
            stop = end + 1
            try:
                record = self._records.parse(data, at)
            except OpenQuoteError as error:
                if not must_end and not is_surely_open(data, at, self._form):
                    break
                self._parsed.reject(line, str(error), data[at:end])
            except BadRowError as error:
                self._parsed.reject(line, str(error), data[at:end])
            else:
                stop = self._take(record, at, end, line)
            line += data.count(b"\n", at, stop) + data.count(ESCAPED_NEWLINE, at, stop)
            at = stop
        parsed = self._parsed
        parsed.consumed = min(at, len(data))
        parsed.line_count = line - first_line
        cells = zip(*self._rows, strict=True) if self._rows else [()] * len(columns)
        arrays = [pa.array(column, pa.string()) for column in cells]
        parsed.add(pa.table(arrays, names=list(columns)), np.array(self._lines, np.int64))
        return parsed

    def _take(self, record: Record, start: int, end: int, line: int) -> int:
        """Take or reject the row between two positions; return the position after it.

        ``end`` is the end of its first line.
        """
        form = self._form
        text = self._data[start:end]
        if not any(record.cells) or (len(record.cells) == 1 < form.width and not text.strip()):
            return record.stop
        # Spreadsheets add empty cells to the ends of single rows.
        cells = record.cells if any(record.cells[form.width :]) else record.cells[: form.width]
        fits = form.least <= len(cells) <= form.width
        if record.stop > end + 1:
            lines = self._data[start : record.stop - 1].split(b"\n")
            has_rows = any(reads_as_row(each, form) for each in lines[1:])
            if has_rows and (not fits or swallowed_rows(lines, form)):
                reason = "a quote opens a cell that goes on over lines that are rows themselves"
                self._parsed.reject(line, reason, text)
                return end + 1
        elif fits and form.header and is_line(text, form.header):
            self._parsed.skipped.append(SkippedLine(line, "repeated header"))
            return record.stop
        elif not fits and self._take_between_returns(text, line):
            return record.stop
        if fits:
            self._add(cells, text, line)
        else:
            self._parsed.put_aside(line, len(record.cells), text)
        return record.stop

    def _take_between_returns(self, text: bytes, line: int) -> bool:
        """Take a line for several rows if carriage returns separate such; return whether they do.

        A part of the file may have been written on an old Macintosh.
        """
        form = self._form
        parts = [part for part in text.split(b"\r") if part]
        if len(parts) < 2 or (form.quote and form.quote in text):
            return False
        rows = [part.split(form.delimiter) for part in parts]
        if any(len(cells) != form.width for cells in rows):
            return False
        for cells, part in zip(rows, parts, strict=True):
            self._add(cells, part, line)
        return True

    def _add(self, raw: Sequence[bytes], text: bytes, line: int) -> None:
        try:
            cells = [self._form.restored(cell.decode()) or None for cell in raw]
        except UnicodeDecodeError:
            self._parsed.reject_undecodable(line, text)
            return
        if any(b"\0" in cell for cell in raw):
            self._parsed.reject(line, "a NUL character", text)
            return
        self._rows.append(cells + [None] * (self._form.width - len(cells)))
        self._lines.append(line)
