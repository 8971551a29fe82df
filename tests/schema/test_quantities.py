"""Quantities in the forms that catalogues write, and prices."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.currencies import parse_price
from schema.quantities import Context, Dimensions, Quantity, Range, parse_quantity
from schema.units import find_unit


def read(text: str, context: Context | None = None) -> tuple[object, str] | None:
    quantity = parse_quantity(text, context or Context())
    return None if quantity is None else (quantity.amount, quantity.unit.symbol)


@pytest.mark.parametrize(
    ("text", "number", "unit"),
    [
        ("1.2kg", 1.2, "kg"),
        ("30,5 cm", 30.5, "cm"),
        ("5'11\"", 71 / 12, "ft"),
        ("5′ 7″", 67 / 12, "ft"),
        ("6'2", 74 / 12, "ft"),
        ("6 ft 1 in", 73 / 12, "ft"),
        ("5 ft. 11 in.", 71 / 12, "ft"),
        ("2 lbs 3 oz", 2.1875, "lb"),
        ("1 h 30 min", 1.5, "h"),
        ("1h30", 1.5, "h"),
        ("approx. 2 kg", 2, "kg"),
        ("ca. 2 kg", 2, "kg"),
        ("~2 kg", 2, "kg"),
        ("约2公斤", 2, "kg"),
        ("1/2 in", 0.5, "in"),
        ('3/4"', 0.75, "in"),
        ("1 1/2 in", 1.5, "in"),
        ("1-1/2 in", 1.5, "in"),
        ('1½"', 1.5, "in"),
        ("½ Zoll", 0.5, "in"),
        ("33cl", 33, "cl"),
        ("16.9 fl. oz.", 16.9, "fl oz"),
        ("15.6”", 15.6, "in"),
        ("55″", 55, "in"),
        ("1'299 g", 1299, "g"),
        ("10 см", 10, "cm"),
        ("24 Monate", 24, "month"),
        ("50 m^2", 50, "m²"),
        ("3 mg/ml", 3, "mg/ml"),
        ("30.5 cm (12 in)", 30.5, "cm"),
        ("12 in / 30.5 cm", 12, "in"),
        ("12 fl. oz. (355 ml)", 12, "fl oz"),
    ],
)
def test_one_number(text: str, number: float, unit: str) -> None:
    assert read(text) == (pytest.approx(number), unit)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("10-20 cm", 10, 20),
        ("10 – 20 cm", 10, 20),
        ("10cm-20cm", 10, 20),
        ("10 to 20 cm", 10, 20),
        ("10 bis 20 cm", 10, 20),
        ("10 ± 0.5 cm", 9.5, 10.5),
        ("max. 20 cm", None, 20),
        ("20 cm max", None, 20),
        ("<20 cm", None, 20),
        ("ab 10 cm", 10, None),
        ("≥ 10 cm", 10, None),
    ],
)
def test_ranges(text: str, low: float | None, high: float | None) -> None:
    assert read(text) == (Range(low, high), "cm")


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("10 x 20 x 5 cm", (10, 20, 5)),
        ("10x20x5cm", (10, 20, 5)),
        ("10 cm × 20 cm × 5 cm", (10, 20, 5)),
        ("B 10 x T 20 x H 5 cm", (10, 20, 5)),
        ("10 (W) x 20 (D) x 5 cm", (10, 20, 5)),
        ("10 by 20 cm", (10, 20)),
        ("0,1 m x 20 cm", (10, 20)),
    ],
)
def test_dimensions(text: str, numbers: tuple[float, ...]) -> None:
    assert read(text) == (Dimensions(numbers), "cm")


@pytest.mark.parametrize(
    "text",
    [
        *[
            "500 G",
            "5G",
            "10 M",
            "M8",
            "10 apples",
            "3 in 1",
            "2-in-1",
            "16:9",
            "110/230 V",
            "US 9",
        ],
        *[
            "100 % cotton",
            "5 GB RAM",
            "1 ft 20 in",
            "4 x 100 g",
            "90 x 200",
            "30 cm (5 in)",
            "5/10 A",
        ],
        *["12 mm, 14 mm", "10 kg - 5 kg", "10 - 20", "kg", "", "12", "1 kg 2 cm"],
    ],
)
def test_other_texts_are_no_quantities(text: str) -> None:
    assert read(text) is None


def test_the_dimension_of_a_property_explains_its_letters() -> None:
    assert read("500 G", Context("mass")) == (500, "g")
    assert read("500 G", Context("magnetic flux density")) == (500, "G")
    assert read("2700 K", Context("temperature")) == (2700, "K")


def test_the_unit_of_a_property_is_that_of_bare_numbers() -> None:
    centimetres = find_unit("cm")
    assert centimetres is not None
    context = Context("length", centimetres)
    assert parse_quantity("12", context) == Quantity(12.0, centimetres, has_unit=False)
    assert read("90 x 200", context) == (Dimensions((90, 200)), "cm")


@given(
    st.floats(0.001, 1e6).map(lambda number: float(f"{number:.6g}")),
    st.sampled_from(["kg", "cm", "fl oz", "°C", "GB", "km/h", "mg/ml"]),
    st.sampled_from(["{:f} {}", "{:f}{}", "~{:f} {}"]),
)
def test_a_formatted_quantity_is_itself(number: float, unit: str, form: str) -> None:
    assert read(form.format(number, unit)) == (pytest.approx(number, abs=1e-6), unit)


@given(st.text(st.sampled_from("0123456789.,/-x×± kgcmft'\"()")))
def test_any_text_is_read_or_not(text: str) -> None:
    parse_quantity(text)
    parse_quantity(text, Context("length", find_unit("cm"), ","))


@pytest.mark.parametrize("unit", ["1", "1 ", "1,", "1 x ", "1/2 ", "1kg ", "-", "(1", "1 - ", "±1"])
def test_no_text_takes_long(unit: str) -> None:
    started = time.process_time()
    for length in range(64):
        parse_quantity((unit * 64)[:length] + "kg")
    parse_quantity(unit * 100_000)
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    ("text", "number", "currency"),
    [
        ("89,00 €", 89, "EUR"),
        ("EUR 12.90", 12.9, "EUR"),
        ("$1,299", 1299, "USD"),
        ("US$ 5", 5, "USD"),
        ("CHF 1'299.00", 1299, "CHF"),
        ("12,- €", 12, "EUR"),
        ("12.–", 12, None),
        ("₹1,00,000", 100000, "INR"),
        ("1299円", 1299, "JPY"),
        ("-5 €", -5, "EUR"),
        ("89,90 zł", 89.9, "PLN"),
        ("12 kr", 12, "kr"),
    ],
)
def test_prices(text: str, number: float, currency: str | None) -> None:
    price = parse_price(text)
    assert price is not None
    assert (price.number, price.currency) == (number, currency)


@pytest.mark.parametrize("text", ["$5 €", "€", "12 ft", "12,90 EUR/kg", "--5 €", "5 for $10"])
def test_other_texts_are_no_prices(text: str) -> None:
    assert parse_price(text) is None
