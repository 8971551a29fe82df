"""From a shop's file through a completion and its review, and back into the file, byte for byte."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from commands import completing
from fusion.inference.featurizer import ItemInput
from serving.cells import Cell
from serving.results import Candidate, Completion, Evidence
from tests.commands.conftest import Call
from tests.commands.made_scorer import MadeScorer

PROPOSED = "Tonwerk"
EDITED = 'Müller "Sons"'
WRITTEN_EDITED = '"Müller ""Sons"""'


@dataclass(frozen=True)
class ShopFile:
    """A file as a shop exports it, with a place for a value of each of four items.

    Attributes:
        name: what it is called
        text: its text, with ``{accepted}``, ``{edited}``, ``{rejected}`` and ``{left}`` in the
            cells of items that lack a value
        property: what is missing
        items: their ids, in this order
    """

    name: str
    text: str
    property: str
    items: tuple[str, str, str, str]

    def written(
        self, accepted: str = "", edited: str = "", rejected: str = "", left: str = ""
    ) -> bytes:
        """Return the file with texts in these cells."""
        cells = {"accepted": accepted, "edited": edited, "rejected": rejected, "left": left}
        return self.text.format(**cells).encode()


def lines(*rows: str, end: str = "\n") -> str:
    return "".join(f"{row}{end}" for row in rows)


# Products with variants and further images: only the first row of each has its vendor.
SHOPIFY = ShopFile(
    "products_export_1.csv",
    lines(
        "Handle,Title,Body (HTML),Vendor,Type,Tags,Published,Option1 Name,Option1 Value,"
        "Variant SKU,Variant Grams,Variant Price,Image Src,Image Position,Status",
        'mug-a,"Mug ""A"", large","<p>A mug,\nin two lines</p>",{accepted},Mug,"clay, new",true,'
        "Color,Red,A-R,350.0,12.00,https://cdn.test/a.jpg,1,active",
        "mug-a,,,,,,,,Blue,A-B,350.0,12.00,https://cdn.test/a2.jpg,2,",
        "mug-a,,,,,,,,,,,,https://cdn.test/a3.jpg,3,",
        "mug-b,Mug B,<p>  A mug </p>,{edited},Mug,,true,Color,Red,B-R,310.0,9.50,,,active",
        "mug-b,,,,,,,,Green,B-G,310.0,9.50,,,",
        "mug-c,Mug C,,{rejected},Mug,,true,Title,Default Title,C,300.0,9.00,,,draft",
        "mug-d,Mug D,,{left},Mug,,true,Title,Default Title,D,300.0,9.00,,,active",
        "mug-e,Mug E,,Nordwind,Mug,,true,Title,Default Title,E,300.0,9.00,,,active",
        "mug-f,Mug F,,Tonwerk,Mug,,true,Title,Default Title,F,300.0,9.00,,,active",
        "mug-g,Mug G,,Nordwind,Mug,,true,Title,Default Title,G,300.0,9.00,,,active",
    ),
    "Vendor",
    ("mug-a", "mug-b", "mug-c", "mug-d"),
)

# A byte-order mark, Windows' ends of lines, and variations below their product.
WOOCOMMERCE = ShopFile(
    "wc-product-export.csv",
    "\ufeff"
    + lines(
        "ID,Type,SKU,Name,Published,Description,Regular price,Categories,Images,Parent,"
        "Brands,Attribute 1 name,Attribute 1 value(s)",
        '11,variable,M-A,"Mug ""A""",1,"A mug, large",,Kitchen > Mugs,https://a.test/1.jpg,,'
        '{accepted},Color,"Red, Blue"',
        '12,variation,M-A-R,"Mug ""A"" - Red",1,,"12,50",,,M-A,,Color,Red',
        '13,simple,M-B,Mug B,1, A mug ,"9,50",Kitchen > Mugs,,,{edited},,',
        "14,simple,M-C,Mug C,1,,9,Kitchen > Mugs,,,{rejected},,",
        "15,simple,M-D,Mug D,1,,9,Kitchen > Mugs,,,{left},,",
        "16,simple,M-E,Mug E,1,,9,Kitchen > Mugs,,,Nordwind,,",
        "17,simple,M-F,Mug F,1,,9,Kitchen > Mugs,,,Tonwerk,,",
        "18,simple,M-G,Mug G,1,,9,Kitchen > Mugs,,,Nordwind,,",
        end="\r\n",
    ),
    "Brands",
    ("M-A", "M-B", "M-C", "M-D"),
)

# Tabs, with a quoted title and one with a quote in it.
GOOGLE = ShopFile(
    "merchant.txt",
    lines(
        "id\ttitle\tdescription\tlink\timage_link\tavailability\tprice\tbrand\tgtin\tcondition"
        "\titem_group_id",
        '1\t"Mug ""A"""\tA mug\thttps://s.test/1\thttps://s.test/1.jpg\tin_stock\t12.00 EUR\t'
        "{accepted}\t4006381333931\tnew\tA",
        "2\tMug B\t A mug \thttps://s.test/2\thttps://s.test/2.jpg\tin_stock\t9.50 EUR\t{edited}\t"
        "\tnew\tB",
        "3\tMug C\tA mug\thttps://s.test/3\thttps://s.test/3.jpg\tin_stock\t9.00 EUR\t{rejected}\t"
        "\tnew\tC",
        "4\tMug D\tA mug\thttps://s.test/4\thttps://s.test/4.jpg\tin_stock\t9.00 EUR\t{left}\t"
        "\tnew\tD",
        "5\tMug E\tA mug\thttps://s.test/5\thttps://s.test/5.jpg\tin_stock\t9.00 EUR\tNordwind\t"
        "\tnew\tE",
        "6\tMug F\tA mug\thttps://s.test/6\thttps://s.test/6.jpg\tout_of_stock\t9.00 EUR\tTonwerk\t"
        "\tused\tF",
    ),
    "brand",
    ("1", "2", "3", "4"),
)
FILES = (SHOPIFY, WOOCOMMERCE, GOOGLE)


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fill each cell with the same value."""

    def complete(
        scorer: Any, items: Sequence[ItemInput], cells: Sequence[Cell], *_: Any, **__: Any
    ) -> Iterator[Completion]:
        for cell in cells:
            candidates = (Candidate(PROPOSED, 0.98), Candidate("Nordwind", 0.01))
            yield Completion(items[cell.item].id, cell.property, candidates, "fill", Evidence())

    monkeypatch.setattr(completing, "load_scorer", lambda home, *_: MadeScorer(home))
    monkeypatch.setattr("serving.home_completion.complete_cells", complete)


@pytest.mark.parametrize("shop", FILES, ids=lambda shop: shop.name)
def test_only_what_was_reviewed_comes_back_into_the_file(call: Call, shop: ShopFile) -> None:
    Path(shop.name).write_bytes(shop.written())
    assert call("ingest", shop.name).code == 0
    accepted, edited, rejected, left = shop.items
    asked = [word for item in shop.items for word in ("--item", item)]
    found = call("complete", "--property", shop.property, *asked, "--write", "--json").json
    assert (found["proposed"], found["written"]) == (4, 4)

    def export(*words: str) -> bytes:
        assert call("export", "--format", "source", *words, "out").code == 0
        return Path("out").read_bytes()

    # Nobody has said anything yet, so that nothing is the team's own.
    assert export() == shop.written()
    assert export("--predicted") == shop.written(*[PROPOSED] * 4)

    assert call("review", "accept", accepted, shop.property).code == 0
    assert call("review", "edit", edited, shop.property, "--value", EDITED).code == 0
    assert call("review", "reject", rejected, shop.property).code == 0
    reviewed = shop.written(PROPOSED, WRITTEN_EDITED)
    assert export() == reviewed
    assert export("--predicted") == shop.written(PROPOSED, WRITTEN_EDITED, left=PROPOSED)

    # The file comes back as the team's own, and says the same again.
    Path(shop.name).write_bytes(reviewed)
    assert call("ingest", shop.name).code == 0
    assert export() == reviewed
    (open_one,) = call("review", "list", "--json").json["proposals"]
    assert open_one["item"] == left
    named = ("--property", shop.property, "--item", rejected)
    again = call("complete", *named, "--write", "--json").json
    assert (again["proposed"], again["not_written"]) == (0, {"rejected": 1})
