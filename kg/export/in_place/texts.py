"""How a value may be written in a cell of a column: in the column's own way first."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from kg.ingest.values.text import clean
from schema.locales import find_locale
from schema.mapping import ColumnSettings, Mapping
from schema.mapping.unit_codes import is_bare_number, unit_text, with_unit
from schema.units import find_unit

_COMMA = re.compile(r"\D*\d+,\d+\D*")
_POINT = re.compile(r"\D*\d+\.\d+\D*")
_DECIMAL = re.compile(r"(?<!\d)(?<![.,])\d+[.,]\d+(?![\d.,])")
_AMOUNT = re.compile(r"(?P<number>[-+]?\d[\d.,'’ \u00a0\u202f]*?)\s*(?P<unit>[^\s\d.,][^\d]*)")


@dataclass(frozen=True, slots=True)
class Amount:
    """A number and its unit, as they are written."""

    number: str
    unit: str


@dataclass(frozen=True, slots=True)
class CellText:
    """A text for a cell, the text for the cell of its unit if it has one, and the value meant."""

    text: str
    value: str
    unit: str | None = None


def amount_of(value: str) -> Amount | None:
    """Return a number and its unit apart; None if a text is not just that."""
    found = _AMOUNT.fullmatch(value.strip())
    return Amount(found["number"], found["unit"].strip()) if found else None


def is_same_unit(one: str, other: str) -> bool:
    """Return whether two names are those of one unit."""
    first = unit_text(one)
    second = unit_text(other)
    if first == second:
        return True
    found = find_unit(first)
    return found is not None and found == find_unit(second)


def decimal_mark(texts: Iterable[str | None], settings: ColumnSettings, mapping: Mapping) -> str:
    """Return the decimal mark of a column: what the mapping or else its cells say, or ""."""
    locale = settings.locale or mapping.locale
    if locale:
        return find_locale(locale).decimal_mark
    commas = 0
    points = 0
    for text in texts:
        if text:
            commas += _COMMA.fullmatch(text) is not None
            points += _POINT.fullmatch(text) is not None
    if commas == points:
        return ""
    return "," if commas > points else "."


def with_mark(value: str, mark: str) -> str:
    """Return a value in which a single number with decimals has another decimal mark."""
    numbers = _DECIMAL.findall(value)
    if not mark or len(numbers) != 1:
        return value
    number = numbers[0]
    whole, sign, decimals = re.split(r"([.,])", number)
    if sign == mark:
        return value
    return value.replace(number, f"{whole}{mark}{decimals}")


def cell_texts(
    value: str,
    settings: ColumnSettings,
    mark: str,
    unit_cell: str | None = None,
) -> list[CellText]:
    """Return how a value may be written, the best way first.

    ``unit_cell`` is what the column of its unit says in the row, "" if that is empty, and None if
    there is no such column.
    """
    ways: list[CellText] = []
    spellings = list(dict.fromkeys((with_mark(value, mark), value)))
    for spelled in spellings:
        amount = amount_of(spelled)
        if amount is not None and is_bare_number(amount.number):
            if settings.unit is not None and is_same_unit(settings.unit, amount.unit):
                meant = with_unit(amount.number, settings.unit)
                ways.append(CellText(amount.number, meant))
            elif unit_cell is not None and (
                not unit_cell.strip() or is_same_unit(unit_cell, amount.unit)
            ):
                unit = unit_cell.strip() or amount.unit
                meant = with_unit(amount.number, unit)
                given = None if unit_cell.strip() else amount.unit
                ways.append(CellText(amount.number, meant, given))
    ways += [CellText(spelled, spelled) for spelled in spellings]
    return [way for way in ways if clean(way.text)]
