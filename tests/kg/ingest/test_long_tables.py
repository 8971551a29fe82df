"""The order of the rows of a long table changes nothing but the order of its items."""

from hypothesis import given, settings
from hypothesis import strategies as st

from schema.mapping import parse_mapping
from tests.kg.ingest.mapped import apply_table

MAPPING = parse_mapping(
    """
title = ["name"]
description = ["text"]
category = ["group"]
images = ["photo"]
parent = "of"
language = "en"
[triples]
item = "item"
property = "property"
value = "value"
unit = "unit"
language = "language"
""",
    "long",
)
HEADER = ["item", "property", "value", "unit", "language"]
ROWS: list[list[str | None]] = [
    [item, name, f"{item} {name} {language}" if name != "height" else item, unit, language]
    for item in ("1", "2", "3")
    for name, unit, language in (
        ("name", None, "en"),
        ("name", None, "de"),
        ("text", None, None),
        ("group", None, None),
        ("height", "cm", None),
        ("colour", None, "en"),
    )
] + [["2", "of", "1", None, None], ["3", "of", "1", None, None]]


@settings(max_examples=60, deadline=None)
@given(st.permutations(ROWS), st.integers(0, len(ROWS)))
def test_rows_in_any_order_make_the_same_items(rows, left_out):
    # Some texts are missing, so that the columns of roles have gaps.
    kept = rows[:left_out]
    found = apply_table(MAPPING, HEADER, kept)
    ordered = apply_table(MAPPING, HEADER, [row for row in ROWS if row in kept])
    assert found.items == ordered.items
    assert {key: sorted(values) for key, values in found.facts.items()} == {
        key: sorted(values) for key, values in ordered.facts.items()
    }
    assert found.languages == ordered.languages
    for item, name, value, _, language in kept:
        if name == "name" and language == "en":
            assert found.items[item]["title"] == value
        if name == "height":
            assert found.values(item)["height"] == f"{value} cm"
