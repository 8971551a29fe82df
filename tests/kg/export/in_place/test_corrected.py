"""Values that people rejected in a source: the right ones take their place, and no other byte."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import python_calamine

from kg.export.source_options import SourceExport
from schema.terms import Rank
from tests.kg.export.in_place.conftest import Workplace
from tests.kg.ingest.made_workbooks import MadeSheet, write_xlsx


def correct(place: Workplace, item: str, property: str, wrong: str, *right: str) -> None:
    """Reject a value that a source states, and accept others."""
    place.accept([(item, property, wrong)], Rank.REJECTED)
    place.accept([(item, property, value) for value in right])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            b'id;title;colour;trim\r\n1;"Mug ";"red";red\r\n2;M\xfcller;red;\r\n',
            b'id;title;colour;trim\r\n1;"Mug ";"navy blue";red\r\n2;M\xfcller;red;\r\n',
        ),
        (
            b"id,title,colour,material\n1,Mug,red,\n2,Cup,blue,clay\n",
            b"id,title,colour,material\n1,Mug,navy blue,\n2,Cup,blue,clay\n",
        ),
    ],
)
def test_only_the_cell_of_the_wrong_value_differs(
    place: Workplace, text: bytes, expected: bytes
) -> None:
    place.load(text)
    correct(place, "1", "colour", "red", "navy blue")
    written = place.write()
    assert written.data == expected
    assert written.filled == {"colour": 1}
    # Taken in again, the source says what was decided.
    place.load(expected)
    assert place.write().data == expected


def test_other_values_of_the_cell_stay(place: Workplace) -> None:
    text = "id,title,uses\n1,Mug,tea|soup|milk\n2,Cup,tea|soup\n3,Jug,milk\n"
    place.load(text, mapping="id = 'id'\nmulti = '|'\n")
    correct(place, "1", "uses", "soup", "coffee")
    assert place.write().text == text.replace("tea|soup|milk", "tea|milk|coffee")


def test_an_empty_cell_of_one_source_is_filled_though_another_one_is_wrong(
    place: Workplace,
) -> None:
    place.load("id,title,colour\n1,Mug,red\n2,Cup,blue\n")
    place.load("id,name,colour\n1,Mug,\n2,Cup,blue\n", "more.csv")
    correct(place, "1", "colour", "red", "green")
    assert "1,Mug,green\n" in place.write(SourceExport("more.csv")).text
    assert "1,Mug,green\n" in place.write(SourceExport("items.csv")).text


def test_rows_that_repeat_a_wrong_value_are_left_alone_and_counted(place: Workplace) -> None:
    text = "id,title,image,colour\n1,Mug,a.jpg,red\n1,Mug,b.jpg,red\n2,Cup,c.jpg,red\n"
    place.load(text)
    correct(place, "1", "colour", "red", "green")
    written = place.write()
    assert written.text == text
    assert written.kept == {"colour": "READ_OTHERWISE"}


def test_what_is_rejected_without_a_right_value_stays(place: Workplace) -> None:
    text = "id,title,colour\n1,Mug,red\n2,Cup,blue\n"
    place.load(text)
    correct(place, "1", "colour", "red")
    assert place.write().text == text


def test_the_value_of_a_named_attribute_is_corrected(place: Workplace) -> None:
    names = "Attribute 1 name,Attribute 1 value(s),Attribute 2 name,Attribute 2 value(s)"
    text = (
        f"ID,Type,SKU,Name,Published,{names}\n"
        '1,simple,m1,Mug,1,Colour,red,Uses,"tea, soup"\n'
        "2,simple,m2,Cup,1,Uses,milk,Colour,red\n"
        "3,simple,m3,Jug,1,Colour,blue,,\n"
    )
    place.load(text, "woocommerce.csv")
    items = {row["title"]: row["id"] for batch in place.graph.items() for row in batch.to_pylist()}
    correct(place, items["Mug"], "Colour", "red", "green")
    correct(place, items["Mug"], "Uses", "soup", "coffee")
    written = place.write()
    expected = text.replace("Colour,red,Uses", "Colour,green,Uses").replace(
        "tea, soup", "tea, coffee"
    )
    assert written.text == expected


def test_a_row_of_a_long_table_is_corrected(place: Workplace) -> None:
    text = "item,attribute,value\n1,title,Mug\n1,colour,red\n1,size,9\n2,title,Cup\n2,colour,red\n"
    place.load(text)
    correct(place, "1", "colour", "red", "green")
    assert place.write().text == text.replace("1,colour,red", "1,colour,green")


@pytest.mark.parametrize("name", ["items.jsonl", "items.json"])
def test_members_of_records_are_corrected(place: Workplace, name: str) -> None:
    records = [
        '{"id": "1", "title": "Mug",  "colour": "red", "uses": ["tea", "soup"], "pages": 12}',
        '{"id": "2", "title": "Cup", "colour": "red", "uses": ["milk"], "pages": 12}',
    ]
    text = "\n".join(records) + "\n" if name.endswith("l") else f"[{', '.join(records)}]\n"
    place.load(text, name)
    correct(place, "1", "colour", "red", "navy blue")
    correct(place, "1", "uses", "soup", "coffee")
    correct(place, "2", "pages", "12", "120")
    written = place.write()
    expected = text.replace(
        '"red", "uses": ["tea", "soup"]', '"navy blue", "uses": ["tea", "coffee"]'
    )
    first, second = expected.rsplit('"pages": 12', 1)
    assert written.text == f'{first}"pages": 120{second}'
    assert written.filled == {"colour": 1, "uses": 1, "pages": 1}


def test_a_cell_of_a_workbook_is_corrected(place: Workplace, tmp_path: Path) -> None:
    rows: list[list[Any]] = [
        ["id", "title", "colour", "pages"],
        ["1", "Mug", "red", 12],
        ["2", "Cup", "red", 7],
    ]
    write_xlsx(tmp_path / "made.xlsx", {"Items": MadeSheet(rows)})
    place.load((tmp_path / "made.xlsx").read_bytes(), "items.xlsx")
    correct(place, "1", "colour", "red", "green")
    correct(place, "2", "pages", "7", "70")
    book = python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(place.write().data))
    written = [list(row) for row in book.get_sheet_by_name("Items").iter_rows()]
    assert written[1:] == [["1", "Mug", "green", 12], ["2", "Cup", "red", 70]]


def test_a_list_of_names_and_values_is_left_alone_and_counted(place: Workplace) -> None:
    text = '{"id": "1", "title": "Mug", "attributes": [{"name": "colour", "value": "red"}]}\n'
    place.load(text, "items.jsonl")
    correct(place, "1", "colour", "red", "green")
    written = place.write()
    assert written.text == text
    assert written.kept == {"colour": "OTHER_VALUE"}
