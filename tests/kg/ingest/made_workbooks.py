"""Workbooks in the formats of Excel and OpenDocument, as small as they can be."""

import datetime
import zipfile
from dataclasses import dataclass, field
from typing import Any
from xml.sax.saxutils import escape, quoteattr

MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
# Styles 0 general, 1 date, 2 date and time, 3 five digits with leading zeros.
STYLES = (
    f'<styleSheet {MAIN}><numFmts count="1"><numFmt numFmtId="170" formatCode="00000"/></numFmts>'
    '<cellXfs count="4"><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="22"/>'
    '<xf numFmtId="170"/></cellXfs></styleSheet>'
)


@dataclass(frozen=True)
class Raw:
    """A cell as it is in the file: its value, type and style."""

    value: str
    type: str = "n"
    style: int = 0


@dataclass(frozen=True)
class MadeSheet:
    """A sheet: its rows, and what else it says."""

    rows: list[list[Any]] = field(default_factory=list)
    state: str = "visible"
    merged: tuple[str, ...] = ()
    first_row: int = 1
    first_column: int = 0


def write_xlsx(path, sheets):
    """Write sheets by their names."""
    numbered = list(enumerate(sheets.items(), 1))
    listed = "".join(
        f'<sheet name={quoteattr(name)} sheetId="{number}" state="{sheet.state}" '
        f'r:id="rId{number}"/>'
        for number, (name, sheet) in numbered
    )
    relations = "".join(
        f'<Relationship Id="rId{number}" Type="{RELATIONS}/worksheet" '
        f'Target="worksheets/sheet{number}.xml"/>'
        for number, _ in numbered
    )
    relations += f'<Relationship Id="rId999" Type="{RELATIONS}/styles" Target="styles.xml"/>'
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{PACKAGE}/content-types"/>',
        "_rels/.rels": f'<Relationships xmlns="{PACKAGE}/relationships"><Relationship Id="rId1" '
        f'Type="{RELATIONS}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook {MAIN} xmlns:r="{RELATIONS}"><sheets>{listed}</sheets>'
        "</workbook>",
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{PACKAGE}/relationships">{relations}'
        "</Relationships>",
        "xl/styles.xml": STYLES,
    }
    for number, (_, sheet) in numbered:
        parts[f"xl/worksheets/sheet{number}.xml"] = sheet_xml(sheet)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(name, f'<?xml version="1.0" encoding="UTF-8"?>{text}')
    return path


def sheet_xml(sheet):
    rows = []
    for number, row in enumerate(sheet.rows, sheet.first_row):
        cells = "".join(
            cell_xml(cell, f"{letters(column)}{number}")
            for column, cell in enumerate(row, sheet.first_column)
            if cell is not None
        )
        rows.append(f'<row r="{number}">{cells}</row>')
    merged = "".join(f'<mergeCell ref="{each}"/>' for each in sheet.merged)
    merged = f"<mergeCells>{merged}</mergeCells>" if merged else ""
    return f"<worksheet {MAIN}><sheetData>{''.join(rows)}</sheetData>{merged}</worksheet>"


def cell_xml(cell, place):
    if isinstance(cell, str):
        text = f'<is><t xml:space="preserve">{escape(cell)}</t></is>'
        return f'<c r="{place}" t="inlineStr">{text}</c>'
    if isinstance(cell, bool):
        cell = Raw(str(int(cell)), "b")
    elif isinstance(cell, datetime.datetime):
        days = (cell - datetime.datetime(1899, 12, 30)) / datetime.timedelta(days=1)
        cell = Raw(repr(days), style=2)
    elif isinstance(cell, datetime.date):
        cell = Raw(str((cell - datetime.date(1899, 12, 30)).days), style=1)
    elif not isinstance(cell, Raw):
        cell = Raw(repr(cell))
    return f'<c r="{place}" t="{cell.type}" s="{cell.style}"><v>{cell.value}</v></c>'


def letters(column):
    text = ""
    column += 1
    while column:
        column, rest = divmod(column - 1, 26)
        text = chr(ord("A") + rest) + text
    return text


def write_ods(path, sheets):
    """Write sheets of texts and numbers."""
    tables = []
    for name, sheet in sheets.items():
        rows = "".join(
            f"<table:table-row>{''.join(map(ods_cell, row))}</table:table-row>"
            for row in sheet.rows
        )
        tables.append(f"<table:table table:name={quoteattr(name)}>{rows}</table:table>")
    namespaces = " ".join(
        f'xmlns:{prefix}="urn:oasis:names:tc:opendocument:xmlns:{prefix}:1.0"'
        for prefix in ("office", "table", "text")
    )
    content = (
        f'<?xml version="1.0" encoding="UTF-8"?><office:document-content {namespaces}>'
        f"<office:body><office:spreadsheet>{''.join(tables)}</office:spreadsheet></office:body>"
        "</office:document-content>"
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("content.xml", content)
        archive.writestr("META-INF/manifest.xml", "<manifest/>")
    return path


def ods_cell(cell):
    if cell is None:
        return "<table:table-cell/>"
    if isinstance(cell, str):
        return (
            '<table:table-cell office:value-type="string">'
            f"<text:p>{escape(cell)}</text:p></table:table-cell>"
        )
    return f'<table:table-cell office:value-type="float" office:value="{cell}"/>'
