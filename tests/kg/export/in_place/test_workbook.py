"""Workbooks: cells change, and styles, formulas and other sheets stay."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
import python_calamine

from kg.export.source_options import SourceExport
from tests.kg.export.in_place.conftest import NOBODY, Workplace
from tests.kg.ingest.made_workbooks import MadeSheet, Raw, write_xlsx

ROWS: list[list[Any]] = [
    ["id", "title", "colour", "width", "code"],
    ["0001", "Mug", "red", 3.5, Raw("7", style=3)],
    ["0002", "Cup", None, None, None],
    ["0003", "Jug", "n/a", 4, Raw("12", style=3)],
    ["0004", "Can", "blue", 12],
]


def workbook(folder: Path, sheets: dict[str, MadeSheet]) -> bytes:
    write_xlsx(folder / "made.xlsx", sheets)
    return (folder / "made.xlsx").read_bytes()


def cells(data: bytes, sheet: str = "Items") -> list[list[Any]]:
    book = python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(data))
    return [list(row) for row in book.get_sheet_by_name(sheet).iter_rows()]


def parts(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def data(tmp_path: Path) -> bytes:
    notes = MadeSheet([["notes"], ["nothing"]])
    return workbook(tmp_path, {"Notes": notes, "Items": MadeSheet(ROWS)})


def test_cells_are_filled_as_their_columns_are(place: Workplace, data: bytes) -> None:
    facts = [
        ("0002", "colour", "blue & <b>"),
        ("0002", "width", "5.25"),
        ("0003", "colour", "=1+1"),
        ("0002", "code", "00034"),
    ]
    written = place.fill(data, facts, "items.xlsx")
    before = cells(data)
    after = cells(written.data)
    assert after[2][:4] == ["0002", "Cup", "blue & <b>", 5.25]
    assert after[3][2] == "'=1+1"
    for row in (0, 1, 4):
        assert after[row] == before[row]
    old = parts(data)
    new = parts(written.data)
    assert list(new) == list(old)
    changed = [name for name in old if old[name] != new[name]]
    assert changed == ["xl/worksheets/sheet2.xml"]
    assert written.report.filled.filled.total() == 4


def test_an_untouched_workbook_is_the_same_file(place: Workplace, data: bytes) -> None:
    assert place.fill(data, [NOBODY], "items.xlsx").data == data


def test_several_sheets_with_the_same_columns_are_filled(place: Workplace, tmp_path: Path) -> None:
    more = [ROWS[0], ["0005", "Pot", None, 3], ["0006", "Pan", "grey", 3]]
    data = workbook(tmp_path, {"Items": MadeSheet(ROWS), "More": MadeSheet(more)})
    written = place.fill(data, [("0002", "colour", "a"), ("0005", "colour", "b")], "items.xlsx")
    assert cells(written.data)[2][2] == "a"
    assert cells(written.data, "More")[1][2] == "b"


def test_a_table_that_does_not_start_in_the_corner_is_filled(
    place: Workplace, tmp_path: Path
) -> None:
    sheet = MadeSheet(ROWS, first_row=4, first_column=2)
    data = workbook(tmp_path, {"Items": sheet})
    written = place.fill(data, [("0002", "colour", "blue")], "items.xlsx")
    changed = [
        (row, column)
        for row, (one, two) in enumerate(zip(cells(data), cells(written.data), strict=True))
        for column, (a, b) in enumerate(zip(one, two, strict=True))
        if a != b
    ]
    assert len(changed) == 1


def test_a_cell_with_a_formula_is_left_alone(place: Workplace, data: bytes) -> None:
    sheet = "xl/worksheets/sheet2.xml"
    inner = parts(data)
    xml = inner[sheet].decode()
    at = xml.index("Cup")
    end = xml.index("</c>", at) + 4
    xml = f'{xml[:end]}<c r="C3" t="str"><f>IF(1,"","")</f></c>{xml[end:]}'
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in inner.items():
            archive.writestr(name, xml if name == sheet else content)
    written = place.fill(target.getvalue(), [("0002", "colour", "blue")], "items.xlsx")
    assert written.kept == {"colour": "FORMULA"}


def test_a_raw_formula_is_a_text_all_the_same(place: Workplace, data: bytes) -> None:
    place.load(data, "items.xlsx")
    place.accept([("0002", "colour", "=1+1")])
    written = place.write(SourceExport(keep_formulas=True))
    assert cells(written.data)[2][2] == "=1+1"
    assert b"<f>" not in parts(written.data)["xl/worksheets/sheet2.xml"]


def test_rows_and_cells_without_places_get_them(place: Workplace, data: bytes) -> None:
    inner = parts(data)
    sheet = "xl/worksheets/sheet2.xml"
    rows = [["id", "title", "colour"], ["1", "Mug", "red"], ["2", "Cup", ""], ["3", "Jug", "blue"]]
    body = "".join(
        "<row>"
        + "".join(
            f'<c t="inlineStr"><is><t>{cell}</t></is></c>' if cell else "<c/>" for cell in row
        )
        + "</row>"
        for row in rows
    )
    xml = re.sub(
        rb"<sheetData>.*</sheetData>",
        f"<sheetData>{body}</sheetData>".encode(),
        inner[sheet],
        flags=re.DOTALL,
    )
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in inner.items():
            archive.writestr(name, xml if name == sheet else content)
    written = place.fill(target.getvalue(), [("2", "colour", "white")], "items.xlsx")
    assert cells(written.data)[2] == ["2", "Cup", "white"]


def test_texts_like_escapes_and_of_any_length_are_written_or_counted(
    place: Workplace, tmp_path: Path
) -> None:
    rows = [["id", "title", "colour"], ["1", "Mug", "a_x000D_b"], ["2", "Cup"], ["3", "Jug"]]
    data = workbook(tmp_path, {"Items": MadeSheet([*rows, ["4", "Can"]])})
    odd = "c_x000D_d _x005F_ x_x0041_y"
    facts = [("2", "colour", odd), ("3", "colour", "x" * 40_000), ("4", "colour", "plain")]
    written = place.fill(data, facts, "items.xlsx")
    assert [row[2] for row in cells(written.data)[2:]] == [odd, "", "plain"]
    assert written.kept == {"colour": "TOO_LONG"}


def test_a_long_table_gets_no_rows(place: Workplace, tmp_path: Path) -> None:
    rows = [["sku", "attribute", "value"], ["1", "name", "Mug"], ["1", "colour", "red"]]
    data = workbook(tmp_path, {"Items": MadeSheet([*rows, ["2", "name", "Cup"], ["2", "size"]])})
    written = place.fill(data, [("2", "colour", "blue"), ("2", "size", "S")], "items.xlsx")
    assert cells(written.data)[4][2] == "S"
    assert written.kept == {"colour": "NO_ROW"}
    assert "add rows" in written.report.filled.lines()[0]
