"""Numbers in any locale."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.numbers import (
    UNCLEAR,
    MarkVotes,
    decide_decimal_mark,
    decimal_mark_of,
    is_whole,
    parse_number,
    usual_decimal_mark,
)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("12,90", 12.9),
        ("12.90", 12.9),
        ("1.299,00", 1299),
        ("1,299.00", 1299),
        ("1'299.00", 1299),
        ("1’299", 1299),
        ("1 299,5", 1299.5),
        ("1\u202f234\u202f567", 1234567),
        ("1\u00a0000", 1000),
        ("1,00,000", 100000),
        ("12,34,567.5", 1234567.5),
        ("1.234.567", 1234567),
        ("0,750", 0.75),
        ("-5", -5),
        ("\u22125,5", -5.5),
        (",5", 0.5),
    ],
)
def test_most_numbers_can_be_read_in_one_way_only(text: str, number: float) -> None:
    for mark in (".", ",", UNCLEAR):
        assert parse_number(text, mark) == number


@pytest.mark.parametrize(
    "text", ["007", "1,2,3", "1.2.3", "12 34", "1,23,4", "", "-", "1e5", "٣", "9" * 16, "1.234,5.6"]
)
def test_other_texts_are_no_numbers(text: str) -> None:
    assert parse_number(text) is None


def test_three_digits_behind_the_only_mark_are_decided_by_the_others() -> None:
    assert (parse_number("1,250", "."), parse_number("1,250", ",")) == (1250, 1.25)
    assert (parse_number("1.250", "."), parse_number("1.250", ",")) == (1.25, 1250)
    assert parse_number("1.250", UNCLEAR) is None


def test_whole_numbers_have_no_decimals() -> None:
    assert is_whole("1,250", 1250, ".")
    assert is_whole("1.250", 1250, ",")
    assert not is_whole("2.0", 2)
    assert not is_whole("10.000", 10, ".")


def votes(*texts: str) -> MarkVotes:
    marks = [decimal_mark_of(text) for text in texts]
    return MarkVotes(marks.count("."), marks.count(","), marks.count(UNCLEAR))


@pytest.mark.parametrize(
    ("texts", "elsewhere", "mark"),
    [
        (("1,310", "12,90"), ".", ","),
        (("1,310", "12.90"), ",", "."),
        (("1.299", "2.499"), ",", ","),
        (("1.299", "2.499"), ".", "."),
        (("1,310", "12,90", "12.90"), ".", UNCLEAR),
        (("12,90", "12.90"), ".", "."),
        ((), ",", "."),
    ],
)
def test_a_property_decides_by_its_own_numbers_first(
    texts: tuple[str, ...], elsewhere: str, mark: str
) -> None:
    assert decide_decimal_mark(votes(*texts), elsewhere) == mark


def test_a_comma_in_half_of_the_properties_is_that_of_the_catalogue() -> None:
    prices = votes("12,90")
    versions = votes("4.2")
    assert usual_decimal_mark([prices, versions]) == ","
    assert usual_decimal_mark([prices, versions, versions]) == "."
    assert usual_decimal_mark([]) == "."


GROUPINGS = st.sampled_from([(",", "."), (".", ","), ("'", "."), (" ", ","), ("\u202f", ",")])


@given(
    st.integers(-(10**9), 10**9),
    st.integers(0, 4),
    GROUPINGS,
    st.booleans(),
)
def test_a_formatted_number_is_itself(
    hundredths: int, places: int, marks: tuple[str, str], is_grouped: bool
) -> None:
    group, decimal = marks
    number = round(hundredths / 100, places)
    text = f"{number:,.{places}f}" if is_grouped else f"{number:.{places}f}"
    localised = text.translate({ord(","): group, ord("."): decimal})
    if abs(number) >= 1 or not text.startswith("-0"):
        assert parse_number(localised, decimal) == pytest.approx(float(text.replace(",", "")))
