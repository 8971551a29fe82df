"""Workbooks."""

import dataclasses
import datetime
import gzip
import time
import zipfile
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kg.ingest import unpacking, workbook
from kg.ingest.readers.sheets import READER
from kg.ingest.source import open_source
from kg.ingest.source_plan import column_names
from schema.errors import DataError
from schema.mapping import Mapping
from tests.contracts.reader_contract import COLUMNS, ReaderContract, made_up_rows
from tests.kg.ingest.made_workbooks import MadeSheet, Raw, write_ods, write_xlsx
from tests.kg.ingest.readers.reading import PLAIN, read_source, rows_and_rejects, write

HEADER = ["id", "title"]


class TestSheets(ReaderContract):
    reader = READER
    file_name = "items.xlsx"
    broken = b"PK\x03\x04 and no more"

    def write(self, path, rows):
        # Every row of a workbook can be read: one that is missing stands for a bad one.
        cells = [[row.get(name) for name in COLUMNS] for row in rows if row is not None]
        write_xlsx(path, {"Items": MadeSheet([list(COLUMNS), *cells])})

    def lines(self, rows):
        return list(range(2, 2 + sum(row is not None for row in rows)))

    @pytest.mark.parametrize("seed", range(2))
    def test_every_row_is_read_or_rejected(self, path, seed):
        rows = [row for row in made_up_rows(seed) if row is not None]
        self.write(path, rows)
        assert [row for batch in self.read(path) for row in self.cells(batch)] == rows

    @pytest.mark.parametrize("seed", range(2))
    def test_rows_and_rejects_have_the_lines_of_the_file(self, path, seed):
        rows = made_up_rows(seed)
        self.write(path, rows)
        lines = [line for batch in self.read(path) for line in batch.lines.tolist()]
        assert lines == self.lines(rows)

    def test_a_reject_has_its_file_and_a_reason_of_one_line(self, path):
        pytest.skip("no row of a workbook is rejected by its reader")


def read(path, mapping=PLAIN):
    source = open_source(path, mapping if mapping is not PLAIN else None)
    return rows_and_rejects(source.batches(mapping))[0], source.remarks


def xlsx(tmp_path, rows, **options):
    return write_xlsx(tmp_path / "a.xlsx", {"Items": MadeSheet(rows, **options)})


def test_cells_are_as_people_see_them(tmp_path):
    moment = datetime.datetime(2024, 1, 2, 3, 4, 5)
    cells = {
        "00123": "00123",
        4012345000010: "4012345000010",
        7.0: "7",
        Raw("1.1000000000000001"): "1.1",
        Raw("0.30000000000000004"): "0.30000000000000004",
        datetime.date(2024, 1, 2): "2024-01-02",
        moment: "2024-01-02T03:04:05",
        Raw("0.5", style=2): "12:00",
        True: "true",
        Raw("#N/A", "e"): None,
        Raw("123", style=3): "00123",
        Raw("12.5", style=3): "12.5",
        Raw("kept", "str"): "kept",
        "a_x000D_b": "a\rb",
        "a_x005F_x000D_b": "a_x000D_b",
        " ": " ",
    }
    names = [f"c{number}" for number in range(len(cells))]
    rows, remarks = read(xlsx(tmp_path, [["id", *names], ["1", *cells]]))
    assert dict(zip(cells, rows[0][2:], strict=True)) == cells
    assert len(remarks) == 1
    assert "1 cells of 'Items' hold an error" in remarks[0]


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(
            st.integers(-(10**14), 10**14) | st.floats(-1e6, 1e6).map(lambda x: round(x, 3)),
            st.text("ab <&é红😀\n", min_size=1, max_size=5),
            st.dates(datetime.date(1901, 1, 1), datetime.date(2100, 1, 1)),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_what_is_written_is_read(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("sheets") / "a.xlsx"
    write_xlsx(path, {"S": MadeSheet([["n", "t", "d"], *map(list, rows)])})
    expected = [
        (line, str(int(n)) if n == int(n) else repr(n), text, day.isoformat())
        for line, (n, text, day) in enumerate(rows, 2)
    ]
    assert read(path)[0] == expected


def test_digits_that_a_spreadsheet_has_lost_are_reported(tmp_path):
    rows = [["id", "ean"], ["1", 12345678901234567000.0], ["2", "4.01235E+12"], ["3", "E+1"]]
    assert "column 'ean': 2 values like" in read(xlsx(tmp_path, rows))[1][0]


@pytest.mark.parametrize("write_book", [write_xlsx, write_ods])
def test_both_families_are_read(tmp_path, write_book):
    path = write_book(tmp_path / "a.xlsx", {"S": MadeSheet([HEADER, ["1", "a"], [2, None]])})
    assert read(path)[0] == [(2, "1", "a"), (3, "2", None)]


def test_lines_above_the_header_and_empty_rows_are_no_rows(tmp_path):
    rows = [["Report of May"], [], ["as of", datetime.date(2024, 5, 1)], []]
    table = [["id", "title", "n"], ["1", "a", 1], [], ["2", "b", 2], ["", None, None]]
    path = xlsx(tmp_path, [*rows, *table])
    rows, remarks = read(path)
    assert rows == [(6, "1", "a", "1"), (8, "2", "b", "2")]
    assert remarks == ("a.xlsx: sheet 'Items': header in line 5, left out: lines 1, 3",)


LABELS = ["Artikelnummer", "Bezeichnung", "Breite"]
MUGS = [["A-1", "Mug", 8], ["A-2", "Jug", 10.5], ["A-3", "Cup", 7], ["A-4", "Pot", 12]]
MUG_ROWS = [("A-1", "Mug", "8"), ("A-2", "Jug", "10.5"), ("A-3", "Cup", "7"), ("A-4", "Pot", "12")]


@pytest.mark.parametrize(
    ("above", "below", "left_out"),
    [
        ([["Our list"], ["as of", None, datetime.date(2024, 5, 1)]], [], [1, 2]),
        ([["# all prices without tax"]], [], [1]),
        ([], [["–", "–", "cm"]], [2]),
        ([], [["art_no", "label_de", "width_cm"]], [2]),
        ([["Basics", None, "Dimensions"]], [], [1]),
        ([["Article", None, "Price"]], [], [1]),
        ([["Supplier", "ACME"], ["Phone", "+49 30 12"], ["Date", "2024-05-01"]], [], [1, 2, 3]),
    ],
)
def test_what_is_around_the_header_is_left_out_and_said(tmp_path, above, below, left_out):
    table = [*above, LABELS, *below, *MUGS]
    path = xlsx(tmp_path, table)
    rows, remarks = read(path)
    assert [row[1:] for row in rows] == MUG_ROWS
    assert rows[0][0] == len(table) - 3
    lines = ", ".join(map(str, left_out))
    assert remarks[0].endswith(f"left out: line{'s' * (len(left_out) > 1)} {lines}")


def test_a_sheet_and_the_csv_of_it_are_read_alike(tmp_path):
    table: list[list[Any]] = [["Our list"], ["as of", "", "2024-05-01"], LABELS, ["–", "–", "cm"]]
    table += [[f"A-{number}", "Mug", number] for number in range(30)]
    table += [LABELS, ["A-30", "Can", 9], ["Total", "", 444]]
    text = "".join(",".join(map(str, [*row, "", ""][:3])) + "\n" for row in table)
    found = []
    for path in (xlsx(tmp_path, table), write(tmp_path, text, "a.csv")):
        source = open_source(path)
        batches = list(source.batches(PLAIN))
        said = source.remarks[0][source.remarks[0].index("header in") :]
        skipped = [(line.line, line.what) for batch in batches for line in batch.skipped]
        found.append((source.columns(PLAIN), said, skipped, rows_and_rejects(batches)))
    assert found[0] == found[1]
    assert found[0][1:3] == (
        "header in line 3, left out: lines 1, 2, 4",
        [(35, "repeated header"), (37, "line of totals")],
    )
    assert len(found[0][3][0]) == 31


def test_comments_may_stand_among_the_rows_if_they_stand_above_them(tmp_path):
    table = [
        ["# prices without tax"],
        LABELS,
        MUGS[0],
        ["# mugs end here"],
        [" ", None, " "],
        MUGS[1],
    ]
    (batch,) = open_source(xlsx(tmp_path, table)).batches(PLAIN)
    assert batch.lines.tolist() == [3, 6]
    assert [(line.line, line.what) for line in batch.skipped] == [(4, "comment")]
    (batch,) = open_source(xlsx(tmp_path, table[1:])).batches(PLAIN)
    assert batch.table.num_rows == 3


def test_the_header_can_be_given(tmp_path):
    path = xlsx(tmp_path, [LABELS, ["a", "b", "c"], *MUGS])
    rows, remarks = read(path, Mapping("m", id=("a",), header=2))
    assert [row[0] for row in rows] == [3, 4, 5, 6]
    assert "header in line 2, left out: line 1" in remarks[0]
    with pytest.raises(DataError, match=r"a header in row 7, as header = 7 says"):
        open_source(path, Mapping("m", id=("a",), header=7))


def test_a_sheet_without_a_header_has_the_columns_of_the_mapping(tmp_path):
    mapping = Mapping("m", id=("no",), header=False, columns=("no", "name", "width"))
    path = xlsx(tmp_path, MUGS, first_column=1)
    (batch,) = open_source(path, mapping).batches(mapping)
    assert batch.table.column_names == ["no", "name", "width"]
    assert batch.table.num_rows == 4
    with pytest.raises(DataError, match="has 3 columns and 2 names"):
        list(open_source(path, mapping).batches(dataclasses.replace(mapping, columns=("a", "b"))))
    assert not open_source(path).head.header


def test_the_flat_file_of_amazon_says_where_its_header_is(tmp_path):
    first = ["TemplateType=fptcustom", "Version=2024.1", "settings=attributeRow=3&dataRow=5"]
    table = [first, ["SKU", "Name", "Colour"], ["item_sku", "item_name", "color_name"]]
    path = xlsx(tmp_path, [*table, ["required", "required", "optional"], ["A1", "Mug", "red"]])
    source = open_source(path)
    assert source.columns(PLAIN) == ("item_sku", "item_name", "color_name")
    assert rows_and_rejects(source.batches(PLAIN))[0] == [(5, "A1", "Mug", "red")]


def test_the_template_of_a_flat_file_comes_before_its_longer_lists_of_values(tmp_path):
    first = ["TemplateType=fptcustom", "Version=2024.1"]
    values = MadeSheet([["Colour", "Size", "Brand"], *([f"c{n}", f"s{n}", "b"] for n in range(9))])
    names = [["SKU", "Name"], ["item_sku", "item_name"]]
    for rows, read_rows in (([["A1", "Mug"]], [(4, "A1", "Mug")]), ([], [])):
        template = MadeSheet([first, *names, *rows])
        path = tmp_path / f"{len(rows)}.xlsx"
        write_xlsx(path, {"Valid Values": values, "Template": template})
        source = open_source(path)
        assert source.columns(PLAIN) == ("item_sku", "item_name")
        assert rows_and_rejects(source.batches(PLAIN))[0] == read_rows
        assert f"{path.name}: read from sheet 'Template'" in source.remarks
        assert any("sheet 'Valid Values' is not read" in remark for remark in source.remarks)


def test_a_sheet_with_a_header_alone_has_no_rows(tmp_path):
    path = xlsx(tmp_path, [["id", "colour"]])
    assert open_source(path).columns(PLAIN) == ("id", "colour")
    assert read(path)[0] == []
    notes = MadeSheet([["sku", "title", "price"]])
    both = write_xlsx(tmp_path / "b.xlsx", {"A": notes, "B": MadeSheet([["id", "t"], ["1", "a"]])})
    assert read(both)[0] == [(2, "1", "a")]


def test_columns_of_one_name_hold_values_of_one_property(tmp_path):
    path = xlsx(tmp_path, [["id", "title", "image", "image"], ["1", "Mug", "a.jpg", "b.jpg"]])
    assert column_names(open_source(path)) == ("id", "title", "image", "image")


def test_numbers_may_be_names_of_columns(tmp_path):
    path = xlsx(tmp_path, [["id", "title", 2019, 2020], ["1", "Mug", 5, 6], ["2", "Cup", 7, 8]])
    assert open_source(path).columns(PLAIN) == ("id", "title", "2019", "2020")


def test_a_table_may_start_anywhere(tmp_path):
    path = xlsx(tmp_path, [HEADER, ["1", "a"]], first_row=5, first_column=2)
    assert read(path)[0] == [(6, "1", "a")]


def test_columns_without_a_name_are_kept_if_they_have_values(tmp_path):
    path = xlsx(tmp_path, [["id", None, "t", "t", None], ["1", "x", "a", "b", None]])
    (batch,) = open_source(path).batches(PLAIN)
    assert batch.table.to_pylist() == [{"id": "1", "column_2": "x", "t": "a", "t_2": "b"}]


def test_merged_cells_have_their_value_in_each_row(tmp_path):
    rows = [
        ["kind", "id", "size", None],
        ["Mug", "1", "S", "M"],
        [None, "2", None, None],
        ["Cup", "3"],
    ]
    path = xlsx(tmp_path, rows, merged=("A2:A3", "C1:D1"))
    (batch,) = open_source(path).batches(PLAIN)
    assert batch.table["kind"].to_pylist() == ["Mug", "Mug", "Cup"]
    assert batch.table.column_names == ["kind", "id", "size", "size_2"]


BOOK = {
    "About": MadeSheet([["This is our list"]]),
    "Old": MadeSheet([HEADER, *([str(n), "x"] for n in range(9))], state="hidden"),
    "Mugs": MadeSheet([HEADER, ["1", "a"], ["2", "b"]]),
    "Prices": MadeSheet([["id", "price"], ["1", 2]]),
    "Cups": MadeSheet([HEADER, ["3", "c"]]),
}


def test_sheets_with_the_same_columns_are_one_table(tmp_path):
    rows, remarks = read(write_xlsx(tmp_path / "a.xlsx", BOOK))
    assert [row[1] for row in rows] == ["1", "2", "3"]
    said = "\n".join(remarks)
    assert "from sheets 'Mugs', 'Cups'" in said
    assert "'Prices' is not read: it has other columns" in said
    assert "'Old' is not read: it is hidden" in said


@pytest.mark.parametrize(("sheet", "count"), [("Prices", 1), (4, 1), ("Old", 9), (2, 9)])
def test_a_sheet_can_be_named(tmp_path, sheet, count):
    path = write_xlsx(tmp_path / "a.xlsx", BOOK)
    assert len(read(path, Mapping("m", id=("id",), sheet=sheet))[0]) == count


@pytest.mark.parametrize(("sheet", "words"), [("None", "it has 'About'"), ("About", "no table")])
def test_a_sheet_that_is_not_there_is_one_line(tmp_path, sheet, words):
    path = write_xlsx(tmp_path / "a.xlsx", BOOK)
    with pytest.raises(DataError, match=words):
        open_source(path, Mapping("m", id=("id",), sheet=sheet))


def test_a_workbook_without_a_table_names_what_is_hidden(tmp_path):
    path = write_xlsx(tmp_path / "a.xlsx", {"A": MadeSheet(), "B": BOOK["Old"]})
    with pytest.raises(DataError, match="hidden are 'B'"):
        open_source(path)


def test_two_cells_far_apart_do_not_take_the_memory_of_all_between(tmp_path):
    sheet = '<row r="1"><c r="A1"><v>1</v></c></row>'
    sheet += '<row r="1048576"><c r="XFD1048576"><v>2</v></c></row>'
    path = write_xlsx(tmp_path / "a.xlsx", {"S": MadeSheet([HEADER, ["1", "a"]])})
    replace_part(path, "xl/worksheets/sheet1.xml", sheet_of(sheet))
    started = time.monotonic()
    with pytest.raises(DataError, match="needs more than") as caught:
        open_source(path)
    assert "\n" not in str(caught.value)
    assert time.monotonic() - started < 20


def test_rows_that_repeat_a_million_times_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(workbook, "MAX_MEMORY_BYTES", 1 << 28)
    path = write_ods(tmp_path / "a.ods", {"S": MadeSheet([HEADER, ["1", "a"]])})
    with zipfile.ZipFile(path) as archive:
        content = archive.read("content.xml").decode()
    bomb = content.replace(
        "<table:table-row>", '<table:table-row table:number-rows-repeated="9999999">'
    )
    bomb = bomb.replace(
        "<table:table-cell ", '<table:table-cell table:number-columns-repeated="9999" '
    )
    replace_part(path, "content.xml", bomb)
    with pytest.raises(DataError, match=r"needs more than|not a readable"):
        open_source(path)


def test_a_bomb_is_refused_by_the_directory_of_the_archive(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "UNCHECKED_BYTES", 1 << 20)
    path = write_xlsx(tmp_path / "a.xlsx", {"S": MadeSheet([HEADER, ["1", "a"]])})
    replace_part(path, "xl/worksheets/sheet1.xml", " " * (8 << 20))
    with pytest.raises(DataError, match="200 times its size"):
        open_source(path)


def sheet_of(rows):
    xml = '<?xml version="1.0"?><worksheet xmlns="http://schemas.openxmlformats.org/'
    return f'{xml}spreadsheetml/2006/main"><sheetData>{rows}</sheetData></worksheet>'


def replace_part(path, name, text):
    with zipfile.ZipFile(path) as archive:
        parts = {each: archive.read(each) for each in archive.namelist()}
    parts[name] = text.encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for each, content in parts.items():
            archive.writestr(each, content)


@pytest.mark.parametrize("size", [30, 400, 1200])
def test_a_workbook_that_is_cut_off_is_one_line(tmp_path, size):
    path = write_xlsx(tmp_path / "a.xlsx", BOOK)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DataError, match="cut off"):
        open_source(path)


@pytest.mark.parametrize("name", ["a.xls", "a.xlsx"])
def test_a_password_is_said(tmp_path, name):
    data = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)
    data += "EncryptedPackage".encode("utf-16-le") + bytes(1000)
    with pytest.raises(DataError, match="protected by a password"):
        open_source(write(tmp_path, data, name))


def test_what_is_in_the_container_of_old_workbooks_and_is_none_is_one_line(tmp_path):
    data = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(2000)
    with pytest.raises(DataError, match="not a readable workbook") as caught:
        open_source(write(tmp_path, data, "a.xls"))
    assert "\n" not in str(caught.value)


def test_broken_xml_in_a_sheet_is_one_line(tmp_path):
    path = write_xlsx(tmp_path / "a.xlsx", {"S": MadeSheet([HEADER, ["1", "a"]])})
    replace_part(path, "xl/worksheets/sheet1.xml", sheet_of("<row><c"))
    with pytest.raises(DataError, match=r"not a readable workbook|no sheet with a table"):
        open_source(path)


def test_a_workbook_may_be_compressed_or_in_an_archive(tmp_path):
    book = write_xlsx(tmp_path / "a.xlsx", {"S": MadeSheet([HEADER, ["1", "a"]])}).read_bytes()
    path = write(tmp_path, gzip.compress(book), "b.xlsx.gz")
    assert read(path)[0] == [(2, "1", "a")]
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("in/d.xlsx", book)
    assert read_source(tmp_path / "c.zip")[0] == [(2, "1", "a")]


def test_a_workbook_under_another_name_is_known(tmp_path):
    book = write_xlsx(tmp_path / "a.xlsx", {"S": MadeSheet([HEADER, ["1", "a"]])}).read_bytes()
    rows, remarks = read(write(tmp_path, book, "b.csv"))
    assert rows == [(2, "1", "a")]
    assert "an Excel workbook by its content" in remarks[0]
