"""Workbooks of Excel and OpenDocument: .xlsx, .xlsm, .xlsb, .xls and .ods."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kg.ingest.files import SourceFile
from kg.ingest.readers.base import Reader, check_column_count, unique_column_names
from kg.ingest.readers.header import Header, HeadRow, choose_header
from kg.ingest.readers.totals import LINE_OF_TOTALS, is_totals
from kg.ingest.rows import Batch, SkippedLine, TextRow, batches_of_rows
from kg.ingest.scalars import scalar_text
from schema.dialects import describe_header
from schema.errors import DataError
from schema.mapping import Head, Mapping

if TYPE_CHECKING:
    from kg.ingest.workbook import Sheet, SheetRow, Workbook

_HEAD_ROWS = 50
_SEARCHED_ROWS = 100
"""Rows of a sheet from which its header is told."""


@dataclass(frozen=True)
class _Table:
    """The table of a sheet.

    Attributes:
        sheet: the sheet
        header: its header, as of a delimited text; lines are rows of the sheet
        header_cells: the cells of the header in the columns [C]; none without a header
        names: the names of the columns [C]: one over several is that of each; none without a header
        columns: which columns of the sheet these are, counted from 0 [C]
        row_count: the number of its rows, going by the fullest column
    """

    sheet: Sheet
    header: Header
    header_cells: tuple[str, ...]
    names: tuple[str, ...]
    columns: tuple[int, ...]
    row_count: int

    @property
    def size(self) -> int:
        """The number of its cells."""
        return self.row_count * len(self.columns)

    def has_columns_of(self, other: _Table) -> bool:
        """Return whether it has the same columns as another table."""
        return self.names == other.names and len(self.columns) == len(other.columns)

    def rows(self, workbook: Workbook) -> Iterator[TextRow | SkippedLine]:
        """Yield the rows of the table, and the lines between them that are none."""
        header = list(self.header_cells) if len(self.columns) > 1 else None
        # Where there are some above the rows, there may be some among them.
        has_comments = any(_is_comment(row.cells) for row in self.header.left_out)
        held: TextRow | None = None
        for row in workbook.rows(self.sheet):
            if row.number < self.header.first_line:
                continue
            cells = [_cell_at(row, column) for column in self.columns]
            if not any(cell and not cell.isspace() for cell in cells):
                continue
            if (
                header
                and (cells[0] or "") == header[0]
                and [cell or "" for cell in cells] == header
            ):
                yield SkippedLine(row.number, "repeated header")
                continue
            if has_comments and _is_comment(cells):
                yield SkippedLine(row.number, "comment")
                continue
            if held is not None:
                yield held
            held = TextRow(row.number, cells)
        if held is not None:
            yield SkippedLine(held.line, LINE_OF_TOTALS) if is_totals(held.cells) else held


@dataclass(frozen=True)
class PlacedBatch:
    """A batch, the name of its sheet, and the columns of the sheet that it has, from 0.

    ``header`` is the number of the row that names them, None if none does.
    """

    batch: Batch
    sheet: str
    columns: tuple[int, ...]
    header: int | None


class SheetReader(Reader):
    """Reads the sheet with the largest table or Amazon's template, and those with its columns.

    Its header is found as that of a delimited text is. Another process reads the workbook, whole,
    with limits on its memory and time. No macro is run and no formula computed. Cells that are
    merged downwards have their value in each row.
    """

    suffixes = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")

    def head(self, file: SourceFile, mapping: Mapping | None = None) -> Head:
        """Choose the sheets, and return the first rows of the first."""
        workbook = _open(file)
        tables = _chosen(workbook, mapping, file)
        first = tables[0]
        texts = (
            tuple(cell or "" for cell in row.cells)
            for row in first.rows(workbook)
            if isinstance(row, TextRow)
        )
        rows = tuple(itertools.islice(texts, _HEAD_ROWS))
        has_header = first.header.names is not None
        return Head(
            file.name,
            (first.names, *rows) if has_header else rows,
            header=has_header,
            header_found=True,
            remarks=(*_choice_remarks(workbook, tables), *_damage_remarks(tables)),
        )

    def batches(
        self, file: SourceFile, head: Head, mapping: Mapping, batch_rows: int
    ) -> Iterator[Batch]:
        """Read the rows below the header; the line of a row is its number in the sheet."""
        placed = self.placed_batches(file, head, mapping, batch_rows)
        return (each.batch for each in placed)

    def placed_batches(
        self, file: SourceFile, head: Head, mapping: Mapping, batch_rows: int
    ) -> Iterator[PlacedBatch]:
        """Read the rows below the header, each batch with its place in the workbook."""
        workbook = _open(file)
        columns = self.columns(head, mapping)
        for table in _chosen(workbook, mapping, file):
            check_column_count(columns, len(table.columns), file, mapping)
            for batch in batches_of_rows(table.rows(workbook), columns, batch_rows):
                batch.restore_formulas()
                yield PlacedBatch(batch, table.sheet.name, table.columns, table.header.line)


def _open(file: SourceFile) -> Workbook:
    from kg.ingest.workbook import open_workbook

    if not file.start(1):
        raise DataError(f"{file.location} is empty: a workbook has a sheet with a table")
    return open_workbook(file)


def _chosen(workbook: Workbook, mapping: Mapping | None, file: SourceFile) -> list[_Table]:
    """Return the tables to read.

    These are the one that the mapping names, or the largest in a sheet that is shown (Amazon's
    template before all others) and those with the same columns. Raises DataError if there is none.
    """
    wanted = mapping.sheet if mapping is not None else None
    given = mapping.header if mapping is not None else None
    if wanted is not None:
        return [_wanted_table(workbook, wanted, given, file)]
    tables = [
        table
        for sheet in workbook.sheets
        if sheet.is_visible and (table := _find_table(workbook, sheet, given)) is not None
    ]
    if not tables:
        hidden = [sheet.name for sheet in workbook.sheets if not sheet.is_visible]
        also = f"; hidden are {', '.join(map(repr, hidden[:5]))}" if hidden else ""
        raise DataError(
            f"{file.location} has no sheet with a table ({_expected(given)}){also}: "
            'name a sheet in a mapping (sheet = "...")'
        )
    # Beside a template of Amazon's stand longer lists of the values that it may have.
    largest = max(tables, key=lambda table: (table.header.is_template, table.size))
    return [table for table in tables if table.has_columns_of(largest)]


def _wanted_table(
    workbook: Workbook, wanted: str | int, given: bool | int | None, file: SourceFile
) -> _Table:
    for sheet in workbook.sheets:
        if wanted in (sheet.name, sheet.number):
            table = _find_table(workbook, sheet, given)
            if table is None:
                raise DataError(
                    f"{file.location}: sheet {sheet.name!r} has no table ({_expected(given)})"
                )
            return table
    names = ", ".join(repr(sheet.name) for sheet in workbook.sheets[:8])
    raise DataError(f"{file.location} has no sheet {wanted!r}: it has {names}")


def _expected(given: bool | int | None) -> str:
    if given is None or isinstance(given, bool):
        return "a header, and rows below it"
    return f"a header in row {given:,}, as header = {given} says, and rows below it"


def _find_table(workbook: Workbook, sheet: Sheet, given: bool | int | None) -> _Table | None:
    """Return the table of a sheet, which may be a header alone; None if there is none.

    ``given`` is what the mapping says about the header, as ``choose_header`` takes it.
    """
    from kg.ingest.workbook import header_names

    places = sorted(sheet.filled)
    line = 0 if given is None or isinstance(given, bool) else given
    first = itertools.islice(workbook.rows(sheet), _SEARCHED_ROWS + line)
    texts = (
        HeadRow(row.number, 1, [_cell_at(row, place) or "" for place in places]) for row in first
    )
    rows = [row for row in texts if row.filled]
    header = choose_header(rows, len(places), given)
    has_rows = header.first_row_index < len(rows)
    # A text alone is no header.
    is_table = has_rows or header.is_named or len([*filter(str.strip, header.names or ())]) > 1
    if not is_table or (header.line or line) < line:
        return None
    cells = [""] * sheet.width
    for place, cell in zip(places, header.names or (), strict=False):
        cells[place] = cell
    names = header_names(sheet, header.line, cells) if header.line is not None else cells
    # Without the titles and the like above the rows.
    filled = Counter(sheet.filled)
    for row in rows[: header.first_row_index]:
        filled.subtract(place for place, cell in zip(places, row.cells, strict=True) if cell)
    columns = tuple(
        column for column, name in enumerate(names) if name.strip() or filled[column] > 0
    )
    if not columns:
        return None
    row_count = max(filled[column] for column in columns)
    if header.names is None:
        return _Table(sheet, header, (), (), columns, row_count)
    return _Table(
        sheet,
        header,
        tuple(cells[column] for column in columns),
        tuple(names[column].strip() for column in columns),
        columns,
        row_count,
    )


def _cell_at(row: SheetRow, column: int) -> str | None:
    """Return a cell as text; None if it is empty."""
    cell = row.cells[column] if column < len(row.cells) else None
    return (cell or None) if isinstance(cell, str) else scalar_text(cell)


def _is_comment(cells: Sequence[str | None]) -> bool:
    filled = [cell for cell in cells if cell]
    return len(filled) == 1 < len(cells) and filled[0].startswith("#")


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
        left_out = [row.line for row in table.header.left_out]
        if table.header.line != 1 or left_out:
            said = ", ".join(describe_header(table.header.line, left_out))
            yield f"sheet {table.sheet.name!r}: {said}"


def _damage_remarks(tables: Sequence[_Table]) -> Iterator[str]:
    """Say which values the spreadsheet has damaged, as far as it can be known."""
    for table in tables:
        sheet = table.sheet
        names = unique_column_names(table.names or [""] * len(table.columns))
        for column, name in zip(table.columns, names, strict=True):
            if count := sheet.damaged.get(column):
                yield (
                    f"column {name!r}: {count:,} values like {sheet.examples[column]} have lost "
                    "digits in the spreadsheet, which keeps 15 of a number: format the column as "
                    "text, and fill it anew"
                )
        if sheet.errors:
            yield f"{sheet.errors:,} cells of {sheet.name!r} hold an error (#N/A) and are empty"


READER = SheetReader()
