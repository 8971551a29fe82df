"""complete --out as a table: the team's own file, in which only the filled cells differ."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import python_calamine

from commands import completing
from fusion.inference.featurizer import ItemInput
from serving.cells import Cell
from serving.results import Candidate, Completion, Evidence
from tests.commands.conftest import Call, assert_fails
from tests.commands.made_scorer import MadeScorer
from tests.kg.ingest.made_workbooks import MadeSheet, write_xlsx

BRANDS = ("Tonwerk", "Nordwind", "Tonwerk", "", "Nordwind", "Tonwerk", "", "Nordwind")


@dataclass(frozen=True)
class Form:
    """A file of a shop, in which the brand of some items is missing."""

    name: str
    head: str
    row: str
    property: str
    end: str = "\n"

    def text(self, brands: Sequence[str]) -> bytes:
        """Return the file with these brands; a quote, a blank and an end of line are kept."""
        rows = [self.row.format(n=n, brand=brand) for n, brand in enumerate(brands)]
        return self.end.join([self.head, *rows, ""]).encode()


SHOPIFY = Form(
    "shopify.csv",
    "Handle,Title,Body (HTML),Vendor,Type,Option1 Name,Option1 Value,Variant SKU,Variant Price",
    'mug-{n},"Mug, {n}",<p>A  mug</p>,{brand},Mug,Title,Default Title,M-{n},12.00',
    "Vendor",
)
WOOCOMMERCE = Form(
    "woocommerce.csv",
    "\ufeffID,Type,SKU,Name,Published,Description,Regular price,Categories,Brands",
    '{n},simple,M-{n},"Mug ""{n}""",1,A mug ,"12,50",Kitchen > Mugs,{brand}',
    "Brands",
    "\r\n",
)
GOOGLE = Form(
    "google.txt",
    "id\ttitle\tdescription\tlink\timage_link\tprice\tavailability\tbrand\tcondition",
    'M-{n}\t"Mug" {n}\tA mug\thttps://a/{n}\thttps://a/{n}.jpg\t12.00 EUR\tin_stock\t{brand}\tnew',
    "brand",
)
FORMS = (SHOPIFY, WOOCOMMERCE, GOOGLE)
SHOPIFY_LINES = SHOPIFY.text(BRANDS).decode().splitlines()


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fill each cell with Tonwerk, but leave the first for review."""

    def complete(
        scorer: Any, items: Sequence[ItemInput], cells: Sequence[Cell], *_: Any, **__: Any
    ) -> Iterator[Completion]:
        for number, cell in enumerate(cells):
            yield Completion(
                items[cell.item].id,
                cell.property,
                (Candidate("Tonwerk", 0.9 + number / 100),),
                "fill" if number else "review",
                Evidence(),
            )

    monkeypatch.setattr(completing, "load_scorer", lambda home, *_: MadeScorer(home))
    monkeypatch.setattr("serving.home_completion.complete_cells", complete)


def load(call: Call, *forms: Form) -> None:
    for form in forms:
        Path(form.name).write_bytes(form.text(BRANDS))
        assert call("ingest", form.name).code == 0


@pytest.mark.parametrize("write", [(), ("--write",)], ids=["", "--write"])
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_only_the_filled_cells_of_a_shops_file_differ(
    call: Call, form: Form, write: tuple[str, ...]
) -> None:
    load(call, form)
    out = f"filled{Path(form.name).suffix}"
    found = call("complete", "--property", form.property, "--out", out, *write, "--json").json
    assert (found["fill"], found["review"]) == (1, 1)
    assert Path(out).read_bytes() == form.text([*BRANDS[:6], "Tonwerk", BRANDS[7]])
    assert found["table"]["layout"] == "source"
    assert found["table"]["filled"] == {form.property: 1}
    assert found["written"] == len(write)


def test_of_several_sources_one_is_named(call: Call) -> None:
    load(call, SHOPIFY, GOOGLE)
    refused = call("complete", "--out", "filled.csv")
    assert_fails(refused, 2, SHOPIFY.name, GOOGLE.name, "--source")
    asked = ("complete", "--property", "Vendor", "--source", SHOPIFY.name)
    assert call(*asked, "--out", "filled.csv").code == 0
    assert Path("filled.csv").read_bytes().count(b"Tonwerk") == 4
    assert_fails(call(*asked, "--out", "filled.json"), 2, "filled.json", ".csv")
    # Without --source it has a line for each cell, whatever it is called.
    assert call("complete", "--property", "Vendor", "--out", "filled.json").code == 0
    assert {"item", "property"} <= set(json.loads(Path("filled.json").read_text().splitlines()[0]))


@pytest.mark.parametrize("name", ["filled.tsv", "filled.parquet", "filled.xlsx", "filled.tsv.gz"])
def test_a_table_of_another_form_has_a_row_for_each_item(call: Call, name: str) -> None:
    load(call, SHOPIFY)
    result = call("complete", "--property", "Vendor", "--out", name, "--json")
    assert "shopify.csv is a .csv file" in result.err
    assert (result.json["table"]["layout"], result.json["table"]["filled"]) == (
        "wide",
        {"Vendor": 1},
    )
    if name.endswith(".parquet"):
        brands = {row["id"]: row["Vendor"] for row in pq.read_table(name).to_pylist()}
        assert (brands["mug-6"], brands["mug-3"]) == ("Tonwerk", None)
    else:
        assert call("--home", "again", "ingest", name, "--json").json["items"] == len(BRANDS)


def marked(form: Form, mark: str, none: str, names: str) -> bytes:
    """Return a form with the seventh brand, and with marks at the ends of its rows."""
    lines = form.text([*BRANDS[:6], "Tonwerk", BRANDS[7]]).decode().split(form.end)
    rows = [f"{row}{mark if n == 6 else none}" for n, row in enumerate(lines[1:-1])]
    return form.end.join([lines[0] + names, *rows, ""]).encode()


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_marks_are_columns_at_the_end_of_the_sources_own(call: Call, form: Form) -> None:
    load(call, form)
    out = f"filled{Path(form.name).suffix}"
    found = call("complete", "--property", form.property, "--out", out, "--mark", "--json").json
    assert found["table"]["layout"] == "source"
    name, between = form.property, "\t" if form is GOOGLE else ","
    names = f"{between}{name} (probability){between}{name} (decision)"
    assert Path(out).read_bytes() == marked(form, f"{between}0.91{between}fill", between * 2, names)
    # Whoever loads the marked file gets no properties of marks.
    again = call("--home", "again", "ingest", out, "--json").json
    assert again["items"] == len(BRANDS)
    shown = call("--home", "again", "show", again_item(form), "--json").json
    assert not [each for each in map(str, shown["statements"]) if "probability" in each]


def again_item(form: Form) -> str:
    return "mug-6" if form is SHOPIFY else "M-6"


def test_marks_in_a_workbook(call: Call) -> None:
    rows = [[cell or None for cell in row] for row in csv.reader(SHOPIFY_LINES)]
    write_xlsx("shop.xlsx", {"Items": MadeSheet(rows)})
    assert call("ingest", "shop.xlsx").code == 0
    asked = ("complete", "--property", "Vendor", "--mark", "--out", "filled.xlsx", "--json")
    assert call(*asked).json["table"]["filled"] == {"Vendor": 1}
    book = python_calamine.CalamineWorkbook.from_path("filled.xlsx")
    written = [list(row) for row in book.get_sheet_by_name("Items").iter_rows()]
    assert written[0] == [*rows[0], "Vendor (probability)", "Vendor (decision)"]
    assert [written[7][3], *written[7][-2:]] == ["Tonwerk", 0.91, "fill"]
    assert [written[4][3], *written[4][-2:]] == ["", "", ""]
    assert [row[:3] for row in written] == [row[:3] for row in rows]
    with zipfile.ZipFile("filled.xlsx") as archive:
        sheet = archive.read("xl/worksheets/sheet1.xml").decode()
    assert "dimension" not in sheet or ":K" in sheet


RECORDS = """\
{"id": "a", "brand": "Tonwerk"}
{"id":"b","brand":""}
{"id": "c"}
{"id": "d", "brand": "Nordwind"}
"""


def test_records_are_written_again_with_a_source(call: Call) -> None:
    Path("mugs.jsonl").write_text(RECORDS)
    assert call("ingest", "mugs.jsonl").code == 0
    asked = ("complete", "--property", "brand", "--source", "mugs.jsonl", "--out", "filled.jsonl")
    found = call(*asked, "--json").json
    filled = RECORDS.replace('"c"}', '"c", "brand": "Tonwerk"}')
    assert found["table"]["layout"] == "source"
    assert Path("filled.jsonl").read_text() == filled
    assert call(*asked, "--mark").code == 0
    marks = ', "brand (probability)": 0.91, "brand (decision)": "fill"}'
    assert Path("filled.jsonl").read_text() == filled.replace(
        '"c", "brand": "Tonwerk"}', f'"c", "brand": "Tonwerk"{marks}'
    )


def test_a_folder_gets_the_files_of_all_sources(call: Call) -> None:
    load(call, SHOPIFY, GOOGLE)
    Path("filled").mkdir()
    asked = ("complete", "--property", "Vendor", "--property", "brand", "--out", "filled")
    found = call(*asked, "--json").json
    shopify = {each["source"]: each for each in found["table"]["sources"]}["shopify.csv"]
    assert shopify["files"] == ["filled/shopify.csv"]
    written = [Path("filled", form.name).read_bytes() for form in (SHOPIFY, GOOGLE)]
    assert sum(each.count(b"Tonwerk") for each in written) == 3 + 3 + found["fill"]
    assert call(*asked, "--source", SHOPIFY.name).code == 0
    Path("mugs.xml").write_text("<a><m><id>1</id><brand>Tonwerk</brand></m><m><id>2</id></m></a>")
    assert call("ingest", "mugs.xml").code == 0
    assert_fails(call(*asked), 2, "mugs.xml", "--source")


def test_of_a_source_with_several_files_a_folder_is_named(call: Call) -> None:
    for number, brand in enumerate(("Tonwerk", "")):
        text = f"id,title,brand\n{number}x,Mug,Tonwerk\n{number}y,Mug,{brand}\n{number}z,Mug,\n"
        Path(f"mugs-{number}.csv").write_text(text)
    assert call("ingest", "mugs-0.csv", "mugs-1.csv", "--source", "mugs").code == 0
    asked = ("complete", "--property", "brand", "--out")
    assert_fails(call(*asked, "filled.csv"), 2, "2 files", "folder")
    Path("filled").mkdir()
    assert call(*asked, "filled", "--mark").code == 0
    assert Path("filled/mugs-0.csv").read_text() == Path("mugs-0.csv").read_text()
    assert Path("filled/mugs-1.csv").read_text() == (
        "id,title,brand,brand (probability),brand (decision)\n"
        "1x,Mug,Tonwerk,,\n1y,Mug,Tonwerk,0.91,fill\n1z,Mug,Tonwerk,0.92,fill\n"
    )


def test_without_a_header_marks_need_a_row_for_each_item(call: Call) -> None:
    Path("mapping.toml").write_text(
        'id = "id"\ntitle = "title"\ncolumns = ["id", "title", "brand"]\nheader = false\n'
    )
    Path("mugs.csv").write_text("".join(f"{n},Mug {n},{brand}\n" for n, brand in enumerate(BRANDS)))
    assert call("ingest", "mugs.csv", "--mapping", "mapping.toml").code == 0
    result = call("complete", "--property", "brand", "--out", "filled.csv", "--mark", "--json")
    assert (result.json["table"]["layout"], "no header" in result.err) == ("wide", True)


def test_a_source_that_was_not_kept_gives_a_row_for_each_item(call: Call) -> None:
    load(call, SHOPIFY)
    assert call("export", "--format", "nq", "all.nq").code == 0
    assert call("--home", "rdf", "ingest", "all.nq").code == 0
    result = call("--home", "rdf", "complete", "--property", "Vendor", "--out", "filled.csv")
    assert result.code == 0
    assert "filled.csv gets a row for each item" in result.err


def test_lines_are_as_they_were(call: Call) -> None:
    load(call, SHOPIFY)
    found = call("complete", "--property", "Vendor", "--out", "filled.jsonl", "--json").json
    assert found["table"] is None
    assert len(Path("filled.jsonl").read_text().splitlines()) == 2
    assert_fails(call("complete", "--out", "filled.jsonl", "--mark"), 2, "--mark", ".csv")
