"""Literals: numbers, quantities and truth values in a value's text."""

import pytest

from schema.literals import infer_datatype, parse_literal
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
def test_a_quantity_is_read_in_the_unit_of_its_property(text, unit, number):
    assert parse_literal(text, "quantity", unit) == pytest.approx(number)


@pytest.mark.parametrize("text", ["red", "12 apples", "12 kg", "10 x 20 cm", "", "in"])
def test_what_is_no_length_is_none(text):
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


def test_text_has_no_literal():
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


def test_one_letter_units_mind_their_case():
    assert find_unit("M") is None
    assert find_unit("KG") == find_unit("kg")


def test_no_unit_is_converted_into_another_dimension():
    grams, metres = find_unit("g"), find_unit("m")
    assert grams
    assert metres
    assert convert(1, grams, metres) is None
