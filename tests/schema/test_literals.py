"""Numbers, quantities and truth values in a statement's text."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.literals import DATATYPES, infer_datatype, parse_literal, pattern_of
from schema.units import convert, find_unit


@pytest.mark.parametrize(
    ("text", "unit", "number"),
    [
        ("12 in", "cm", 30.48),
        ('12"', "cm", 30.48),
        ("0.5 kg", "g", 500),
        ("5 1/2 in", "in", 5.5),
        ("30", "cm", 30),
        ("32 °F", "°C", 0),
        ("1.5公斤", "g", 1500),
    ],
)
def test_a_quantity_is_converted_to_the_unit_of_its_property(text, unit, number):
    assert parse_literal(text, "quantity", unit) == pytest.approx(number)


@pytest.mark.parametrize("text", ["red", "12 apples", "12 kg", "10 x 20 cm", "", "in"])
def test_what_is_not_a_length_has_no_literal(text):
    assert parse_literal(text, "quantity", "cm") is None


@pytest.mark.parametrize(
    ("text", "datatype", "literal"),
    [
        ("2011", "integer", 2011),
        ("1,200", "integer", 1200),
        ("1.5", "integer", None),
        ("007", "integer", None),
        ("1,5", "decimal", 1.5),
        ("9" * 40, "decimal", None),
    ],
)
def test_numbers(text, datatype, literal):
    assert parse_literal(text, datatype, None) == literal


@pytest.mark.parametrize(("text", "literal"), [("Yes", True), ("否", False), ("maybe", None)])
def test_truth_values(text, literal):
    assert parse_literal(text, "boolean", None) is literal


def test_a_string_has_no_literal():
    assert parse_literal("12", "string", None) is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["2011", "2012"], ("integer", None)),
        (["1.5", "2"], ("decimal", None)),
        (["10 cm", "5 cm", "2 in"], ("quantity", "cm")),
        (["yes", "no"], ("boolean", None)),
        (["10 cm", "5 kg"], ("string", None)),
        (["S", "M", "L"], ("string", None)),
        (["001", "002"], ("string", None)),
    ],
)
def test_a_datatype_is_inferred(values, expected):
    assert infer_datatype(values, [1] * len(values)) == expected


def test_a_few_wrong_values_do_not_hide_the_datatype():
    assert infer_datatype(["10 cm", "cotton"], [99, 1]) == ("quantity", "cm")


def test_one_letter_units_are_case_sensitive():
    assert find_unit("M") is None
    assert find_unit("KG") == find_unit("kg")


def test_a_unit_is_not_converted_to_another_dimension():
    grams = find_unit("g")
    metres = find_unit("m")
    assert grams
    assert metres
    assert convert(1, grams, metres) is None


NUMBERS = st.from_regex(r"\A[+-]?(\d{1,16}|\d{1,3}(,\d{3}){1,4})([.,]\d{0,3})?\Z")
SPELLINGS = st.sampled_from(
    [
        "",
        "g",
        "KG",
        "kg.",
        "Pounds",
        "fl  oz",
        "fl.oz.",
        '"',
        "寸",
        "cm",
        "°C",
        "apples",
        "-",
        "1/2",
    ]
)


@given(
    NUMBERS,
    st.sampled_from(["", " ", "-", "  "]),
    SPELLINGS,
    st.sampled_from(["g", "in", "fl oz", "°C"]),
)
def test_what_parses_matches_the_pattern(number, gap, spelling, unit):
    text = f" {number}{gap}{spelling} "
    for datatype in DATATYPES[1:]:
        if parse_literal(text, datatype, unit) is not None:
            assert re.search(str(pattern_of(datatype, unit)), text, re.IGNORECASE)


@pytest.mark.parametrize(
    ("datatype", "text"),
    [
        ("integer", "1.5"),
        ("integer", "007"),
        ("decimal", "a 1"),
        ("boolean", "maybe"),
        ("quantity", "12 cm"),
        ("quantity", "12 apples"),
    ],
)
def test_what_does_not_parse_does_not_match(datatype, text):
    assert parse_literal(text, datatype, "g") is None
    assert not re.search(str(pattern_of(datatype, "g")), text, re.IGNORECASE)


def test_any_text_is_a_string():
    assert pattern_of("string") is None
