"""Parsed literals: what a value's text says as a number, a quantity with its unit, or a truth value."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from schema.units import Unit, convert, find_unit, spellings

DATATYPES = ("string", "integer", "decimal", "quantity", "boolean")

_TRUE = frozenset({"true", "yes", "y", "是", "有"})
_FALSE = frozenset({"false", "no", "n", "否", "无"})
# A leading zero marks a code, not a number; groups of three may be set off by commas.
_NUMBER = r"[+-]?(?:[1-9]\d{0,2}(?:,\d{3})+|0|[1-9]\d*)(?:\.\d+)?|[+-]?\.\d+|[+-]?\d+,\d{1,2}"
_FRACTION = r"(?:(?P<whole>\d+)[ -])?(?P<above>\d+)/(?P<below>[1-9]\d*)"
_PLAIN = re.compile(rf"(?:{_NUMBER})$")
_QUANTITY = re.compile(
    rf"(?:(?P<number>{_NUMBER})|{_FRACTION})[ -]?(?P<unit>[^\d\s,.+-][^\d]{{0,15}})$"
)
_MAX_DIGITS = 15  # more do not fit a float, and are identifiers anyway
_ENOUGH = 0.95  # share of a property's statements that must parse: a few wrong values shall not hide its datatype


def parse_literal(text: str, datatype: str, unit: str | None = None) -> float | int | bool | None:
    """The literal that a value's text stands for, in the property's unit ("12 in" is 30.48 in cm); None where it is none."""
    text = text.strip()
    if datatype == "boolean":
        return _boolean(text)
    if datatype == "quantity":
        return _quantity(text, find_unit(unit) if unit else None)
    number = _number(text)
    if datatype == "decimal":
        return number
    if datatype == "integer" and number is not None and number.is_integer() and "." not in text:
        return int(number)
    return None


def infer_datatype(values: Sequence[str], counts: Sequence[int]) -> tuple[str, str | None]:
    """Datatype and unit of a property: the narrowest that at least 95% of its statements parse as."""
    needed = _ENOUGH * sum(counts)
    for datatype in ("boolean", "integer", "decimal"):
        if (
            sum(
                count
                for value, count in zip(values, counts, strict=True)
                if parse_literal(value, datatype) is not None
            )
            >= needed
            > 0
        ):
            return datatype, None
    dimensions: Counter[str] = Counter()
    units: Counter[Unit] = Counter()
    for value, count in zip(values, counts, strict=True):
        split = _split(value.strip())
        if split:
            dimensions[split[1].dimension] += count
            units[split[1]] += count
    for dimension, count in dimensions.most_common(1):
        if count >= needed:
            return "quantity", max(
                (u for u in units if u.dimension == dimension), key=lambda u: (units[u], u.symbol)
            ).symbol
    return "string", None


def pattern_of(datatype: str, unit: str | None = None) -> str | None:
    """A regular expression, to be used without regard to case, that every text of the datatype matches; None where any text does.

    It is wider than :func:`parse_literal`: it does not count digits, and takes a unit in either case.
    """
    number = _NUMBER.replace("(?:", "(")
    if datatype == "boolean":
        body = "|".join(sorted(_TRUE | _FALSE))
    elif datatype == "integer":
        body = r"[+-]?([1-9]\d{0,2}(,\d{3})+|0|[1-9]\d*|\d+,0{1,2})"
    elif datatype == "decimal":
        body = number
    elif datatype == "quantity" and (known := find_unit(unit or "")):
        fraction = re.sub(r"\(\?(P<\w+>|:)", "(", _FRACTION)
        units = "|".join(
            r"\s+".join(map(re.escape, spelling.split())) for spelling in spellings(known.dimension)
        )
        body = rf"({number}|{fraction})([ -]?({units})\s*\.*)?"
    else:
        return None
    return rf"^\s*({body})\s*$"


def _boolean(text: str) -> bool | None:
    folded = text.casefold()
    return True if folded in _TRUE else False if folded in _FALSE else None


def _number(text: str) -> float | None:
    if not _PLAIN.match(text) or sum(map(str.isdigit, text)) > _MAX_DIGITS:
        return None
    if re.fullmatch(r"[+-]?\d+,\d{1,2}", text):
        return float(text.replace(",", "."))
    return float(text.replace(",", ""))


def _split(text: str) -> tuple[float, Unit] | None:
    match = _QUANTITY.match(text)
    unit = find_unit(match["unit"]) if match else None
    if match is None or unit is None:
        return None
    if match["number"]:
        number = _number(match["number"])
        return None if number is None else (number, unit)
    return int(match["whole"] or 0) + int(match["above"]) / int(match["below"]), unit


def _quantity(text: str, target: Unit | None) -> float | None:
    """A bare number is taken to be in the property's own unit."""
    split = _split(text)
    if split is None:
        return _number(text)
    return convert(split[0], split[1], target) if target else split[0]
