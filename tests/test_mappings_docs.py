"""What docs/mappings.md says of mappings holds: its keys, its examples, and what they do."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from kg.ingest.assemble import Origin
from kg.ingest.source_plan import plan_sources
from schema.mapping import KEYS, parse_mapping, shipped_mappings
from tests.kg.ingest.mapped import Made

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "mappings.md").read_text(encoding="utf-8")
Read = Callable[..., Made]
CODE = re.compile(r"`([^`]+)`")


def section(heading: str) -> str:
    """Return what stands under a heading."""
    (found,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE)
    return str(found)


def pieces(heading: str) -> list[str]:
    """Return the mappings under a heading; a block shows several, if a table comes again."""
    found = []
    for block in re.findall(r"```toml\n(.*?)```", section(heading), re.DOTALL):
        found += re.split(r"(?=^\[variants\]$)", block, flags=re.MULTILINE)
    return [complete(piece) for piece in found if piece.strip()]


def complete(piece: str) -> str:
    """Return a piece of a mapping as a whole one."""
    has_id = re.search(r"^id = |^\[triples\]", piece.partition("[variants]")[0], re.MULTILINE)
    return piece if has_id else f'id = "id"\n{piece}'


HEADINGS = [
    heading
    for heading in re.findall(r"^## (.*)$", TEXT, re.MULTILINE)
    if "```toml" in section(heading)
]
PIECES = [(heading, piece) for heading in HEADINGS for piece in pieces(heading)]
INTRODUCTION = re.findall(r"```toml\n(.*?)```", TEXT.partition("\n## ")[0], re.DOTALL)


@pytest.mark.parametrize("piece", [*INTRODUCTION, *(piece for _, piece in PIECES)])
def test_each_example_is_a_mapping(piece: str) -> None:
    parse_mapping(piece, "mine")


def test_every_key_is_documented_and_every_documented_key_exists() -> None:
    prose = re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL)
    in_code = {code.strip("[]") for code in CODE.findall(prose)}
    in_blocks = set(re.findall(r"^\[*(\w+)", "\n".join(piece for _, piece in PIECES), re.MULTILINE))
    # `version` is for later versions.
    assert KEYS - in_code - in_blocks - {"version"} == set()
    for heading in ("Columns and their roles", "Reading the file"):
        keys = re.findall(r"^\| `(\w+)` \|", section(heading), re.MULTILINE)
        assert len(keys) > 5
        assert set(keys) <= KEYS
    listed = re.findall(r"^- `(\w+)`", section("Values"), re.MULTILINE)
    assert set(listed) <= KEYS
    assert len(listed) == 4


def test_the_shipped_mappings_are_those_that_there_are() -> None:
    first_cells = re.findall(r"^\| (`.*?) \|", section("Shipped mappings"), re.MULTILINE)
    assert sorted(name for cell in first_cells for name in CODE.findall(cell)) == sorted(
        shipped_mappings()
    )


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Read a source by a mapping."""

    def run(mapping: str, text: str, name: str = "items.csv") -> Made:
        (tmp_path / "mine.toml").write_text(mapping, encoding="utf-8")
        (tmp_path / name).write_text(text, encoding="utf-8")
        made = Made()
        with ExitStack() as stack:
            planned = plan_sources([tmp_path / name], str(tmp_path / "mine.toml"), None, stack)
            for batch in planned.plans[0].assembled_batches(Origin(name, name, "run", "time")):
                made.add(batch)
        return made

    return run


def test_the_first_example(read: Read) -> None:
    made = read(
        INTRODUCTION[0],
        "sku,name,text,department,photo,photo_1,internal_cost,colour\n"
        '1,Mug,It is red.,Home/Mugs,http://x/1.jpg,http://x/2.jpg,7,"red,blue"\n'
        "2,Cup,-,Home,,,8,n/a\n",
    )
    assert made.items["1"]["title"] == "Mug"
    assert made.items["1"]["description"] == "It is red."
    assert made.items["1"]["category"] == "Home > Mugs"
    assert made.items["1"]["images"] == ["http://x/1.jpg", "http://x/2.jpg"]
    assert made.values("1") == {"colour": ["blue", "red"]}
    assert made.values("2") == {}


def test_the_settings_of_a_column(read: Read) -> None:
    (piece,) = pieces("Values")
    made = read(piece, "id,Gewicht,Einheit\n1,5,lb\n2,7,\n3,0,\n4,<b>9</b> kg,\n5,0,lb\n")
    assert [made.values(id) for id in "12345"] == [
        {"weight": "5 lb"},
        {"weight": "7 kg"},
        {},
        {"weight": "9 kg"},
        {},
    ]


def test_packed_cells(read: Read) -> None:
    (packed,) = (piece for piece in pieces("Cells that hold properties") if "[[packed]]" in piece)
    (cell,) = re.findall(r'in "(.*)"', packed)
    made = read(packed, f'id,additional_attributes\n1,"{cell}"\n')
    assert made.values("1") == {"climate": ["Cold", "Cool"], "pattern": "Solid, quiet"}


@pytest.mark.parametrize(
    ("more", "number", "expected"),
    [
        ("parts = 3", 0, {"Display Resolution": "1920x1080"}),
        ("position = true", 1, {"Fabric": "Linen"}),
    ],
)
def test_packed_cells_with_more_parts(
    read: Read, more: str, number: int, expected: dict[str, str]
) -> None:
    cell = re.findall(r"`(\w+:\w+:\w+)`", section("Cells that hold properties"))[number]
    piece = f'id = "id"\n[[packed]]\ncolumn = "p"\npair = ":"\nitem = ";"\n{more}\n'
    assert read(piece, f"id,p\n1,{cell}\n").values("1") == expected


def test_packed_cells_of_json(read: Read) -> None:
    piece = 'id = "id"\n[[packed]]\ncolumn = "p"\nformat = "json"\n'
    assert read(piece, 'id,p\n1,"{""size"": ""5 cm""}"\n').values("1") == {"size": "5 cm"}


def test_pairs_of_columns(read: Read) -> None:
    _, pairs = pieces("Cells that hold properties")
    (quoted,) = re.findall(r"quoted = true +# (.*)", pairs)
    cell = quoted.replace('"', '""')
    made = read(
        pairs,
        "id,Attribute 1 name,Attribute 1 value(s),Attribute 1 unit,Attribute 2 name,"
        "Attribute 2 value(s),Attribute 2 unit\n"
        f'1,colour,"{cell}",,height,12,cm\n',
    )
    assert made.values("1") == {"colour": ["Black, matt", "Blue", "Green"], "height": "12 cm"}


def test_pairs_in_records(read: Read) -> None:
    _, pairs = pieces("Cells that hold properties")
    made = read(
        pairs,
        '[{"id": "1", "PRODUCT_FEATURES": {"FEATURE": [{"FNAME": "height", "FVALUE": "12", '
        '"FUNIT": "cm"}]}}]',
        "items.json",
    )
    assert made.values("1") == {"height": "12 cm"}


def test_a_long_table(read: Read) -> None:
    (triples,) = pieces("Long tables")
    made = read(
        f'title = ["name"]\n{triples}',
        "sku,attribute,value,unit\n1,height,12,cm\n2,name,Cup,\n1,name,Mug,\n",
    )
    assert made.values("1") == {"height": "12 cm"}
    assert (made.items["1"]["title"], made.items["2"]["title"]) == ("Mug", "Cup")


def variants(word: str) -> str:
    """Return the example of variants that has a word."""
    (found,) = (piece for piece in pieces("Variants") if word in piece)
    return found


def test_a_column_with_the_parent(read: Read) -> None:
    piece = next(piece for piece in pieces("Variants") if 'parent = "parent_sku"' in piece)
    made = read(piece, "id,parent_sku,colour\nshirt,,\nshirt-s,shirt,red\n")
    assert made.values("shirt-s") == {"colour": "red", "variant of": "shirt"}


def test_a_parent_by_its_number(read: Read) -> None:
    piece = variants("references").replace('id = "id"', 'id = "SKU"', 1)
    made = read(piece, "SKU,ID,Parent\nshirt,44,\nshirt-s,45,id:44\nshirt-m,46,shirt\n")
    assert made.values("shirt-s")["variant of"] == "shirt"
    assert made.values("shirt-m")["variant of"] == "shirt"


def test_rows_of_a_group(read: Read) -> None:
    piece = variants("group =").replace('id = "id"', 'id = "Handle"\ntitle = "Title"', 1)
    made = read(
        piece,
        "Handle,Title,Fabric,Option1 Name,Option1 Value,Option2 Name,Option2 Value,Variant SKU\n"
        "linen-shirt,Shirt,linen,Size,S,Colour,Sand,ls-s\n"
        "linen-shirt,,,,M,,Sand,\n",
    )
    assert made.values("linen-shirt") == {"Fabric": "linen"}
    assert made.values("ls-s")["Size"] == "S"
    assert made.values("linen-shirt/M/Sand")["variant of"] == "linen-shirt"
    assert made.values("linen-shirt/M/Sand")["Size"] == "M"


def test_a_list_of_variants_in_records(read: Read) -> None:
    made = read(
        variants("list ="),
        '[{"id": "1", "options": [{"name": "Size"}], "variants": '
        '[{"sku": "1-s", "option1": "S"}, {"id": "1-m", "option1": "M"}]}]',
        "items.json",
    )
    # The SKU is not only the id of the variant.
    assert made.values("1-s") == {"Size": "S", "sku": "1-s", "variant of": "1"}
    assert made.values("1-m") == {"Size": "M", "variant of": "1"}


def test_packed_variants(read: Read) -> None:
    piece = variants("packed =")
    (cell,) = re.findall(r"# (sku=.*)", piece)
    made = read(piece, f'id,configurable_variations\nMH,"{cell}"\n')
    assert made.values("MH-S") == {"size": "S", "variant of": "MH"}
    assert made.values("MH-M") == {"size": "M", "variant of": "MH"}


def test_texts_in_several_languages(read: Read) -> None:
    (piece,) = pieces("Languages")
    head = 'title = "name"\ndescription = "description"\n'
    made = read(
        head + piece,
        "id,name-en_US,name-de_DE,description-en_US-print,name-us\n1,Sofa,Couch,It is soft.,\n",
    )
    assert made.items["1"]["title"] == "Sofa"
    assert made.items["1"]["description"] == "It is soft."
    assert made.languages == {("1", "title", "Couch"): "de-DE"}


def test_texts_with_their_language_in_records(read: Read) -> None:
    (piece,) = pieces("Languages")
    tagged = re.findall(r'# in records: (\{"language_tag.*\})', piece)
    made = read(
        f'title = "name"\n{piece}',
        f'[{{"id": "1", "name": [{{"language_tag": "en_US", "value": "Couch"}}, {tagged[0]}]}}]',
        "items.json",
    )
    assert made.items["1"]["title"] == "Couch"
    assert made.languages == {("1", "title", "Sofa"): "de-DE"}


READING: dict[str, tuple[str, str]] = {
    "encoding": ('encoding = "cp1252"', "id,x\n1,a\n"),
    "delimiter": ('delimiter = "~"', "id~x\n1~a\n"),
    "quote": ('quote = ""', 'id,x\n1,a\n2,"b\n'),
    "escape": ('escape = "\\\\"', 'id,x\n1,"a"\n2,"b\\"c"\n'),
    "header": ("header = 2", "Our list\nid,x\n1,a\n"),
    "columns": ('header = false\ncolumns = ["id", "x"]', "1,a\n"),
    "records": (
        'records = "channel/item"',
        "<r><channel><item><id>1</id><x>a</x></item></channel></r>",
    ),
}


@pytest.mark.parametrize("key", READING)
def test_how_a_file_is_read(read: Read, key: str) -> None:
    settings, text = READING[key]
    made: Any = read(
        f'id = "id"\n{settings}\n', text, "items.xml" if key == "records" else "items.csv"
    )
    assert made.values("1") == {"x": "a"}


def test_every_key_about_reading_is_tried() -> None:
    keys = re.findall(r"^\| `(\w+)` \|", section("Reading the file"), re.MULTILINE)
    # Those of workbooks have tests of their own.
    assert set(keys) - {"sheet"} == set(READING)
