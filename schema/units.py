"""Units of measure: how catalogues spell them, what they measure, and how to convert them.

Those of ``schema/unit_table.py`` are known at once. What is composed of them (``mg/ml``, ``W/m²``)
is left to pint, which is loaded for that alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from schema.unit_table import (
    CERTAIN_LETTERS,
    DIMENSION_NAMES,
    EXACT_ONLY,
    SHARED_LETTERS,
    UNIT_ROWS,
)

if TYPE_CHECKING:
    import pint


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of measure.

    ``factor * x + offset`` converts a number x to the dimension's base unit, which itself need not
    be in the table (bytes, kelvins).
    """

    symbol: str
    dimension: str
    factor: float
    offset: float = 0.0


# The unit of each exact spelling, and of each casefolded one.
_EXACT: dict[str, Unit] = {}
_CASEFOLDED: dict[str, Unit] = {}
_SHARED: dict[tuple[str, str], Unit] = {}
_PINT_NAMES: dict[Unit, str] = {}


def _index_spellings() -> None:
    symbols: dict[tuple[str, str], Unit] = {}
    for dimension, rows in UNIT_ROWS.items():
        for row in rows:
            unit = Unit(row.symbol, dimension, row.factor, row.offset)
            symbols[dimension, row.symbol] = unit
            _PINT_NAMES[unit] = row.pint
            for spelling in (row.symbol, *filter(None, row.spellings.split("|"))):
                if spelling.isascii() and spelling.isalpha() and len(spelling) == 1:
                    # A single letter is too ambiguous in another case (sizes S, M and L; 5G).
                    if spelling in CERTAIN_LETTERS:
                        _EXACT.setdefault(spelling, unit)
                    continue
                _EXACT.setdefault(spelling, unit)
                if spelling not in EXACT_ONLY:
                    _CASEFOLDED.setdefault(spelling.casefold(), unit)
    for dimension, letters in SHARED_LETTERS.items():
        for letter, symbol in letters.items():
            _SHARED[dimension, letter] = symbols[dimension, symbol]


_index_spellings()

DIMENSIONS = frozenset(UNIT_ROWS)
MAX_SPELLING = 24
_COMPOSED = re.compile(
    r"[^\W\d_]{1,4}[23²³]?(?:[/·*][^\W\d_]{1,4}[23²³]?){1,2}\Z|[^\W\d_]{1,4}[²³]\Z"
)
_FACTOR = re.compile(r"([/·*]?)([^\W\d_]+)([23²³]?)")


def find_unit(text: str, dimension: str | None = None) -> Unit | None:
    """Return the unit of a spelling like "in", "Inches" or "厘米"; None if there is none.

    Where the ``dimension`` is known, single letters are units in any case: 500 G of mass are grams.
    """
    text = " ".join(text.split())
    if not text or len(text) > MAX_SPELLING:
        return None
    if dimension is not None:
        shared = _SHARED.get((dimension, text.rstrip(".").casefold()))
        if shared is not None and _EXACT.get(text, shared).dimension == dimension:
            return _EXACT.get(text, shared)
    # The text with its dots is looked up first, because "fl.oz." is a spelling of its own.
    for spelling in (text, text.rstrip("."), " ".join(text.replace(".", " ").split())):
        unit = _EXACT.get(spelling) or _CASEFOLDED.get(spelling.casefold())
        if unit is not None:
            return unit
    return _composed_unit(text) if _COMPOSED.match(text) else None


def spellings(dimension: str) -> list[str]:
    """Return every spelling of every unit of a dimension, longest first."""
    texts = [text for text, unit in _EXACT.items() if unit.dimension == dimension]
    return sorted(texts, key=lambda text: (-len(text), text))


def convert(number: float, unit: Unit, target: Unit) -> float | None:
    """Convert a number to another unit; None if the two measure different things."""
    if unit == target:
        return number
    if unit.dimension != target.dimension:
        return None
    # Ten significant digits, so that 12 in are 30.48 cm and not 30.479999999999997.
    return rounded((base_number(number, unit) - target.offset) / target.factor)


def base_number(number: float, unit: Unit) -> float:
    """Return a number of a unit in the base unit of its dimension."""
    return unit.factor * number + unit.offset


def rounded(number: float) -> float:
    """Return a number with ten significant digits."""
    return float(f"{number:.10g}")


@lru_cache(maxsize=4096)
def _composed_unit(text: str) -> Unit | None:
    """Return the unit that is composed of units of the table, as pint understands it."""
    expression = "1"
    for operator, name, exponent in _FACTOR.findall(text):
        part = _EXACT.get(name) or _CASEFOLDED.get(name.casefold())
        # A degree has an offset; a quotient of percents or pixels is no unit of anything.
        if part is None or part.offset or "degree" in _PINT_NAMES[part]:
            return None
        power = {"2": 2, "²": 2, "3": 3, "³": 3}.get(exponent, 1)
        expression += f" {'/' if operator == '/' else '*'} ({_PINT_NAMES[part]})**{power}"
    quantity = _pint_quantity(expression)
    dimension = dimension_text(quantity)
    if not dimension:
        return None
    return Unit(text, DIMENSION_NAMES.get(dimension, dimension), float(quantity.magnitude))


def dimension_text(quantity: Any) -> str:
    """Return the dimension of a quantity of pint, such as "length time^-1"."""
    powers = sorted((name.strip("[]"), power) for name, power in quantity.dimensionality.items())
    return " ".join(name if power == 1 else f"{name}^{power:g}" for name, power in powers)


def _pint_quantity(expression: str) -> Any:
    return _registry().Quantity(expression).to_base_units()


@cache
def _registry() -> pint.UnitRegistry[float]:
    import pint

    return pint.UnitRegistry()
