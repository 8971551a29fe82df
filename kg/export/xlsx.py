"""Export as a workbook of Excel: a row for each item, and a column for each property.

Only what all values of a property show to be numbers is written as such; ids and all else are text.
"""

from __future__ import annotations

import itertools
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO
from xml.sax.saxutils import quoteattr

from kg.export.selection import Selection
from kg.export.sheet_xml import MAX_TEXT, cell_xml, column_letters, is_sheet_number
from kg.export.wide import WideTable
from schema.errors import DataError

MAX_ROWS = 1_048_576
"""The rows of a sheet, its header included."""
MAX_COLUMNS = 16_384
_MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_TYPES = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_HEADER_STYLE = "1"
_STYLES = (
    f"{_XML}<styleSheet {_MAIN}>"
    '<fonts count="2"><font><sz val="11"/><name val="Calibri"/></font>'
    '<font><b/><sz val="11"/><name val="Calibri"/></font></fonts>'
    '<fills count="2"><fill><patternFill patternType="none"/></fill>'
    '<fill><patternFill patternType="gray125"/></fill></fills>'
    '<borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>'
    '<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>'
    '<cellXfs count="2"><xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/>'
    '<xf numFmtId="0" fontId="1" fillId="0" borderId="0" xfId="0" applyFont="1"/></cellXfs>'
    '<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles>'
    "</styleSheet>"
)
_CUT = f"texts have more than {MAX_TEXT:,} characters, the most of a cell: they are cut off"


def write_xlsx(selection: Selection, path: Path, table: WideTable | None = None) -> None:
    """Write the sheet ``items``, and further ones if there are more items than rows of a sheet.

    They have the rows of a ``table``, or else those of the selection.
    Raises DataError if there are more properties than columns.
    """
    table = WideTable(selection) if table is None else table
    columns = table.columns
    if len(columns) > MAX_COLUMNS:
        raise DataError(
            f"a sheet has {MAX_COLUMNS:,} columns, and the items {len(columns):,}: "
            "use --format csv --wide"
        )
    write_sheets(path, "items", columns, table.numeric, table.rows(), selection)


def write_sheets(
    path: Path,
    name: str,
    columns: Sequence[str],
    numeric: Sequence[bool],
    rows: Iterator[list[str]],
    selection: Selection,
) -> None:
    """Write rows of C cells to the sheet ``name``, and those that it has no room for to others.

    Numbers are written as such in the columns that are ``numeric`` [C]. The ``selection`` counts
    the texts that are changed.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=4) as archive:
        names: list[str] = []
        first = next(rows, None)
        while first is not None or not names:
            names.append(f"{name} {len(names) + 1}" if names else name)
            part = f"xl/worksheets/sheet{len(names)}.xml"
            with archive.open(part, "w", force_zip64=True) as stream:
                own = [] if first is None else [first]
                of_sheet = itertools.chain(own, itertools.islice(rows, MAX_ROWS - 1 - len(own)))
                _write_sheet(stream, columns, numeric, of_sheet, selection)
            first = next(rows, None)
        for part, text in _parts(names):
            archive.writestr(part, text)


def _write_sheet(
    stream: IO[bytes],
    columns: Sequence[str],
    numeric: Sequence[bool],
    rows: Iterator[list[str]],
    selection: Selection,
) -> None:
    letters = [column_letters(column) for column in range(len(columns))]

    def row_xml(number: int, cells: Sequence[str], style: str | None = None) -> bytes:
        parts = []
        for at, text in enumerate(cells):
            if not text:
                continue
            is_number = style is None and numeric[at] and is_sheet_number(text)
            if not is_number:
                text = selection.safe(text)
                if len(text) > MAX_TEXT:
                    selection.notes[_CUT] += 1
                    text = text[:MAX_TEXT]
            parts.append(cell_xml(f"{letters[at]}{number}", text, is_number, style))
        return f'<row r="{number}">{"".join(parts)}</row>'.encode()

    stream.write(
        f'{_XML}<worksheet {_MAIN}><sheetViews><sheetView workbookViewId="0">'
        '<pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/>'
        "</sheetView></sheetViews><sheetData>".encode()
    )
    stream.write(row_xml(1, columns, _HEADER_STYLE))
    for number, cells in enumerate(rows, 2):
        stream.write(row_xml(number, cells))
    stream.write(b"</sheetData></worksheet>")


def _parts(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the small parts of a workbook with sheets of these names."""
    numbered = list(enumerate(names, 1))
    sheets = "".join(
        f'<sheet name={quoteattr(name)} sheetId="{number}" r:id="rId{number}"/>'
        for number, name in numbered
    )
    relations = "".join(
        f'<Relationship Id="rId{number}" Type="{_RELATIONS}/worksheet" '
        f'Target="worksheets/sheet{number}.xml"/>'
        for number, _ in numbered
    )
    types = "".join(
        f'<Override PartName="/xl/worksheets/sheet{number}.xml" '
        f'ContentType="{_TYPES}.worksheet+xml"/>'
        for number, _ in numbered
    )
    yield (
        "[Content_Types].xml",
        f'{_XML}<Types xmlns="{_PACKAGE}/content-types">'
        '<Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{_TYPES}.sheet.main+xml"/>'
        f'<Override PartName="/xl/styles.xml" ContentType="{_TYPES}.styles+xml"/>'
        f"{types}</Types>",
    )
    yield (
        "_rels/.rels",
        f'{_XML}<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="rId1" '
        f'Type="{_RELATIONS}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
    )
    yield (
        "xl/workbook.xml",
        f'{_XML}<workbook {_MAIN} xmlns:r="{_RELATIONS}"><sheets>{sheets}</sheets></workbook>',
    )
    yield (
        "xl/_rels/workbook.xml.rels",
        f'{_XML}<Relationships xmlns="{_PACKAGE}/relationships">{relations}'
        f'<Relationship Id="rId{len(names) + 1}" Type="{_RELATIONS}/styles" Target="styles.xml"/>'
        "</Relationships>",
    )
    yield "xl/styles.xml", _STYLES
