"""Columns that a mapping names, and a source does not have."""

import pytest

from schema.mapping import absent_column, absent_names, parse_mapping

COLUMNS = ["sku", "Gewicht", "Einheit", "offers.price", "Attribute 1 name", "Farbe-de"]


def absent(toml):
    return list(absent_names(parse_mapping(toml, "m"), COLUMNS))


@pytest.mark.parametrize(
    ("toml", "names"),
    [
        ('[columns."gewicht"]\nunit_column = "einheit"', []),
        ('[columns."*"]\nunit_column = "Einheit"\n[columns.offers]\nmulti = ","', []),
        ('title = ["name", "farbe de"]', []),
        ('[columns."Gewciht"]\nunit = "kg"', ["[columns.\"Gewciht\"] (did you mean 'Gewicht'?)"]),
        ('[columns."*_weight"]\nunit = "kg"', ['[columns."*_weight"]']),
        (
            "[columns.Gewicht]\nunit_column = 'Einheiten'",
            ["unit_column = 'Einheiten' of [columns.\"Gewicht\"] (did you mean 'Einheit'?)"],
        ),
        (
            "[columns.'Attribute*']\nunit_column = '{name}_unit'",
            ["unit_column = '{name}_unit' of [columns.\"Attribute*\"]"],
        ),
        ('title = ["titel"]\nproperties = ["x1", "sku"]', ["title = 'titel'", "properties = 'x1'"]),
        (
            '[[pairs]]\nname = "Attribute {n} name"\nvalue = "Attribute {n} wert"',
            ["pairs.value = 'Attribute {n} wert'"],
        ),
    ],
)
def test_names_that_no_column_fits(toml, names):
    assert absent('id = "sku"\n' + toml) == names


def test_a_column_that_is_needed_is_looked_for_among_those_that_there_are():
    error = absent_column(parse_mapping('id = "x"', "m"), "einheiten", COLUMNS)
    assert "needs column 'einheiten' (did you mean 'Einheit'?); the source has sku," in str(error)
