"""Workbooks of Excel and OpenDocument: .xlsx, .xlsm, .xlsb, .xls and .ods."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kg.ingest.files import SourceFile
from kg.ingest.readers.base import Reader, unique_column_names
from kg.ingest.rows import Batch, TextRow, batches_of_rows
from kg.ingest.scalars import scalar_text
from schema.errors import DataError
from schema.mapping import Head, Mapping

if TYPE_CHECKING:
    from kg.ingest.workbook import Sheet, SheetRow, Workbook

_HEAD_ROWS = 50
_SHARE_OF_NAMES = 0.6
"""A header has names for at least so many of the columns of the widest row below it."""
_VALUE = re.compile(r"\d{4}-\d\d-\d\d.*|\d\d:\d\d.*|true|false|[\d.,%+-]+")
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")


@dataclass(frozen=True)
class _Table:
    """A sheet with a table: the row with the names of its columns, and the columns with either.

    ``is_named`` says whether that row has only texts, as a header has.
    """

    sheet: Sheet
    header_row: int
    names: tuple[str, ...]
    columns: tuple[int, ...]
    row_count: int
    is_named: bool


class SheetReader(Reader):
    """Reads the sheet with the largest table, and those with the same columns.

    Another process reads the workbook, whole, with limits on its memory and time. No macro is run
    and no formula computed. Cells that are merged downwards have their value in each row.
    """

    suffixes = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")

    def head(self, file: SourceFile, mapping: Mapping | None = None) -> Head:
        """Choose the sheets, and return the first rows of the first."""
        workbook = _open(file)
        tables = _chosen(workbook, mapping, file)
        first = tables[0]
        rows = [first.names]
        rows += [
            tuple(cell or "" for cell in row.cells)
            for row in itertools.islice(_rows(workbook, first), _HEAD_ROWS)
        ]
        remarks = (*_choice_remarks(workbook, tables), *_damage_remarks(tables))
        return Head(file.name, tuple(rows), named=first.is_named, remarks=remarks)

    def columns(self, head: Head, mapping: Mapping) -> tuple[str, ...]:
        """Return the names of the columns, which are distinct already."""
        return head.rows[0]

    def batches(
        self, file: SourceFile, head: Head, mapping: Mapping, batch_rows: int
    ) -> Iterator[Batch]:
        """Read the rows below the header; the line of a row is its number in the sheet."""
        workbook = _open(file)
        for table in _chosen(workbook, mapping, file):
            for batch in batches_of_rows(_rows(workbook, table), table.names, batch_rows):
                batch.restore_formulas()
                yield batch


def _open(file: SourceFile) -> Workbook:
    from kg.ingest.workbook import open_workbook

    if not file.start(1):
        raise DataError(f"{file.location} is empty: a workbook has a sheet with a table")
    return open_workbook(file)


def _chosen(workbook: Workbook, mapping: Mapping | None, file: SourceFile) -> list[_Table]:
    """Return the tables to read.

    These are the one that the mapping names, or the largest in a sheet that is shown and those with
    the same columns. Raises DataError if there is none.
    """
    wanted = mapping.sheet if mapping is not None else None
    if wanted is not None:
        return [_wanted_table(workbook, wanted, file)]
    tables = [
        table
        for sheet in workbook.sheets
        if sheet.is_visible and (table := _find_table(workbook, sheet)) is not None
    ]
    if not tables:
        hidden = [sheet.name for sheet in workbook.sheets if not sheet.is_visible]
        also = f"; hidden are {', '.join(map(repr, hidden[:5]))}" if hidden else ""
        raise DataError(
            f"{file.location} has no sheet with a table (a header, and rows below it){also}: "
            'name a sheet in a mapping (sheet = "...")'
        )
    largest = max(tables, key=lambda table: table.row_count * len(table.names))
    return [table for table in tables if table.names == largest.names]


def _wanted_table(workbook: Workbook, wanted: str | int, file: SourceFile) -> _Table:
    for sheet in workbook.sheets:
        if wanted in (sheet.name, sheet.number):
            table = _find_table(workbook, sheet)
            if table is None:
                raise DataError(f"{file.location}: sheet {sheet.name!r} has no table")
            return table
    names = ", ".join(repr(sheet.name) for sheet in workbook.sheets[:8])
    raise DataError(f"{file.location} has no sheet {wanted!r}: it has {names}")


def _find_table(workbook: Workbook, sheet: Sheet) -> _Table | None:
    """Find the header of a sheet: the first row with texts for most of the columns."""
    from kg.ingest.workbook import header_names

    first = list(itertools.islice(workbook.rows(sheet), _HEAD_ROWS))
    if not first:
        return None
    width = max(sum(cell is not None for cell in row.cells) for row in first)
    header = next((row for row in first if _may_be_header(row, width)), None)
    is_named = header is not None
    header = header or first[0]
    names = header_names(sheet, header)
    columns = tuple(
        column
        for column, name in enumerate(names)
        if name.strip() or sheet.filled.get(column, 0) > 0
    )
    row_count = max(sheet.filled.values(), default=0) - 1
    if row_count < 1 and len(first) < 2:
        return None
    unique = unique_column_names([_plain_text(names[column]) for column in columns])
    return _Table(sheet, header.number, unique, columns, row_count, is_named)


def _may_be_header(row: SheetRow, width: int) -> bool:
    cells = [cell for cell in row.cells if cell is not None]
    # Dates and truth values come as texts.
    are_names = all(isinstance(cell, str) and not _VALUE.fullmatch(cell) for cell in cells)
    return are_names and len(cells) >= _SHARE_OF_NAMES * width


def _rows(workbook: Workbook, table: _Table) -> Iterator[TextRow]:
    for row in workbook.rows(table.sheet):
        if row.number > table.header_row:
            cells = [
                _text(row.cells[column]) if column < len(row.cells) else None
                for column in table.columns
            ]
            if any(cell is not None for cell in cells):
                yield TextRow(row.number, cells)


def _text(cell: str | int | float | None) -> str | None:
    if isinstance(cell, str):
        return _plain_text(cell) or None
    return scalar_text(cell)


def _plain_text(text: str) -> str:
    """Return a text as it is shown: a workbook writes some characters as ``_x000D_``."""
    if "_x" not in text:
        return text
    plain = _ESCAPED.sub(lambda escape: chr(int(escape[1], 16)), text)
    return plain.encode(errors="replace").decode()


def _choice_remarks(workbook: Workbook, tables: Sequence[_Table]) -> Iterator[str]:
    """Say which sheets are read and which are not, where a workbook has several."""
    read = {table.sheet.number for table in tables}
    if len(workbook.sheets) > 1:
        names = ", ".join(repr(table.sheet.name) for table in tables)
        yield f"read from sheet {names}" if len(tables) == 1 else f"read from sheets {names}"
    for sheet in workbook.sheets:
        if sheet.number in read or not sheet.filled:
            continue
        why = "it has other columns" if sheet.is_visible else "it is hidden"
        yield f'sheet {sheet.name!r} is not read: {why} (sheet = "..." in a mapping names another)'
    for table in tables:
        if table.header_row > 1:
            yield f"the names of the columns are in row {table.header_row} of {table.sheet.name!r}"


def _damage_remarks(tables: Sequence[_Table]) -> Iterator[str]:
    """Say which values the spreadsheet has damaged, as far as it can be known."""
    for table in tables:
        sheet = table.sheet
        for column, name in zip(table.columns, table.names, strict=True):
            if count := sheet.damaged.get(column):
                yield (
                    f"column {name!r}: {count:,} values like {sheet.examples[column]} have lost "
                    "digits in the spreadsheet, which keeps 15 of a number: format the column as "
                    "text, and fill it anew"
                )
        if sheet.errors:
            yield f"{sheet.errors:,} cells of {sheet.name!r} hold an error (#N/A) and are empty"


READER = SheetReader()
