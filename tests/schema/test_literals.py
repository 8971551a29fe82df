"""Numbers, quantities and truth values in a statement's text."""

import datetime
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.given_readings import infer_reading
from schema.literals import DATATYPES, Given, parse_literal, pattern_of
from schema.quantities import Dimensions, Range
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


@pytest.mark.parametrize("text", ["red", "12 apples", "12 kg", "10 x 20 kg", "", "in"])
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


def test_ranges_and_dimensions_are_quantities():
    assert parse_literal("10-20 cm", "quantity", "mm") == Range(100, 200)
    assert parse_literal("10 x 20 cm", "quantity", "mm") == Dimensions((100, 200))


def test_prices():
    assert parse_literal("89,00 €", "decimal", "EUR") == 89
    assert parse_literal("$89", "decimal", "EUR") is None
    assert parse_literal("$89", "integer") == 89


def test_dates():
    assert parse_literal("31.12.2024", "date") == datetime.date(2024, 12, 31)
    assert parse_literal("03/04/2024", "date", date_order="mdy") == datetime.date(2024, 3, 4)


def inferred(values, name="x", elsewhere="."):
    return infer_reading(name, values, [1] * len(values), elsewhere).reading


@pytest.mark.parametrize(
    ("values", "datatype", "unit"),
    [
        (["2011", "2012"], "integer", None),
        (["1.5", "2"], "decimal", None),
        (["10 cm", "5 cm", "2 in"], "quantity", "cm"),
        (["1.2kg", "1200 g", "2 lbs 3 oz", "500 G", "approx. 2 kg"], "quantity", "kg"),
        (["5'11\"", "6'2\"", "180 cm", "6 ft 1 in"], "quantity", "ft"),
        (["500ml", "0,75 l", "33cl", "1L", "16.9 fl oz"], "quantity", "l"),
        (["12 in", "30 cm", "12 - 14 in", "10 x 20 cm"], "quantity", "in"),
        (["5 kg", "3 kg", "4"], "quantity", "kg"),
        (["15 %", "20%"], "quantity", "%"),
        (["129,90", "1.299,00", "89,00 €"], "decimal", "EUR"),
        (["$12", "$1,299"], "integer", "USD"),
        (["yes", "no"], "boolean", None),
        (["Ja", "nein"], "boolean", None),
        (["有", "无"], "boolean", None),
        (["YES"], "boolean", None),
        (["No", "Non", "oui"], "boolean", None),
        (["31.12.2024", "2024-12-31"], "date", None),
        (["03/04/2024", "25/06/2024"], "date", None),
        (["4006381333931", "4006381333948", "4006381333955"], "identifier", None),
        (["10 cm", "5 kg"], "string", None),
        (["5 kg", "3", "4"], "string", None),
        (["S", "M", "L"], "string", None),
        (["001", "002"], "string", None),
        (["NO", "DE", "IT"], "string", None),
        (["NO"], "string", None),
        (["x", "✓"], "string", None),
        (["500 G", "200 G"], "string", None),
        (["1/2 in", "3/4 in", "M8"], "string", None),
    ],
)
def test_a_datatype_is_inferred(values, datatype, unit):
    reading = inferred(values)
    assert (reading.datatype, reading.unit) == (datatype, unit)


@pytest.mark.parametrize(
    ("name", "values", "datatype", "unit"),
    [
        ("weight_kg", ["1,250", "0,750"], "quantity", "kg"),
        ("Gewicht (g)", ["250", "500"], "quantity", "g"),
        ("weight", ["500 G", "200 G"], "quantity", "g"),
        ("magnetic flux density", ["500 G", "200 G"], "quantity", "G"),
        ("Farbtemperatur", ["2700 K", "3000 K"], "quantity", "K"),
        ("price_eur", ["1299", "899"], "integer", "EUR"),
        ("release date", ["20240102", "20240203"], "date", None),
        ("EAN", ["4006381333931"], "identifier", None),
        ("mpn", ["A1", "B2"], "identifier", None),
        ("model_year", ["2011", "2012"], "integer", None),
    ],
)
def test_a_name_helps(name, values, datatype, unit):
    reading = inferred(values, name)
    assert (reading.datatype, reading.unit) == (datatype, unit)


@pytest.mark.parametrize(
    ("values", "elsewhere", "datatype", "mark"),
    [
        (["1,310", "12,90"], ".", "decimal", ","),
        (["1,310", "2,580"], ",", "decimal", ","),
        (["1,310", "2,580"], ".", "integer", "."),
        (["1.299", "2.499"], ",", "integer", ","),
        (["1.299", "2.499"], ".", "decimal", "."),
        (["1.000", "12.500"], ",", "integer", ","),
        (["1,250 kg", "0,5 kg"], ".", "quantity", ","),
    ],
)
def test_the_decimal_mark_is_decided_for_the_whole_property(values, elsewhere, datatype, mark):
    reading = inferred(values, elsewhere=elsewhere)
    assert (reading.datatype, reading.decimal_mark) == (datatype, mark)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (["03/04/2024", "05/06/2024"], "two ways"),
        (["03/24/2024", "25/06/2024"], "day first in some"),
        (["1,310", "12,90", "12.90"], "could have either"),
        (["$12", "€12"], "several currencies"),
    ],
)
def test_what_is_not_clear_is_said(values, words):
    assert words in inferred(values).remark


def test_identifiers_and_prose_are_no_classes():
    assert inferred([f"AB-{number}" for number in range(30)]).datatype == "identifier"
    prose = [f"{number} is a long text of more than just a few words" for number in range(5)]
    assert inferred(prose).datatype == "text"
    assert inferred(["red", "blue"] * 20).datatype == "string"


def test_a_few_wrong_values_do_not_hide_the_datatype():
    reading = infer_reading("x", ["10 cm", "cotton"], [99, 1]).reading
    assert (reading.datatype, reading.unit) == ("quantity", "cm")


def test_of_many_values_a_part_is_parsed():
    values = [f"{number / 10:.1f} cm" for number in range(50_000)]
    reading = inferred(values)
    assert (reading.datatype, reading.unit) == ("quantity", "cm")
    assert inferred(values + ["cotton"] * 5_000).datatype == "string"


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
        "kg x 10 kg",
        "ft 3 in",
        "kg - 20 kg",
        "lbs 3 oz",
        "€",
        " USD",
        "/12/2024",
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
    for datatype in DATATYPES:
        if parse_literal(text, datatype, unit) is not None:
            assert re.search(str(pattern_of(datatype, unit)), text, re.IGNORECASE)


@pytest.mark.parametrize(
    ("datatype", "text"),
    [
        ("integer", "1.5"),
        ("integer", "007"),
        ("decimal", "a 1"),
        ("date", "yesterday"),
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


@pytest.mark.parametrize("unit", ["", " kg", " €"])
def test_numbers_that_nobody_can_read_say_which_setting_would_help(unit):
    values = [f"{number}{unit}" for number in ("1.5", "2,5", "1,250")]
    reading = infer_reading("x", values, [1, 1, 1]).reading
    assert (reading.datatype, reading.decimal_mark) == ("string", "unclear")
    assert "set decimal_mark in ontology.toml" in reading.remark
    point = infer_reading("x", values, [1, 1, 1], given=Given(decimal_mark=".")).reading
    assert point.datatype == ("quantity" if unit == " kg" else "decimal")
    assert point.remark == ""
