"""Write a workbook of Excel again: single cells of its sheets change.

Styles, formulas, other sheets and all else that is in the file stay as they are.
"""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, cast

import pyarrow as pa

from kg.export.in_place.report import Filled, Kept
from kg.export.in_place.table import FilledBatch, NewRow, TableEdit, TableFiller
from kg.export.in_place.wanted import Cell, WantedValues
from kg.export.sheet_xml import MAX_TEXT, cell_xml, column_letters, is_sheet_number
from kg.ingest.files import SourceFile, opened_archive
from kg.ingest.readers.sheets import PlacedBatch, SheetReader
from kg.ingest.rows import Batch
from kg.ingest.sheet_child import column_number, padded_styles, sheet_parts
from kg.ingest.source_plan import TablePlan
from kg.marks import Marking
from schema.errors import DataError
from schema.spreadsheets import defused

_CHUNK_BYTES = 1 << 20
_ROW = re.compile(rb"<((?:[A-Za-z_][\w.-]*:)?)row(?=[\s/>])([^>]*?)(/?)>")
_CELL = re.compile(
    rb"<((?:[A-Za-z_][\w.-]*:)?)c(?=[\s/>])([^>]*?)(?:/>|>(.*?)</(?:[A-Za-z_][\w.-]*:)?c\s*>)",
    re.DOTALL,
)
_ROW_NUMBER = re.compile(rb'\br\s*=\s*["\'](\d+)["\']')
_PLACE = re.compile(rb'\br\s*=\s*["\']([A-Z]{1,3})\d+["\']')
_STYLE = re.compile(rb'\bs\s*=\s*["\'](\d+)["\']')
_TYPE = re.compile(rb'\bt\s*=\s*["\'](\w+)["\']')
_SPANS = re.compile(rb'\s+spans\s*=\s*["\'][^"\']*["\']')
_FORMULA = re.compile(rb"<(?:[A-Za-z_][\w.-]*:)?f(?=[\s/>])")
_VALUE = re.compile(rb"<(?:[A-Za-z_][\w.-]*:)?v(?=[\s/>])")

_DIMENSION = re.compile(
    rb'(<(?:[A-Za-z_][\w.-]*:)?dimension\s+ref\s*=\s*["\'])([A-Z]{1,3}\d+:)([A-Z]{1,3})(\d+["\'])'
)
_MAX_COLUMNS = 16_384

Cells = dict[int, dict[int, str]]
"""Texts by the number of a row, and the column of the sheet from 0."""


@dataclass
class _Column:
    """What the cells of a column of a sheet are: how many are numbers, and their styles."""

    numbers: int = 0
    texts: int = 0
    number_style: bytes | None = None
    text_style: bytes | None = None

    @property
    def is_numeric(self) -> bool:
        """Whether most of its cells are numbers."""
        return self.numbers > self.texts


@dataclass
class _Survey:
    """What is known of a sheet: its columns, and cells with formulas, by row and column."""

    columns: dict[int, _Column] = field(default_factory=dict)
    formulas: set[tuple[int, int]] = field(default_factory=set)

    @property
    def width(self) -> int:
        """The columns up to the last one that is not empty."""
        filled = (at for at, each in self.columns.items() if each.numbers + each.texts)
        return 1 + max([*filled, *(column for _, column in self.formulas)], default=-1)


@dataclass
class _FilledSheet:
    """Where the header of a sheet is, its columns, and what is filled in its rows."""

    header: int
    names: set[str] = field(default_factory=set)
    rows: dict[int, list[Cell]] = field(default_factory=dict)


def write_workbook(
    plan: TablePlan,
    file: SourceFile,
    target: BinaryIO,
    wanted: WantedValues,
    filled: Filled,
    keep_formulas: bool,
    marking: Marking | None = None,
) -> Iterator[pa.Table]:
    """Write a workbook; yield the ids of the statements that it has then.

    With a ``marking``, its sheets get columns for the marks of what was filled in.
    """
    with file.on_disk() as path, opened_archive(path, file.name) as archive:
        writer = _WorkbookWriter(archive, file.name, keep_formulas)
        reader = cast(SheetReader, plan.source.reader)

        def batches() -> Iterator[Batch]:
            placed = reader.placed_batches(
                plan.source.file, plan.source.head, plan.mapping, plan.batch_rows
            )
            for each in placed:
                writer.place = each
                yield each.batch

        filler = TableFiller(plan, wanted, filled, writer.fault)
        for batch in filler.filled_batches(batches):
            writer.add(batch.batch, batch.cells)
            if marking is not None:
                writer.add_filled(batch)
            yield batch.statements
        if marking is not None:
            writer.mark(marking)
        if writer.cells:
            writer.write(target)
            filled.defused += writer.defused
        else:
            with path.open("rb") as stream:
                shutil.copyfileobj(stream, target, _CHUNK_BYTES)


class _WorkbookWriter:
    """Collects the cells of a workbook that change, and writes it with them.

    ``place`` is the batch that is filled, with its place.
    """

    def __init__(self, archive: zipfile.ZipFile, name: str, keep_formulas: bool) -> None:
        self.place: PlacedBatch | None = None
        self.cells: dict[str, Cells] = {}
        self.defused = 0
        self._archive = archive
        self._name = name
        self._keep_formulas = keep_formulas
        self._parts = sheet_parts(archive)
        self._padded = set()
        if "xl/styles.xml" in archive.namelist():
            self._padded = {style.encode() for style in padded_styles(archive)}
        self._surveys: dict[str, _Survey] = {}
        self._sheets: dict[str, _FilledSheet] = {}
        self._first_mark: dict[str, int] = {}

    def fault(self, batch: Batch, edit: TableEdit) -> Kept | None:
        """Return why an edit of the current batch cannot be written; None if it can be."""
        if isinstance(edit, NewRow):
            # What is below would move, and with it all that refers to it.
            return Kept.NO_ROW
        if len(self._safe(edit.text)) > MAX_TEXT:
            return Kept.TOO_LONG
        if self.place is None:
            return None
        column = self.place.columns[edit.column]
        formulas = self._survey(self.place.sheet).formulas
        return Kept.FORMULA if (int(batch.lines[edit.row]), column) in formulas else None

    def add(self, batch: Batch, cells: Cells) -> None:
        """Add the new texts of cells of the current batch, by its rows and columns."""
        place = self.place
        if place is None or not cells:
            return
        of_sheet = self.cells.setdefault(place.sheet, {})
        for row, texts in cells.items():
            for column, text in texts.items():
                safe = self._safe(text)
                self.defused += safe != text
                of_row = of_sheet.setdefault(int(batch.lines[row]), {})
                of_row[place.columns[column]] = safe

    def add_filled(self, batch: FilledBatch) -> None:
        """Note what is filled in the current batch."""
        place = self.place
        if place is None or not batch.filled:
            return
        sheet = self._sheets.setdefault(place.sheet, _FilledSheet(place.header or 1))
        sheet.names.update(batch.batch.table.column_names)
        for row, cells in batch.filled.items():
            sheet.rows.setdefault(int(batch.batch.lines[row]), []).extend(cells)

    def mark(self, marking: Marking) -> None:
        """Put marks beside what is filled, behind the last column of each sheet.

        Raises DataError if a sheet has no room for them.
        """
        every = (cells for sheet in self._sheets.values() for cells in sheet.rows.values())
        properties = sorted({property for cells in every for _, property in cells})
        taken = {name for sheet in self._sheets.values() for name in sheet.names}
        for property in properties:
            marking.name(property, [*taken, *marking.names])
        for name, sheet in self._sheets.items():
            first = self._survey(name).width
            if first + len(marking.names) > _MAX_COLUMNS:
                raise DataError(
                    f"{self._name}: sheet {name!r} has no room for {len(marking.names)} more "
                    "columns: leave out --mark"
                )
            self._first_mark[name] = first
            header = self.cells[name].setdefault(sheet.header, {})
            header |= {first + at: self._safe(text) for at, text in enumerate(marking.names)}
            for line, cells in sheet.rows.items():
                for item, property in cells:
                    at = first + 2 * properties.index(property)
                    texts = enumerate(marking.mark(item, property).texts, at)
                    self.cells[name][line] |= {column: text for column, text in texts if text}

    def _safe(self, text: str) -> str:
        return text if self._keep_formulas else defused(text)

    def write(self, target: BinaryIO) -> None:
        """Write the workbook."""
        by_part = {self._part(sheet): (sheet, cells) for sheet, cells in self.cells.items()}
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as written:
            for info in self._archive.infolist():
                copy = zipfile.ZipInfo(info.filename, info.date_time)
                copy.compress_type = info.compress_type
                copy.external_attr = info.external_attr
                copy.create_system = info.create_system
                copy.comment = info.comment
                with (
                    self._archive.open(info) as source,
                    written.open(copy, "w", force_zip64=info.file_size > 1 << 31) as stream,
                ):
                    if info.filename in by_part:
                        sheet, cells = by_part[info.filename]
                        for chunk in self._with_cells(source, sheet, cells):
                            stream.write(chunk)
                    else:
                        shutil.copyfileobj(source, stream, _CHUNK_BYTES)

    def _part(self, sheet: str) -> str:
        part = self._parts.get(sheet)
        if part is None or part not in self._archive.namelist():
            raise DataError(
                f"{self._name}: the part of sheet {sheet!r} is not found: save it again as .xlsx, "
                "and load it"
            )
        return part

    def _survey(self, sheet: str) -> _Survey:
        """Return what is known of a sheet, which is read for it once."""
        if sheet in self._surveys:
            return self._surveys[sheet]
        survey = _Survey()
        with self._archive.open(self._part(sheet)) as stream:
            for row in _rows(cast(BinaryIO, stream), self._name):
                if row.number is None:
                    continue
                for cell in row.cells():
                    column = survey.columns.setdefault(cell.column, _Column())
                    if cell.has_formula:
                        survey.formulas.add((row.number, cell.column))
                    elif cell.has_value and cell.is_number:
                        column.numbers += 1
                        column.number_style = cell.style
                    elif cell.has_value:
                        column.texts += 1
                        column.text_style = cell.style
        self._surveys[sheet] = survey
        return survey

    def _with_cells(self, stream: object, sheet: str, cells: Cells) -> Iterator[bytes]:
        """Yield the XML of a sheet with other cells."""
        survey = self._survey(sheet)
        left = dict(cells)
        last = max(column for texts in cells.values() for column in texts)
        for row in _rows(cast(BinaryIO, stream), self._name):
            changes = left.pop(row.number, None) if row.number is not None else None
            if changes is not None:
                yield self._row(row, changes, survey, self._first_mark.get(sheet))
            elif row.number is None and sheet in self._first_mark:
                yield _widened(row.xml, last)
            else:
                yield row.xml
        if left:
            raise DataError(
                f"{self._name}: row {min(left):,} of sheet {sheet!r} is not found as it was read: "
                "use --format csv --wide, and report this"
            )

    def _row(
        self, row: _Row, changes: dict[int, str], survey: _Survey, first_mark: int | None
    ) -> bytes:
        """Return a row with other cells, in the order of their columns."""
        prefix = row.prefix.decode()
        parts: dict[int, bytes] = {}
        styles: dict[int, bytes | None] = {}
        for cell in row.cells():
            parts[cell.column] = cell.placed(row.number or 0)
            styles[cell.column] = cell.style
        for column, text in changes.items():
            known = survey.columns.get(column, _Column())
            is_mark = first_mark is not None and column >= first_mark
            is_number = (known.is_numeric or is_mark) and is_sheet_number(text)
            style = known.number_style if is_number else known.text_style
            style = styles.get(column) or style
            if style in self._padded:
                is_number = False
            xml = cell_xml(
                f"{column_letters(column)}{row.number}",
                text,
                is_number,
                style.decode() if style else None,
                prefix,
            )
            parts[column] = xml.encode()
        inner = b"".join(parts[column] for column in sorted(parts))
        return row.opening() + inner + row.rest()


# ---- the XML of a sheet


def _widened(xml: bytes, last: int) -> bytes:
    """Return what stands before the rows, with a used range that reaches a column from 0."""

    def wider(found: re.Match[bytes]) -> bytes:
        column = max(column_number(found[3].decode()), last)
        return found[1] + found[2] + column_letters(column).encode() + found[4]

    return _DIMENSION.sub(wider, xml, count=1)


@dataclass(frozen=True)
class _Cell:
    """A cell of a row: its column from 0, its attributes and content, and its XML."""

    column: int
    attributes: bytes
    content: bytes
    xml: bytes
    has_place: bool

    @property
    def style(self) -> bytes | None:
        """The number of its style."""
        found = _STYLE.search(self.attributes)
        return found[1] if found else None

    @property
    def is_number(self) -> bool:
        """Whether its value is a number."""
        found = _TYPE.search(self.attributes)
        return found is None or found[1] == b"n"

    @property
    def has_value(self) -> bool:
        """Whether it has a value."""
        return _VALUE.search(self.content) is not None or b"<is" in self.content

    @property
    def has_formula(self) -> bool:
        """Whether it has a formula."""
        return _FORMULA.search(self.content) is not None

    def placed(self, row: int) -> bytes:
        """Return its XML with its place, which the first cell of a row may leave away."""
        if self.has_place:
            return self.xml
        name, sign, rest = self.xml.partition(b"c")
        place = f' r="{column_letters(self.column)}{row}"'.encode()
        return name + sign + place + rest


@dataclass(frozen=True)
class _Row:
    """A row of a sheet, or if its ``number`` is None, what stands between rows."""

    number: int | None
    xml: bytes
    prefix: bytes = b""
    attributes: bytes = b""
    content: bytes = b""

    def cells(self) -> Iterator[_Cell]:
        """Yield the cells of the row."""
        column = -1
        for found in _CELL.finditer(self.content):
            place = _PLACE.search(found[2])
            column = column_number(place[1].decode()) if place else column + 1
            yield _Cell(column, found[2], found[3] or b"", found[0], place is not None)

    def opening(self) -> bytes:
        """Return its opening tag, which no longer says which columns it has."""
        return b"<" + self.prefix + b"row" + _SPANS.sub(b"", self.attributes) + b">"

    def rest(self) -> bytes:
        """Return what comes after its cells, such as extensions, and its closing tag."""
        last = 0
        for found in _CELL.finditer(self.content):
            last = found.end()
        return self.content[last:] + b"</" + self.prefix + b"row>"


def _rows(stream: BinaryIO, name: str) -> Iterator[_Row]:
    """Yield the rows of a sheet and what stands between them: together, they are all of it.

    Raises DataError if the sheet is not in UTF-8.
    """
    buffer = stream.read(_CHUNK_BYTES)
    if buffer.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in buffer[:100]:
        raise DataError(f"{name} has a sheet that is not in UTF-8: save it again as .xlsx")
    at_end = False
    number = 0
    position = 0
    while True:
        found = _ROW.search(buffer, position)
        end = _end_of_row(buffer, found) if found is not None else None
        if found is not None and end is not None:
            if found.start() > position:
                yield _Row(None, buffer[position : found.start()])
            own = _ROW_NUMBER.search(found[2])
            number = int(own[1]) if own else number + 1
            content = b"" if found[3] else buffer[found.end() : buffer.rfind(b"</", 0, end)]
            yield _Row(number, buffer[found.start() : end], found[1], found[2], content)
            position = end
            continue
        if at_end:
            if position < len(buffer):
                yield _Row(None, buffer[position:])
            return
        buffer = buffer[position:]
        position = 0
        more = stream.read(max(_CHUNK_BYTES, len(buffer)))
        at_end = not more
        buffer += more


def _end_of_row(buffer: bytes, found: re.Match[bytes]) -> int | None:
    """Return the position after a row; None if the buffer does not have it whole."""
    if found[3]:
        return found.end()
    closing = b"</" + found[1] + b"row"
    start = buffer.find(closing, found.end())
    end = buffer.find(b">", start) if start >= 0 else -1
    return end + 1 if end >= 0 else None
