"""Tables of items: wide CSV, workbooks, and the feeds of Google and Shopify."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import python_calamine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kg.export.google_merchant import NAMESPACE
from kg.export.separators import Separators
from kg.export.sheet_xml import is_sheet_number
from kg.export.write import ExportReport, export
from kg.home import Home
from kg.ingest.pipeline import ingest
from kg.stores.memory import MemoryStore
from kg.stores.tables import items_table, statements_table
from schema.mapping import parse_mapping
from schema.terms import Item, Rank, Statement

FORMULA = "=cmd|'/C calc'!A0"


def store_of(items: list[Item], facts: list[Statement]) -> MemoryStore:
    store = MemoryStore()
    store.put(items_table(items), statements_table(facts))
    return store


def mugs() -> MemoryStore:
    items = [
        Item("007", "Mug", "Home > Mugs", ("https://a.example/1.jpg", "https://a.example/2.jpg")),
        Item("8", "Cup"),
        Item("9"),
    ]
    facts = [
        Statement("007", "width", "8.5"),
        Statement("8", "width", "10"),
        Statement("007", "colour", "red"),
        Statement("007", "colour", "blue|white"),
        Statement("007", "ean", "4012345000016"),
        Statement("007", "size", "0400"),
        Statement("8", "title", "Tasse", language="de"),
        Statement("8", "id", "other"),
        Statement("8", "note", FORMULA),
        Statement("8", "secret", "guess", Rank.PREDICTED),
    ]
    return store_of(items, facts)


def rows_of(path: Path, delimiter: str = ",") -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        if delimiter == "\t":
            return list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
        return list(csv.DictReader(stream))


def test_a_wide_table_has_a_row_an_item_and_a_column_a_property(tmp_path: Path) -> None:
    report = export(mugs(), "csv-wide", tmp_path / "out.csv")
    rows = {row["id"]: row for row in rows_of(tmp_path / "out.csv")}
    assert list(rows["8"]) == [
        *("id", "title", "description", "category", "images"),
        *("colour", "ean", "id (property)", "note", "size", "title@de", "width"),
    ]
    assert rows["007"]["colour"] == '"blue|white"|red'
    assert rows["007"]["images"] == "https://a.example/1.jpg|https://a.example/2.jpg"
    assert rows["8"]["title@de"] == "Tasse"
    assert rows["8"]["id (property)"] == "other"
    assert rows["8"]["note"] == "'" + FORMULA
    assert rows["9"]["width"] == ""
    assert (report.items, report.statements, report.defused) == (3, 9, 1)


def test_values_are_joined_as_mappings_split_them(tmp_path: Path) -> None:
    mapping = parse_mapping('id = "sku"\nmulti = ";"\n[column."colour"]\nmulti = "/"\n', "m")
    separators = Separators([mapping])
    assert separators.joined("colour", ["a", "b"]) == "a/b"
    assert separators.joined("size", ["a", "b;c"]) == 'a;"b;c"'
    export(mugs(), "csv-wide", tmp_path / "out.csv", separators=separators)
    assert rows_of(tmp_path / "out.csv")[0]["colour"] == "blue|white/red"


@pytest.mark.parametrize(
    ("format", "name"),
    [
        ("csv-wide", "out.csv"),
        ("xlsx", "out.xlsx"),
        ("google-merchant", "out.tsv"),
        ("shopify", "out.csv"),
    ],
)
def test_formulas_are_defused_in_every_table_unless_they_are_to_be_raw(
    tmp_path: Path, format: str, name: str
) -> None:
    store = store_of([Item("a", FORMULA)], [Statement("a", "brand", "+SUM(1)")])
    safe = export(store, format, tmp_path / name)
    assert safe.defused == 2
    raw = export(store, format, tmp_path / f"raw-{name}", keep_formulas=True)
    assert raw.defused == 0

    def text(path: Path) -> str:
        if path.suffix != ".xlsx":
            return path.read_text()
        with zipfile.ZipFile(path) as archive:
            return archive.read("xl/worksheets/sheet1.xml").decode()

    assert "'=cmd" in text(tmp_path / name)
    assert "'+SUM" in text(tmp_path / name)
    assert "'=cmd" not in text(tmp_path / f"raw-{name}")


def cells(path: Path, sheet: int = 0) -> list[list[Any]]:
    book = python_calamine.CalamineWorkbook.from_path(str(path))
    return [list(row) for row in book.get_sheet_by_index(sheet).iter_rows()]


def test_a_workbook_has_numbers_and_texts(tmp_path: Path) -> None:
    export(mugs(), "xlsx", tmp_path / "out.xlsx")
    header, *rows = cells(tmp_path / "out.xlsx")
    by_id = {row[0]: dict(zip(header, row, strict=True)) for row in rows}
    # An id keeps its zeros, and an identifier is no number however it looks.
    assert set(by_id) == {"007", "8", "9"}
    assert by_id["007"]["ean"] == "4012345000016"
    assert by_id["007"]["size"] == "0400"
    assert by_id["007"]["width"] == 8.5
    assert by_id["8"]["width"] == 10


def test_a_workbook_is_read_as_what_it_was_made_of(tmp_path: Path) -> None:
    odd = 'a_b <&> "q" \u00e9 \U0001f600'
    store = store_of([Item("01", odd), Item("02", "x")], [Statement("01", "colour", "red")])
    export(store, "xlsx", tmp_path / "out.xlsx")
    home = Home.open(tmp_path / "home", create=True)
    ingest(home, [tmp_path / "out.xlsx"])
    with home.store(read_only=True) as graph:
        found = graph.item("01")
    assert found is not None
    assert found[0].title == odd
    assert [(each.property, each.value) for each in found[1]] == [("colour", "red")]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.lists(
            st.sampled_from(["_x000D_", "_x005F_", "_x0041", "_", "x", "\r", "\n", "\t"])
            | st.characters(exclude_categories=["Cs"], exclude_characters="\ufffe\uffff"),
            min_size=1,
            max_size=6,
        ).map(lambda parts: "é" + "".join(parts)),
        min_size=1,
        max_size=8,
    )
)
def test_any_text_comes_back_from_a_workbook(tmp_path: Path, texts: list[str]) -> None:
    facts = [Statement(f"{at:03}", "note", text) for at, text in enumerate(texts)]
    items = [Item(fact.item, "Mug") for fact in facts]
    path = tmp_path / "items.xlsx"
    export(store_of(items, facts), "xlsx", path, keep_formulas=True)
    book = python_calamine.CalamineWorkbook.from_path(str(path))
    rows = book.get_sheet_by_index(0).to_python()
    assert [row[-1] for row in rows[1:]] == texts


def test_more_items_than_rows_go_on_in_another_sheet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kg.export.xlsx.MAX_ROWS", 3)
    export(store_of([Item(f"{n}") for n in range(5)], []), "xlsx", tmp_path / "out.xlsx")
    found = [[row[0] for row in cells(tmp_path / "out.xlsx", sheet)] for sheet in range(3)]
    assert found == [["id", "0", "1"], ["id", "2", "3"], ["id", "4"]]


def test_a_text_too_long_for_a_cell_is_cut_off_and_counted(tmp_path: Path) -> None:
    report = export(store_of([Item("1", "x" * 40_000)], []), "xlsx", tmp_path / "out.xlsx")
    assert "1 texts have more than 32,767" in report.notes[0]
    assert len(cells(tmp_path / "out.xlsx")[1][1]) == 32_767


def test_only_what_stays_the_same_is_a_number() -> None:
    for text in ("0", "-1", "12.5", "123456789012345"):
        assert is_sheet_number(text)
    for text in ("007", "1.50", "1e5", "1234567890123456", "-0", "1,5", "+1", ""):
        assert not is_sheet_number(text)


def feed() -> MemoryStore:
    complete = {
        "link": "https://a.example/p/1",
        "Stock status": "In stock",
        "price": "12.50",
        "currency": "€",
        "Marke": "Acme",
        "EAN": "4012345000016",
        "condition": "new",
        "colour": "red",
    }
    facts = [Statement("1", name, value) for name, value in complete.items()]
    facts += [
        Statement("1", "colour", "white"),
        Statement("1", "Glaze", "matt"),
        Statement("1", "a:b", "c"),
        Statement("2", "variant of", "1"),
        Statement("2", "title", "Tasse", language="de"),
    ]
    images = ("https://a.example/1.jpg", "https://a.example/2.jpg")
    items = [Item("1", "Mug <b>", "Home > Mugs", images, "A mug\nwith tab\t"), Item("2", "Cup")]
    return store_of(items, facts)


def test_a_google_feed_has_its_attributes_and_details(tmp_path: Path) -> None:
    report = export(feed(), "google-merchant", tmp_path / "out.tsv")
    first, second = rows_of(tmp_path / "out.tsv", "\t")
    assert first["availability"] == "in_stock"
    assert first["price"] == "12.50 EUR"
    assert (first["brand"], first["color"]) == ("Acme", "red/white")
    assert first["gtin"] == "4012345000016"
    assert first["description"] == "A mug with tab "
    assert first["additional_image_link"] == "https://a.example/2.jpg"
    assert first["product_detail"] == ":Glaze:matt,:currency:€"
    assert second["item_group_id"] == "1"
    assert report.items == 2
    assert report.lacking == {
        **dict.fromkeys(("description", "link", "image_link", "availability", "price"), 1),
        **dict.fromkeys(("brand", "condition", "gtin or mpn"), 1),
    }
    assert any("1 items lack what the Merchant Center requires" in note for note in report.notes)
    assert any("other languages" in note for note in report.notes)


def test_a_google_feed_in_xml_is_rss(tmp_path: Path) -> None:
    export(feed(), "google-merchant", tmp_path / "out.xml")
    root = ElementTree.parse(tmp_path / "out.xml").getroot()
    assert (root.tag, root.attrib) == ("rss", {"version": "2.0"})
    first = root.findall("channel/item")[0]
    g = f"{{{NAMESPACE}}}"
    assert first.findtext(f"{g}title") == "Mug <b>"
    details = {
        each.findtext(f"{g}attribute_name"): each.findtext(f"{g}attribute_value")
        for each in first.findall(f"{g}product_detail")
    }
    assert details == {"Glaze": "matt", "currency": "€", "a:b": "c"}


@pytest.mark.parametrize("name", ["feed.tsv", "feed.xml"])
def test_a_google_feed_comes_back(tmp_path: Path, name: str) -> None:
    export(feed(), "google-merchant", tmp_path / name)
    home = Home.open(tmp_path / "home", create=True)
    report = ingest(home, [tmp_path / name])
    assert (report.mapping, report.rejected) == ("google-merchant", 0)
    with home.store(read_only=True) as graph:
        found = graph.item("1")
    assert found is not None
    item, facts = found
    assert (item.title, item.category, len(item.images)) == ("Mug <b>", "Home > Mugs", 2)
    values = {(each.property, each.value) for each in facts}
    assert {("color", "red"), ("color", "white"), ("brand", "Acme"), ("Glaze", "matt")} <= values


SHOPIFY = """Handle,Title,Body (HTML),Vendor,Product Category,Type,Tags,Published,Option1 Name,\
Option1 Value,Option2 Name,Option2 Value,Variant SKU,Variant Grams,Variant Price,Variant Barcode,\
Variant Inventory Qty,Image Src,Image Position,Status,Fabric (product.metafields.custom.fabric)
shirt,Linen Shirt,<p>Cool &amp; light.</p>,Nordwind,Apparel > Shirts,Shirt,"summer, men",TRUE,Size,\
S,Color,Sand,LS-1,210,49.90,04012345000016,4,https://img.example/1.jpg,1,active,linen; cotton
shirt,,,,,,,,,M,,Navy,LS-2,220,52.90,04012345000023,,https://img.example/2.jpg,2,,
shirt,,,,,,,,,,,,,,,,,https://img.example/3.jpg,3,,
hat,Wool Hat,,Nordwind,Apparel > Hats,Hat,,FALSE,Size,L,Color,Grey,,90,25.00,,,,,draft,
hat,,,,,,,,,M,,Red,,95,25.00,,,,,,
mug,Clay Mug,<p>30 cl</p>,Tonwerk,Home > Mugs,Mug,kitchen,TRUE,Title,Default Title,,,CM-1,340,\
12.00,,7,https://img.example/m.jpg,1,active,stoneware
"""


def graph_of(folder: Path, path: Path) -> tuple[list[Any], set[tuple[Any, ...]]]:
    home = Home.open(folder, create=True)
    report = ingest(home, [path])
    assert (report.mapping, report.rejected) == ("shopify", 0)
    with home.store(read_only=True) as store:
        names = ["id", "title", "description", "category", "images"]
        items = [row for batch in store.items() for row in batch.select(names).to_pylist()]
        facts = {
            (row["item"], row["property"], row["value"], row["evidence"])
            for batch in store.scan()
            for row in batch.to_pylist()
        }
    return items, facts


def test_what_an_ingest_reads_of_a_shopify_file_comes_back(tmp_path: Path) -> None:
    (tmp_path / "products.csv").write_text(SHOPIFY)
    before = graph_of(tmp_path / "one", tmp_path / "products.csv")
    with Home.open(tmp_path / "one").store(read_only=True) as store:
        report = export(store, "shopify", tmp_path / "out.csv")
    assert report.notes == []
    assert graph_of(tmp_path / "two", tmp_path / "out.csv") == before
    rows = rows_of(tmp_path / "out.csv")
    shirt = [row for row in rows if row["Handle"] == "shirt"]
    assert [row["Title"] for row in shirt] == ["Linen Shirt", "", ""]
    assert [row["Image Position"] for row in shirt] == ["1", "2", "3"]
    assert {row["Variant SKU"] for row in shirt} == {"LS-1", "LS-2", ""}


def test_a_variant_whose_product_is_not_there_is_a_product_of_its_own_title(
    tmp_path: Path,
) -> None:
    facts = [Statement("v", "variant of", "gone"), Statement("v", "Size", "S")]
    report = export(store_of([Item("v", "Mug")], facts), "shopify", tmp_path / "out.csv")
    (row,) = rows_of(tmp_path / "out.csv")
    assert (row["Handle"], row["Title"], row["Variant SKU"]) == ("gone", "Mug", "v")
    assert "1 variants are of a product that the store does not have" in report.notes


@pytest.mark.parametrize("format", ["csv-wide", "xlsx", "google-merchant", "shopify"])
def test_predictions_are_not_among_facts_unless_they_are_asked_for(
    tmp_path: Path, format: str
) -> None:
    store = mugs()
    trusted: ExportReport = export(store, format, tmp_path / "out")
    every = export(store, format, tmp_path / "out", ranks=list(Rank))
    assert every.statements == trusted.statements + 1


def test_the_small_parts_of_a_workbook_are_xml(tmp_path: Path) -> None:
    export(mugs(), "xlsx", tmp_path / "out.xlsx")
    with zipfile.ZipFile(tmp_path / "out.xlsx") as archive:
        for name in archive.namelist():
            ElementTree.parse(io.BytesIO(archive.read(name)))
        assert archive.namelist()[0] == "xl/worksheets/sheet1.xml"
