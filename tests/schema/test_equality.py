"""Which texts of a property are one value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.equality import Merge, equality_of, find_merges, is_case_sensitive, text_key
from schema.literals import DATATYPES, Reading

STRING = Reading()


def are_equal(texts: list[str], reading: Reading = STRING, name: str = "x") -> bool:
    equality = equality_of(name, reading)
    return len({equality.key(text) for text in texts}) == 1


@pytest.mark.parametrize(
    "texts",
    [
        ["Red", "red", "RED", " red  "],
        ["Dark  Blue", "dark blue", "dark\u00a0blue"],
        ["café", "cafe\u0301", "CAFÉ"],
        ["WEISS", "weiß"],
        ["16 GB DDR4", "16GB DDR4"],
        ["T-Shirt", "T‑shirt", "t – shirt"],
        ["５００ ml", "500 ml", "0.5 l", "0,5 L"],
        ["12 months", "1 year"],
        ["a / b", "A/B"],
    ],
)
def test_only_spelling_tells_them_apart(texts: list[str]) -> None:
    assert are_equal(texts)


@pytest.mark.parametrize(
    "texts",
    [
        ["grey", "gray"],
        ["yes", "ja"],
        ["café", "cafe"],
        ["1 2", "12"],
        ["10²", "102"],
        ["T-Shirt", "TShirt"],
        ["navy blue", "navyblue"],
        ["1 kg", "ca. 1 kg"],
        ["1 kg", "1 l"],
        ["1,250 kg", "1250 kg"],
        ["38", "38.0"],
    ],
)
def test_these_are_different_values(texts: list[str]) -> None:
    assert not are_equal(texts)


@pytest.mark.parametrize(
    ("texts", "reading"),
    [
        (["1.2 kg", "1200 g", "1,2kg", "1200 G"], Reading("quantity", "kg")),
        (["12 in", '12"', "1 ft", "30.48 cm"], Reading("quantity", "in")),
        (["10-20 cm", "100 - 200 mm"], Reading("quantity", "cm")),
        (["10 x 20 cm", "10x20cm", "0.1 m × 0.2 m"], Reading("quantity", "cm")),
        (["2", "2.0", "2,00"], Reading("decimal")),
        (["1,299.00 $", "$1299", "USD 1299"], Reading("decimal", "USD")),
        (["yes", "YES"], Reading("boolean")),
        (["2024-12-31", "31.12.2024", "31 Dec 2024"], Reading("date")),
        (["03/04/2024", "2024-04-03"], Reading("date", date_order="dmy")),
    ],
)
def test_equal_literals_are_one_value(texts: list[str], reading: Reading) -> None:
    assert are_equal(texts, reading)


@pytest.mark.parametrize(
    ("texts", "reading", "name"),
    [
        (["500", "500 g"], Reading("quantity", "g"), "weight"),
        (["12 $", "12"], Reading("decimal", "USD"), "price"),
        (["1.1", "1.10"], Reading("decimal"), "firmware version"),
        (["AB12c", "AB12C"], Reading("identifier"), "sku"),
        (["31.12.2024 10:00", "31.12.2024"], Reading("date"), "x"),
    ],
)
def test_these_literals_are_different_values(texts: list[str], reading: Reading, name: str) -> None:
    assert not are_equal(texts, reading, name)


def test_a_unit_in_the_name_is_that_of_bare_numbers() -> None:
    assert are_equal(["500", "500 g", "0.5 kg"], Reading("quantity", "g"), "Gewicht (g)")


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("size", ["S", "M", "L", "m", "xl", "XL"], False),
        ("colour", ["red", "Red"], False),
        ("unit", ["mW", "MW", "kg", "cm"], True),
        ("model number", ["AB12c", "AB12C", "XY34d"], True),
        ("grade", ["a", "A", "b", "B", "c", "C"], False),
        ("gene symbol", ["a", "A", "b", "B", "c", "C"], True),
    ],
)
def test_case_matters_where_the_values_say_so(name: str, values: list[str], expected: bool) -> None:
    assert is_case_sensitive(name, values) is expected


def test_the_commonest_is_shown_and_the_first_of_equally_common_ones() -> None:
    assert find_merges(["red", "Red", "blue"], [2, 5, 1], text_key) == [Merge("Red", ("red",))]
    assert find_merges(["red", "Red"], [1, 1], text_key) == [Merge("Red", ("red",))]
    assert find_merges(["red", "blue"], [1, 1], text_key) == []


def test_synonyms_are_one_value_with_all_their_spellings() -> None:
    synonyms = {"grey": ["gray"]}
    merges = find_merges(["gray", "Gray", "GREY", "red"], [5, 3, 1, 1], text_key, synonyms)
    assert merges == [Merge("grey", ("gray", "Gray", "GREY"))]


def test_synonyms_in_a_circle_are_one_value() -> None:
    synonyms = {"a": ["b"], "b": ["c"], "c": ["a"]}
    (merge,) = find_merges(["a", "b", "c", "d"], [1, 2, 3, 4], text_key, synonyms)
    assert {merge.shown, *merge.others} == {"a", "b", "c"}


TEXTS = st.one_of(
    st.text(max_size=12),
    st.text(st.sampled_from("aAéß12.,xX/- kgcm\u00a0²½€"), max_size=12),
    st.from_regex(r"\A\d{1,4}[.,]?\d{0,3} ?(kg|g|cm|in|€|)\Z"),
)
READINGS = st.builds(
    Reading,
    st.sampled_from(DATATYPES),
    st.sampled_from([None, "g", "cm"]),
    st.sampled_from([".", ",", "unclear"]),
)


@given(TEXTS, READINGS)
def test_space_around_a_text_never_matters(text: str, reading: Reading) -> None:
    equality = equality_of("x", reading)
    assert equality.key(f"  {text} ") == equality.key(text)


@given(TEXTS, TEXTS, READINGS, st.booleans())
def test_equal_keys_have_equal_coarse_keys(
    one: str, other: str, reading: Reading, case_sensitive: bool
) -> None:
    equality = equality_of("x", reading, case_sensitive)
    for text in (other, one.upper(), f" {one}", one.replace(" ", "")):
        if equality.key(text) == equality.key(one):
            assert equality.coarse_key(text) == equality.coarse_key(one)


PRINTABLE = st.text(st.sampled_from("aAbB 12.,kg-"), max_size=6)


@given(st.lists(TEXTS, max_size=4) | st.lists(PRINTABLE, max_size=8), READINGS)
def test_coarse_keys_are_those_of_the_single_texts(texts: list[str], reading: Reading) -> None:
    equality = equality_of("x", reading)
    assert equality.coarse_keys(texts) == list(map(equality.coarse_key, texts))


@given(TEXTS)
def test_the_key_of_a_key_is_itself(text: str) -> None:
    assert text_key(text_key(text)) == text_key(text)


@given(st.lists(TEXTS, unique=True, max_size=8), READINGS)
def test_merges_are_disjoint_and_of_equal_keys(texts: list[str], reading: Reading) -> None:
    equality = equality_of("x", reading)
    merges = find_merges(texts, [1] * len(texts), equality.key)
    merged = [text for each in merges for text in (each.shown, *each.others)]
    assert len(set(merged)) == len(merged)
    for each in merges:
        assert {equality.key(text) for text in each.others} == {equality.key(each.shown)}
