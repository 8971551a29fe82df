"""Checks of an item against an ontology."""

from __future__ import annotations

import pytest

from schema.ontology import Ontology, PropertySpec
from schema.terms import Item
from schema.validation import Severity, check_item

MUG = Item("1", "A mug", "Mugs")
ONTOLOGY = Ontology(
    [
        PropertySpec("colour", cardinality="many", applies_to={"Mugs": 1.0, "Chairs": 0.9}),
        PropertySpec("weight", "quantity", "g", applies_to={"Mugs": 0.9}),
        PropertySpec("pieces", "integer", applies_to={"Mugs": 0.1}),
        PropertySpec("legs", "integer", applies_to={"Chairs": 1.0, "Mugs": 0.01}),
    ],
    categories={"Mugs": 10, "Chairs": 10},
)


def checks(
    facts: list[tuple[str, str]], item: Item = MUG
) -> list[tuple[Severity, str, str | None]]:
    return [
        (each.severity, each.check, each.property) for each in check_item(ONTOLOGY, item, facts)
    ]


def test_a_correct_item_has_no_finding() -> None:
    facts = [("colour", "red"), ("colour", "blue"), ("weight", "0.3 kg"), ("pieces", "2")]
    assert checks(facts) == []


@pytest.mark.parametrize(
    ("value", "check"), [("heavy", "datatype"), ("3 cm", "unit"), ("1" * 20, "datatype")]
)
def test_a_value_that_does_not_parse_is_a_violation(value: str, check: str) -> None:
    (found,) = check_item(ONTOLOGY, MUG, [("weight", value)])
    assert (found.severity, found.check, found.value) == (Severity.VIOLATION, check, value)
    assert found.message.startswith(f"{value!r} is not a quantity in g")


def test_two_values_of_a_property_with_cardinality_one_are_one_violation() -> None:
    (found,) = check_item(ONTOLOGY, MUG, [("pieces", "2"), ("pieces", "3")])
    assert (found.check, found.value) == ("cardinality", None)
    assert "'2', '3'" in found.message


def test_a_long_list_of_values_is_cut() -> None:
    (found,) = check_item(ONTOLOGY, MUG, [("pieces", str(number)) for number in range(50)])
    assert found.message.endswith("'3', …")


def test_a_property_that_does_not_apply_to_the_category_is_a_warning() -> None:
    assert checks([("legs", "4")]) == [(Severity.WARNING, "applies", "legs")]


def test_a_property_that_is_rare_everywhere_is_no_finding() -> None:
    assert checks([("pieces", "4")]) == []


def test_an_unknown_property_is_a_violation() -> None:
    assert checks([("flavour", "mint")]) == [(Severity.VIOLATION, "unknown", "flavour")]


@pytest.mark.parametrize("title", [None, "", "  "])
def test_a_missing_title_is_a_warning(title: str | None) -> None:
    assert checks([], Item("1", title, "Mugs")) == [(Severity.WARNING, "title", None)]


def test_a_missing_category_is_an_info_and_skips_the_category_check() -> None:
    assert checks([("legs", "4")], Item("1", "A mug")) == [(Severity.INFO, "category", None)]
