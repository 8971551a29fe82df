"""complete --out as a table: the team's own file, in which only the filled cells differ."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from commands import completing
from fusion.inference.featurizer import ItemInput
from kg.home import Home
from serving.cells import Cell
from serving.results import Candidate, Completion, Evidence
from tests.commands.conftest import Call, assert_fails
from tests.serving.fakes import FakeScorer

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


class MadeScorer(FakeScorer):
    """A model that has learned the ontology of a home, and reads nothing."""

    completes = True
    reads_details = reads_pixels = reads_regions = False

    def __init__(self, home: Home) -> None:
        super().__init__(ontology=home.ontology())
        self.path = home.models / "made"


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

    monkeypatch.setattr(completing, "load_scorer", lambda home, model: MadeScorer(home))
    monkeypatch.setattr(completing, "complete_cells", complete)


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


def test_marks_are_columns_of_their_own(call: Call) -> None:
    load(call, SHOPIFY)
    assert call("complete", "--property", "Vendor", "--out", "m.csv", "--mark").code == 0
    with Path("m.csv").open(newline="") as stream:
        rows = {row["id"]: row for row in csv.DictReader(stream)}

    def marks(id: str) -> list[str]:
        return [rows[id][f"Vendor{of}"] for of in ("", " (probability)", " (decision)")]

    assert marks("mug-3") == ["", "0.9", "review"]
    assert marks("mug-6") == ["Tonwerk", "0.91", "fill"]
    assert marks("mug-0") == ["Tonwerk", "", ""]


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
