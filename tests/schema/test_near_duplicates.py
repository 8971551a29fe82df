"""Values that may be one are offered, and never merged."""

from __future__ import annotations

import time
import tomllib

import pytest

from schema.near_duplicates import as_toml, near_duplicates
from schema.ontology import Ontology, PropertySpec


def offers(*values: str, datatype: str = "string") -> list[tuple[str, str, str]]:
    counts = tuple(range(len(values), 0, -1))
    ontology = Ontology([PropertySpec("x", datatype, values=values, counts=counts)])
    found = near_duplicates(ontology)
    return [(each.value.value, each.other.value, each.reason) for each in found]


@pytest.mark.parametrize(
    ("value", "other", "reason"),
    [
        ("T-Shirt", "T Shirt", "hyphens and spaces"),
        ("Navy Blue", "NavyBlue", "hyphens and spaces"),
        ("Café", "Cafe", "accents"),
        ("Grey", "Gray", "two spellings"),
        ("Multicolour", "multicolor", "two spellings"),
        ("Aluminium", "Aluminum", "two spellings"),
        ("Salt & Pepper", "Salt and Pepper", "two spellings"),
        ("Shoe", "Shoes", "plural"),
        ("Battery", "Batteries", "plural"),
        ("Schuhe", "Schuh", "plural"),
        ("Navy Blue", "Blue, navy", "order of words"),
        ("Leather", "Lether", "typing error"),
        ("Leather", "Leathre", "typing error"),
        ("Leather", "Leatherr", "typing error"),
        ("Leather", "Lexther", "typing error"),
    ],
)
def test_similar_values_are_offered(value: str, other: str, reason: str) -> None:
    assert offers(value, "something else", other) == [(value, other, reason)]


@pytest.mark.parametrize(
    ("value", "other"),
    [
        ("red", "bed"),
        ("USB 2.0", "USB 3.0"),
        ("size 38", "size 39"),
        ("black", "white"),
        ("1.5 kg", "15 kg"),
        ("yes", "ja"),
        ("grey", "green"),
        ("leather", "laether shoe"),
    ],
)
def test_different_values_are_not(value: str, other: str) -> None:
    assert offers(value, other) == []


def test_each_value_is_offered_once_for_the_most_frequent() -> None:
    assert sorted(offers("Shoes", "shoes.", "Shoe"), key=lambda each: each[2]) == [
        ("Shoes", "shoes.", "hyphens and spaces"),
        ("Shoes", "Shoe", "plural"),
    ]


def test_numbers_and_identifiers_are_left_out() -> None:
    assert offers("leather", "lether", datatype="identifier") == []


def test_offers_are_what_the_ontology_reads() -> None:
    ontology = Ontology([PropertySpec("x", values=("Grey", "Gray", "a"), counts=(3, 2, 1))])
    document = tomllib.loads(as_toml(near_duplicates(ontology)))
    assert document == {"property": {"x": {"synonyms": {"Grey": ["Gray"]}}}}
    assert as_toml([]) == ""


def test_many_values_do_not_take_long() -> None:
    values = tuple(f"value {number:05d} of the property" for number in range(20_000))
    started = time.process_time()
    offers(*values)
    assert time.process_time() - started < 20
