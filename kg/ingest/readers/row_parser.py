r"""Parse lines of delimited text into rows, and account for every line.

Most blocks of lines are well formed: every quote opens or closes a cell or is doubled within one.
Then the positions of quotes, delimiters and newlines give the rows and the numbers of their cells
(:class:`RowLayout`). Only rows with the right number of them go to Arrow's parser, which has to
find as many rows. Whatever is not well formed is parsed row by row in Python, and so is a block
with a row of several lines that may have swallowed others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kg.ingest.readers.parsed import Parsed
from kg.ingest.readers.row_by_row import RowByRow
from kg.ingest.readers.row_form import RowForm
from kg.ingest.readers.row_layout import RowLayout
from kg.ingest.readers.swallowing import is_surely_open
from kg.ingest.readers.text_blocks import MAX_LINE_BYTES
from kg.ingest.rows import SkippedLine
from schema.arrays import BoolArray


class RowParser:
    """Parses the lines of a file in a given form; ``columns`` are the names of all its cells."""

    def __init__(self, form: RowForm, columns: Sequence[str], file: str) -> None:
        self._form = form
        self._columns = tuple(columns)
        self._file = file

    def parse(self, data: bytes, first_line: int, is_last: bool) -> Parsed:
        """Parse lines that were prepared; the last row may go on unless they are the file's last.

        What goes on for more than ``MAX_LINE_BYTES`` is not waited for.
        """
        layout = RowLayout(data, self._form)
        if (
            b"\0" in data
            or not layout.is_well_formed()
            or layout.has_suspicious_rows()
            or self._must_close_quote(data, layout, is_last)
        ):
            return self._parse_each(data, first_line, is_last)
        return self._parse_together(data, first_line, layout, is_last)

    def _must_close_quote(self, data: bytes, layout: RowLayout, is_last: bool) -> bool:
        """Return whether the last row opens a quote that is not waited for to be closed."""
        if not layout.rest_bytes:
            return False
        is_too_long = layout.rest_bytes > MAX_LINE_BYTES
        return is_last or is_too_long or is_surely_open(data, layout.stop, self._form)

    def _parse_each(self, data: bytes, first_line: int, is_last: bool) -> Parsed:
        return RowByRow(data, self._form, self._file).parse(self._columns, first_line, is_last)

    def _parse_together(
        self, data: bytes, first_line: int, layout: RowLayout, is_last: bool
    ) -> Parsed:
        """Let Arrow parse the rows of a well-formed block that have the right number of cells."""
        parsed = Parsed(self._form, self._file, consumed=layout.stop, line_count=layout.line_count)
        lines = layout.first_lines + first_line
        blank = layout.blank_rows()
        good = layout.fitting_rows() & ~blank
        for row in np.flatnonzero(~good & ~blank).tolist():
            parsed.put_aside(int(lines[row]), int(layout.counts[row]) + 1, layout.line(row))
        for row in layout.rows_like(self._form.header):
            if good[row]:
                good[row] = False
                parsed.skipped.append(SkippedLine(int(lines[row]), "repeated header"))
        table = self._arrow_table(layout, good)
        if table is None:
            for row in layout.undecodable_rows(good):
                good[row] = False
                parsed.reject_undecodable(int(lines[row]), layout.line(row))
            table = self._arrow_table(layout, good)
        if table is None or table.num_rows != int(good.sum()):
            # Not known to happen: Arrow and the layout do not agree on what is a row.
            return self._parse_each(data, first_line, is_last)
        parsed.add(self._restored(table), lines[good])
        return parsed

    def _arrow_table(self, layout: RowLayout, rows: BoolArray) -> pa.Table | None:
        """Return the table of some rows, or None if they have invalid bytes."""
        if not rows.any():
            return pa.table({name: pa.array([], pa.string()) for name in self._columns})
        from pyarrow import csv

        data = layout.bytes_of(rows)
        read = csv.ReadOptions(
            use_threads=False, block_size=len(data) + 1, column_names=self._columns
        )
        options = self._options
        try:
            return csv.read_csv(pa.BufferReader(data), read, options.parse, options.convert)
        except pa.ArrowInvalid:
            return None

    @cached_property
    def _options(self) -> _ArrowOptions:
        from pyarrow import csv

        return _ArrowOptions(
            csv.ParseOptions(
                delimiter=self._form.delimiter.decode(),
                quote_char=self._form.quote.decode() or False,
                double_quote=True,
                escape_char=False,
                newlines_in_values=bool(self._form.quote),
                ignore_empty_lines=False,
            ),
            csv.ConvertOptions(
                column_types={name: pa.string() for name in self._columns},
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
            ),
        )

    def _restored(self, table: pa.Table) -> pa.Table:
        """Return a table with the signs that were replaced for the parser."""
        for sign, meaning in self._form.replacements():
            columns = []
            for column in table.columns:
                if pc.any(pc.match_substring(column, sign)).as_py():
                    column = pc.replace_substring(column, sign, meaning)
                columns.append(column)
            table = pa.table(columns, names=table.column_names)
        return table


@dataclass(frozen=True)
class _ArrowOptions:
    """How Arrow parses a block, and the types that it gives to the columns."""

    parse: Any
    convert: Any
