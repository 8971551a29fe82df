"""Units of measure, compared with pint's."""

from __future__ import annotations

from typing import Any

import pint
import pytest

from schema.property_names import name_hint
from schema.unit_table import UNIT_ROWS, UnitRow
from schema.units import convert, dimension_text, find_unit, spellings

ROWS = [row for rows in UNIT_ROWS.values() for row in rows]
BASES = {"data": "byte", "data rate": "byte/second", "frequency": "hertz", "temperature": "kelvin"}


@pytest.fixture(scope="module")
def registry() -> pint.UnitRegistry[float]:
    return pint.UnitRegistry()


def test_every_unit_is_pints(registry: pint.UnitRegistry[float]) -> None:
    def factor(dimension: str, row: UnitRow) -> float:
        quantity: Any = registry.Quantity(row.pint)
        if row.offset:
            return registry.Quantity(1, row.pint).to("kelvin").magnitude - row.offset
        base = BASES.get(dimension)
        return float((quantity.to(base) if base else quantity.to_base_units()).magnitude)

    wrong = [
        row.symbol
        for dimension, rows in UNIT_ROWS.items()
        for row in rows
        if factor(dimension, row) != pytest.approx(row.factor, rel=1e-9)
    ]
    assert wrong == []


def test_the_units_of_a_dimension_are_convertible(registry: pint.UnitRegistry[float]) -> None:
    for rows in UNIT_ROWS.values():
        dimensions = {_dimension(registry, each) for each in rows}
        assert len(dimensions) == 1, rows


def _dimension(registry: pint.UnitRegistry[float], row: UnitRow) -> str:
    # Degrees have an offset, and cannot be multiplied by a number.
    unit = registry.Quantity(1, row.pint) if row.offset else registry.Quantity(row.pint)
    return dimension_text(unit)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.symbol)
def test_a_unit_is_found_by_its_symbol(row: UnitRow) -> None:
    dimension = next(name for name, rows in UNIT_ROWS.items() if row in rows)
    unit = find_unit(row.symbol, dimension)
    assert unit is not None
    assert (unit.symbol, unit.dimension) == (row.symbol, dimension)


@pytest.mark.parametrize(
    ("text", "symbol"),
    [
        *[("KG", "kg"), ("lbs.", "lb"), ("fl. oz.", "fl oz"), ("Inches", "in"), ("''", "in")],
        *[("Zoll", "in"), ("pouces", "in"), ("дюймов", "in"), ("グラム", "g"), ("Gramm", "g")],
        *[("Litres", "l"), ("mililitros", "ml"), ("Stunden", "h"), ("años", "year"), ("qm", "m²")],
        *[("MW", "MW"), ("mW", "mW"), ("gb", "GB"), ("Nm", "Nm"), ("nm", "nm"), ("U/min", "rpm")],
    ],
)
def test_spellings(text: str, symbol: str) -> None:
    unit = find_unit(text)
    assert unit is not None
    assert unit.symbol == symbol


@pytest.mark.parametrize("text", ["M", "G", "K", "S", "mw", "apples", "", "x/y", "a" * 99, "%/%"])
def test_other_texts_are_no_units(text: str) -> None:
    assert find_unit(text) is None


def test_composed_units_are_converted_by_pint() -> None:
    per_litre = find_unit("g/l")
    per_millilitre = find_unit("mg/ml")
    assert per_litre
    assert per_millilitre
    assert convert(1, per_litre, per_millilitre) == 1
    speed = find_unit("cm/s")
    assert speed
    assert speed.dimension == "speed"


def test_all_spellings_of_a_dimension_are_listed() -> None:
    assert {"kg", "gramm", "盎司"} <= set(spellings("mass"))


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        *[("weight_kg", "kg"), ("Gewicht (g)", "g"), ("Weight [kg]", "kg"), ("length/mm", "mm")],
        *[("Breite, cm", "cm"), ("weightKg", "kg"), ("screen size (in)", "in"), ("width_in", "in")],
        *[
            ("Inhalt (l)", "l"),
            ("voltage (V)", "V"),
            ("memory_gb", "GB"),
            ("Duration (min)", "min"),
        ],
    ],
)
def test_a_name_may_have_a_unit(name: str, unit: str) -> None:
    found = name_hint(name).unit
    assert found is not None
    assert found.symbol == unit


@pytest.mark.parametrize(
    "name",
    [
        *["made_in", "model_year", "price_min", "box_h", "Size (L)", "vitamin_c", "size_m", "year"],
        *["Price (min)", "Dimension (W)", "colour", "net_weight"],
    ],
)
def test_most_names_have_none(name: str) -> None:
    assert name_hint(name).unit is None


@pytest.mark.parametrize("name", ["Preis (€)", "price_eur", "Preis in EUR"])
def test_a_name_may_have_a_currency(name: str) -> None:
    assert name_hint(name).currency == "EUR"
