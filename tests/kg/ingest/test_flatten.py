"""Records become rows of text, and no scalar of them is lost."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kg.ingest.flatten import MAX_DEPTH, Flattener
from kg.ingest.rows import Record
from schema.mapping import Mapping, parse_mapping
from tests.kg.ingest.mapped import apply_records

PLAIN = Mapping("plain", id=("id",))


def flat(value, mapping=PLAIN):
    """Return the texts of a record by name and language."""
    rows = Flattener(mapping).rows([Record(1, value)])
    assert not rows.bad
    return {
        column.name + (f"@{column.language}" if column.language else ""): column.texts.to_pylist()
        for column in rows.columns
    }


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        (
            {"a": 1, "b": 1.5, "c": True, "d": None, "e": ""},
            {"a": ["1"], "b": ["1.5"], "c": ["true"]},
        ),
        ({"a": [1, "x", [2]]}, {"a": ["1", "x", "2"]}),
        ({"a": {"b": {"c": 1}}}, {"a.b.c": ["1"]}),
        ({"s": {"a.b": "x"}, "s.a": {"b": "y"}}, {"s.a.b": ["x", "y"]}),
        (
            {"big": 12345678901234567890, "d": Decimal("1.10")},
            {"big": ["12345678901234567890"], "d": ["1.10"]},
        ),
        ({"w": {"value": 45.0, "unit": "kilograms"}}, {"w": ["45 kilograms"]}),
        ({"w": [{"value": 2, "unitCode": "KGM"}]}, {"w": ["2 kg"]}),
        ({"w": {"@unit": "cm", "#text": "3"}}, {"w": ["3 cm"]}),
        (
            {"p": {"value": 3, "unit": "kg", "n": {"value": 6.6, "unit": "lb"}}},
            {"p": ["3 kg"], "p.n": ["6.6 lb"]},
        ),
        ({"p": [{"value": "SOFA"}]}, {"p": ["SOFA"]}),
        ({"g": {"#text": "x", "@type": "gtin"}}, {"g": ["x"], "g.type": ["gtin"]}),
        (
            {
                "n": [
                    {"language_tag": "en_US", "value": "Sofa"},
                    {"language_tag": "de", "value": "Couch"},
                ]
            },
            {"n@en-US": ["Sofa"], "n@de": ["Couch"]},
        ),
        ({"t": {"@lang": "deu", "#text": "Lampe"}}, {"t@de": ["Lampe"]}),
        ({"names": {"en": "Cup", "de": "Tasse"}}, {"names@en": ["Cup"], "names@de": ["Tasse"]}),
        ({"x": {"id": "5"}}, {"x.id": ["5"]}),
        (
            {"_id": {"$oid": "65a1"}, "price": {"$numberDecimal": "9.90"}},
            {"_id": ["65a1"], "price": ["9.90"]},
        ),
        (
            {"v": {"n": [{"locale": "de_DE", "scope": "print", "data": "Tasse"}]}},
            {"v.n@de-DE": ["Tasse"]},
        ),
        (
            {"v": {"w": [{"locale": None, "data": {"amount": "3", "unit": "GRAM"}}]}},
            {"v.w": ["3 g"]},
        ),
        ({"attributes": [{"code": "size", "value": 40, "unit": "mm"}]}, {"size": ["40 mm"]}),
        ({"PARAM": {"PARAM_NAME": "Barva", "VAL": "modrá"}}, {"Barva": ["modrá"]}),
        ({"param": {"@name": "Höhe", "@unit": "cm", "#text": "9"}}, {"Höhe": ["9 cm"]}),
        ({"a": {"merkmal": [{"name": "Farbe", "wert": "rot"}]}}, {"Farbe": ["rot"]}),
        ({"shop": {"name": "Nord", "value": "5"}}, {"shop.name": ["Nord"], "shop.value": ["5"]}),
        (
            {"image": {"@name": "front", "#text": "1.jpg"}},
            {"image.name": ["front"], "image": ["1.jpg"]},
        ),
        ({"spec": [{"name": "Colour", "value": "Red"}]}, {"Colour": ["Red"]}),
        ({"spec": [{"key": "W", "value": 3, "unit": "CMT"}]}, {"W": ["3 cm"]}),
        (
            {"spec": [{"name": "S", "values": ["a", "b"], "id": 7}]},
            {"S": ["a", "b"], "spec.id": ["7"]},
        ),
        ({"spec": [{"name": "S", "value": {"x": 1}}]}, {"S.x": ["1"]}),
        (
            {"ing": [{"id": "milk", "pct": 80.5, "text": "Lait"}, {"id": "salt"}]},
            {"ing.id": ["milk", "salt"], "ing.pct": ["80.5"], "ing.text": ["Lait"]},
        ),
        ({"x": []}, {}),
    ],
)
def test_shapes_of_values(value, texts):
    assert flat(value) == texts


def test_what_is_no_text_is_counted():
    rows = Flattener(PLAIN).rows([Record(1, {"a": float("nan"), "b": b"\xff", "c": {"d": 1e400}})])
    assert rows.columns == []
    assert rows.left_out == {"a": 1, "b": 1, "c.d": 1}


def test_ignored_paths_are_left_out_and_counted_unless_they_have_a_role():
    mapping = parse_mapping('id = "id"\nimages = ["pics.src"]\nignore = ["pics.*", "log"]', "x")
    rows = Flattener(mapping).rows(
        [Record(1, {"id": 1, "pics": [{"src": "u", "w": 3}], "log": {"a": [1, 2], "b": 3}})]
    )
    assert [column.name for column in rows.columns] == ["id", "pics.src"]
    assert rows.left_out == {"pics.w": 1, "log": 3}


def test_pairs_at_a_path_of_their_own():
    mapping = parse_mapping(
        'id = "ID"\n[[pairs]]\nlist = "FS/F"\nname = "FNAME"\nvalue = "FVALUE"\nunit = "FUNIT"', "x"
    )
    record = {
        "ID": "1",
        "FS": {
            "SYSTEM": "ETIM",
            "F": [
                {"FNAME": "EF1", "FVALUE": "8.5", "FUNIT": "MMT"},
                {"FNAME": "EF2", "FVALUE": ["a", "b"], "FORDER": "2"},
                {"FNAME": "EF3"},
            ],
        },
    }
    made = apply_records(mapping, [record])
    assert made.values("1") == {
        "FS.SYSTEM": "ETIM",
        "EF1": "8.5 mm",
        "EF2": ["a", "b"],
        "FS.F.FORDER": "2",
        "FS.F.FNAME": "EF3",
    }


def test_an_attribute_named_like_a_role_does_not_take_it():
    mapping = parse_mapping('id = "id"\ntitle = ["title"]', "x")
    record = {"id": 1, "spec": [{"name": "title", "value": "Dr"}], "title": "Bag"}
    made = apply_records(mapping, [record])
    assert made.items["1"]["title"] == "Bag"
    assert made.values("1") == {"title": "Dr"}


def test_variants_in_a_list():
    mapping = parse_mapping(
        'id = "handle"\ntitle = "title"\nignore = ["options.*", "variants.title"]\n[variants]\n'
        'list = "variants"\nid = ["sku"]\naxes = [{ name = "options.name", value = "option{n}" }]\n'
        '[columns."option{n}"]\nmissing = ["Default Title"]',
        "x",
    )
    options = [{"name": "Size", "values": ["S", "M"]}, {"name": "Colour", "values": ["Red"]}]
    variants = [
        {"sku": "S-1", "price": 9, "option1": "S", "option2": "Red", "title": "S / Red"},
        {"price": 8, "option1": "M", "option2": "Red"},
    ]
    only = [{"sku": "M-1", "price": 5, "option1": "Default Title"}]
    made = apply_records(
        mapping,
        [
            {"handle": "shirt", "title": "Shirt", "options": options, "variants": variants},
            {"handle": "mug", "title": "Mug", "variants": only},
            {"handle": "bare", "variants": [{"option1": "Default Title"}, {}]},
            {"handle": "mug", "title": "Mug 2"},
        ],
    )
    assert made.values("S-1") == {
        "variant of": "shirt",
        "Size": "S",
        "Colour": "Red",
        "price": "9",
        "sku": "S-1",
    }
    assert made.values("shirt/M/Red") == {
        "variant of": "shirt",
        "Size": "M",
        "Colour": "Red",
        "price": "8",
    }
    assert (made.items["shirt"]["title"], made.items["S-1"]["title"]) == ("Shirt", None)
    assert made.values("mug") == {"price": "5", "sku": "M-1"}
    assert made.values("bare/2") == {"variant of": "bare"}
    assert made.rejects == {4: "id 'mug' already appeared in line 2 with other content"}
    assert (made.read, made.stored) == (4, 3)


def test_a_record_that_is_nested_too_deep_is_rejected():
    value: dict[str, Any] = {"id": "1"}
    for _ in range(MAX_DEPTH + 5):
        value = {"id": "1", "a": value}
    made = apply_records(PLAIN, [value, {"id": "2"}])
    assert "nested too deep" in made.rejects[1]
    assert list(made.items) == ["2"]


NAMES = st.sampled_from(
    ["name", "value", "unit", "language_tag", "@lang", "#text", "key", "a", "b", "variants", "id"]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text("ab", max_size=3)
VALUES = st.recursive(
    SCALARS | st.sampled_from(["de", "kg"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


def scalars(value: Any) -> int:
    if isinstance(value, dict):
        return sum(map(scalars, value.values()))
    if isinstance(value, list):
        return sum(map(scalars, value))
    return int(value is not None and value != "")


@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_no_scalar_is_lost(record):
    mapping = parse_mapping(
        'id = "id"\nignore = ["b.*"]\n[[pairs]]\nlist = "a"\nname = "key"\nvalue = "value"', "x"
    )
    rows = Flattener(mapping).rows([Record(1, record)])
    texts = [text for column in rows.columns for text in column.texts.to_pylist()]
    names = " ".join(column.name + (column.language or "") for column in rows.columns)
    assert not any(text[:1] in "{[" for text in texts)
    # A unit joins its number, and the name of a pair or a language that of a column.
    left_out = rows.left_out.total()
    kept = len(texts) + left_out
    assert kept <= scalars(record)
    for text in all_texts(record):
        is_there = any(text in each for each in texts) or text in names
        assert is_there or left_out


def all_texts(value):
    if isinstance(value, dict):
        return [text for each in value.values() for text in all_texts(each)]
    if isinstance(value, list):
        return [text for each in value for text in all_texts(each)]
    return [value] if isinstance(value, str) and value else []


def test_an_attribute_is_the_id_unless_there_is_an_element_of_that_name():
    mapping = Mapping("m", id=("id",), title=("name",))
    made = apply_records(mapping, [{"@id": "7", "name": "a"}, {"@id": "8", "id": "M8"}])
    assert list(made.items) == ["7", "M8"]
    assert made.facts[("M8", "@id")] == ["8"]
    assert made.rejects == {}


def test_a_record_with_several_ids_is_rejected_with_them():
    mapping = Mapping("m", id=("id",))
    values = [["A", "B"], ["C"], ["D", "D"], "E", [["F"], {"value": "G"}], []]
    made = apply_records(mapping, [{"id": value, "t": "x"} for value in values])
    assert list(made.items) == ["C", "D", "E"]
    assert made.rejects[1] == "several ids in 'id': 'A', 'B'"
    assert list(made.rejects) == [1, 5, 6]
    assert (made.read, made.stored) == (6, 3)
