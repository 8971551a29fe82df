"""Numbers and the units in the cells beside them; either cell may hold several."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from kg.ingest.values.missing import word_key
from kg.ingest.values.text import LIST_SEPARATOR, split_quoted
from schema.mapping.unit_codes import has_other_unit, is_bare_number, with_unit


class UnitFault(Enum):
    """Why a unit beside a cell was not used, in words that follow the number of such cells."""

    OTHER_UNIT = "have a unit of their own, which they keep, and another one beside them"
    OTHER_COUNT = "have no unit: those beside them are more or fewer than their values"


@dataclass(frozen=True)
class CellSigns:
    """What stands between the values of a cell, whether these may be quoted, and which are none.

    ``missing`` are keys of words for nothing. A number that is one gets no unit: with it, it would
    be a value.
    """

    separator: str | None = None
    quoted: bool = False
    missing: frozenset[str] = frozenset()

    def is_missing(self, value: str) -> bool:
        """Return whether a value is a word for nothing."""
        return bool(self.missing) and word_key(value) in self.missing

    def split(self, text: str) -> list[str]:
        """Return the values of a cell, or of one that holds as many units."""
        if not self._is_list(text):
            return [text]
        return [value for piece in text.split(LIST_SEPARATOR) for value in self._split(piece)]

    def join(self, values: list[str]) -> str:
        """Return values as one cell, which falls apart into the same ones."""
        if not (self.quoted and self.separator):
            return LIST_SEPARATOR.join(values)
        return self.separator.join(map(self._with_quotes, values))

    def _is_list(self, text: str) -> bool:
        return LIST_SEPARATOR in text or bool(self.separator and self.separator in text)

    def _split(self, text: str) -> list[str]:
        if not self.separator:
            return [text]
        return split_quoted(text, self.separator) if self.quoted else text.split(self.separator)

    def _with_quotes(self, value: str) -> str:
        if self.separator is None or self.separator not in value:
            return value
        doubled = value.replace('"', '""')
        return f'"{doubled}"'


@dataclass(frozen=True)
class JoinedCell:
    """The text of a cell with its units, and why they were not used if they were not."""

    text: str
    fault: UnitFault | None = None


def join_units(text: str, unit: str, signs: CellSigns) -> JoinedCell:
    """Return the text of a cell in which each bare number has its unit.

    One unit is that of all values; several are those of as many values.
    """
    values = signs.split(text)
    units = signs.split(unit)
    if len(units) == 1:
        units *= len(values)
    if len(units) != len(values):
        is_number = any(map(is_bare_number, values))
        return JoinedCell(text, UnitFault.OTHER_COUNT if is_number else None)
    fault = None
    if any(map(has_other_unit, values, units)):
        fault = UnitFault.OTHER_UNIT
    joined = [
        value if signs.is_missing(value) else with_unit(value, each)
        for value, each in zip(values, units, strict=True)
    ]
    if joined == values:
        return JoinedCell(text, fault)
    return JoinedCell(joined[0] if len(joined) == 1 else signs.join(joined), fault)
