"""Properties that the data name: numbered pairs of columns, and packed cells."""

import pytest

from schema.mapping.attributes import find_packed, find_pairs
from schema.mapping.model import PackedColumn, PairColumns


@pytest.mark.parametrize(
    ("columns", "pairs"),
    [
        (
            ["Attribut 1 Name", "Attribut 1 Wert(e)", "Attribut 1 Global"],
            ("Attribut {n} Name", "Attribut {n} Wert(e)", None),
        ),
        (
            ["Nom de l’attribut 1", "Valeur(s) de l’attribut 1 "],
            ("Nom de l’attribut {n}", "Valeur(s) de l’attribut {n} ", None),
        ),
        (
            ["Merkmal 1", "Wert 1", "Einheit 1", "Merkmal 2", "Wert 2", "Einheit 2"],
            ("Merkmal {n}", "Wert {n}", "Einheit {n}"),
        ),
        (
            ["spec_1_name", "spec_1_value", "spec_1_unit"],
            ("spec_{n}_name", "spec_{n}_value", "spec_{n}_unit"),
        ),
        (["Attributname 1", "Attributwert 1"], ("Attributname {n}", "Attributwert {n}", None)),
        (
            ["Attribute Name A", "Attribute Value A"],
            ("Attribute Name A", "Attribute Value A", None),
        ),
        (["属性名1", "属性值1"], ("属性名{n}", "属性值{n}", None)),
    ],
)
def test_numbered_columns_of_names_and_values_are_found(columns, pairs):
    assert find_pairs(columns) == [PairColumns(*pairs)]


@pytest.mark.parametrize(
    "columns",
    [
        ["size 1", "price 1"],
        ["brand name 1", "stock value 1"],
        ["name", "value"],
        ["image 1", "image 2", "name 1"],
    ],
)
def test_other_numbered_columns_are_no_pairs(columns):
    assert find_pairs(columns) == []


@pytest.mark.parametrize(
    ("column", "texts", "packed"),
    [
        ("x", ["colour: red|size: S", "size:M|colour:blue"], PackedColumn("x", ":", "|")),
        ("x", ["a=1;b=2", "a=3"], PackedColumn("x", "=", ";")),
        ("x", ["fit=Slim|Wide,care=Cold, gentle", "fit=Slim"], PackedColumn("x", "=", ",", "|")),
        ("x", ["Weight: 2 kg\nColour: red", "Weight: 3 kg"], PackedColumn("x", ":", "\n")),
        (
            "Features",
            ["Fabric:Linen:1,Fit:Slim:2"],
            PackedColumn("Features", ":", ",", position=True),
        ),
    ],
)
def test_packed_cells_are_found(column, texts, packed):
    assert find_packed(column, texts) == packed


@pytest.mark.parametrize(
    "texts",
    [
        ["https://x/1|https://x/2", "https://x/3"],
        ["16:9", "4:3, 16:9"],
        ["Note: this is fine", "Note: so is this"],
        ["Sizes: S, M, L and a half", "A scarf, warm"],
        ["red, blue", "blue"],
    ],
)
def test_other_cells_are_not_unpacked(texts):
    assert find_packed("x", texts) is None
