"""Literals: the number, the quantity with its unit, or the truth value in a statement's text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from schema.units import Unit, convert, find_unit, spellings

DATATYPES = ("string", "integer", "decimal", "quantity", "boolean")

TRUE_WORDS = frozenset({"true", "yes", "y", "是", "有"})
FALSE_WORDS = frozenset({"false", "no", "n", "否", "无"})

MAX_DIGITS = 15
"""A longer number does not fit a float exactly, and is an identifier anyway."""

MIN_PARSED_SHARE = 0.95
"""Share of a property's statements that must parse: a few wrong values do not hide its datatype."""

# A leading zero marks a code, not a number. Commas may separate groups of three digits; one comma
# followed by one or two digits is a decimal comma.
_NUMBER = r"[+-]?(?:[1-9]\d{0,2}(?:,\d{3})+|0|[1-9]\d*)(?:\.\d+)?|[+-]?\.\d+|[+-]?\d+,\d{1,2}"
_FRACTION = r"(?:(?P<whole>\d+)[ -])?(?P<numerator>\d+)/(?P<denominator>[1-9]\d*)"
_NUMBER_PATTERN = re.compile(rf"(?:{_NUMBER})$")
_QUANTITY_PATTERN = re.compile(
    rf"(?:(?P<number>{_NUMBER})|{_FRACTION})[ -]?(?P<unit>[^\d\s,.+-][^\d]{{0,15}})$"
)


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number and its unit, as they are written."""

    number: float
    unit: Unit


def parse_literal(text: str, datatype: str, unit: str | None = None) -> float | int | bool | None:
    """Return the literal that a text stands for; None if it does not parse as the datatype.

    A quantity is converted to ``unit``: "12 in" is 30.48 in "cm".
    """
    text = text.strip()
    if datatype == "boolean":
        return _parse_boolean(text)
    if datatype == "quantity":
        return _parse_in_unit(text, find_unit(unit) if unit else None)
    number = _parse_number(text)
    if datatype == "decimal":
        return number
    # "2.0" is a decimal, even though it is a whole number.
    if datatype == "integer" and number is not None and number.is_integer() and "." not in text:
        return int(number)
    return None


def infer_datatype(values: Sequence[str], counts: Sequence[int]) -> tuple[str, str | None]:
    """Return the datatype and the unit of a property from its values and how often each occurs.

    The datatype is the narrowest as which at least 95% of the statements parse.
    """
    needed = MIN_PARSED_SHARE * sum(counts)
    if needed == 0:
        return "string", None

    for datatype in ("boolean", "integer", "decimal"):
        parsed = sum(
            count
            for value, count in zip(values, counts, strict=True)
            if parse_literal(value, datatype) is not None
        )
        if parsed >= needed:
            return datatype, None

    dimensions: Counter[str] = Counter()
    units: Counter[Unit] = Counter()
    for value, count in zip(values, counts, strict=True):
        quantity = _parse_quantity(value.strip())
        if quantity is not None:
            dimensions[quantity.unit.dimension] += count
            units[quantity.unit] += count
    for dimension, count in dimensions.most_common(1):
        if count >= needed:
            candidates = [unit for unit in units if unit.dimension == dimension]
            # The symbol breaks ties, so that the order of the values does not matter.
            most_used = max(candidates, key=lambda unit: (units[unit], unit.symbol))
            return "quantity", most_used.symbol
    return "string", None


def pattern_of(datatype: str, unit: str | None = None) -> str | None:
    """Return a regular expression that every text of the datatype matches; None if any text does.

    It is meant for SHACL, and to be used case-insensitively. It accepts more than
    :func:`parse_literal`: it does not count digits, and takes a unit in upper or lower case.
    """
    # Patterns in SHACL are XPath's, which has neither non-capturing nor named groups.
    number = _NUMBER.replace("(?:", "(")
    if datatype == "boolean":
        body = "|".join(sorted(TRUE_WORDS | FALSE_WORDS))
    elif datatype == "integer":
        body = r"[+-]?([1-9]\d{0,2}(,\d{3})+|0|[1-9]\d*|\d+,0{1,2})"
    elif datatype == "decimal":
        body = number
    elif datatype == "quantity" and (property_unit := find_unit(unit or "")):
        fraction = re.sub(r"\(\?(P<\w+>|:)", "(", _FRACTION)
        units = "|".join(
            r"\s+".join(map(re.escape, spelling.split()))
            for spelling in spellings(property_unit.dimension)
        )
        body = rf"({number}|{fraction})([ -]?({units})\s*\.*)?"
    else:
        return None
    return rf"^\s*({body})\s*$"


def _parse_boolean(text: str) -> bool | None:
    folded = text.casefold()
    if folded in TRUE_WORDS:
        return True
    return False if folded in FALSE_WORDS else None


def _parse_number(text: str) -> float | None:
    if not _NUMBER_PATTERN.match(text) or sum(map(str.isdigit, text)) > MAX_DIGITS:
        return None
    if re.fullmatch(r"[+-]?\d+,\d{1,2}", text):
        return float(text.replace(",", "."))
    return float(text.replace(",", ""))


def _parse_quantity(text: str) -> Quantity | None:
    """Parse a number that is followed by a unit, like "1,5 kg" or "5 1/2 in"."""
    match = _QUANTITY_PATTERN.match(text)
    unit = find_unit(match["unit"]) if match else None
    if match is None or unit is None:
        return None
    if match["number"]:
        number = _parse_number(match["number"])
        return None if number is None else Quantity(number, unit)
    fraction = int(match["numerator"]) / int(match["denominator"])
    return Quantity(int(match["whole"] or 0) + fraction, unit)


def _parse_in_unit(text: str, target: Unit | None) -> float | None:
    """Parse a quantity and convert it; a bare number is taken to be in the target unit already."""
    quantity = _parse_quantity(text)
    if quantity is None:
        return _parse_number(text)
    return convert(quantity.number, quantity.unit, target) if target else quantity.number
