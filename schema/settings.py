"""Checks of values from configuration files: their type, and the limits of numbers.

A configuration may come from anywhere, with a text where a number belongs, or with a number of
layers that no memory holds. So each value is checked before anything is made from it.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from schema.errors import UsageError

MAX_TEXT = 1_000_000
"""Characters of a text in a configuration."""

MAX_NUMBERS = 64
"""Numbers in a list."""


@dataclass(frozen=True)
class Limits:
    """The least and the greatest value of a number, or of each number in a list."""

    least: float
    greatest: float

    def check(self, name: str, value: float) -> None:
        """Raise UsageError unless ``value`` of the setting ``name`` is within the limits."""
        # A power beyond the range of floats would be no valid operand of a comparison with one.
        if value < self.least:
            raise UsageError(
                f"{name}={shown(value)} is below its minimum {_number(self.least)}: "
                f"set {name} to {_number(self.least)} or more"
            )
        if value > self.greatest:
            raise UsageError(
                f"{name}={shown(value)} is above its maximum {_number(self.greatest)}: "
                f"set {name} to {_number(self.greatest)} or less"
            )


def shown(value: object) -> str:
    """Return a value as it is written in Python, cut off in the middle if it is long."""
    # A number of thousands of digits cannot even be written.
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**18:
        return f"{'-' if value < 0 else ''}1e{int(abs(value).bit_length() * math.log10(2))}"
    return _SHORT.repr(value)


_SHORT = reprlib.Repr()
_SHORT.maxstring = 60
_SHORT.maxother = 60


def check_type(name: str, value: object, like: object) -> None:
    """Raise UsageError unless a setting's value has the type of its default, ``like``.

    A whole number may stand for any number, but neither a truth value nor NaN or infinity may.
    """
    match like:
        case bool():
            fits = isinstance(value, bool)
            wanted = "true or false"
        case int():
            fits = isinstance(value, int) and not isinstance(value, bool)
            wanted = f"a whole number such as {like}"
        case float():
            # math.isfinite fails on whole numbers beyond the range of floats, which are finite.
            fits = isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
            fits = fits and not isinstance(value, bool)
            wanted = f"a number such as {like}"
        case str():
            fits = isinstance(value, str) and len(value) <= MAX_TEXT and "\0" not in value
            wanted = f"a text of at most {MAX_TEXT:,} characters"
        case tuple():
            fits = (
                isinstance(value, tuple | list)
                and len(value) <= MAX_NUMBERS
                and all(isinstance(each, int) and not isinstance(each, bool) for each in value)
            )
            wanted = f"a list of at most {MAX_NUMBERS} whole numbers such as {list(like)}"
        case _:
            fits = isinstance(value, Mapping)
            wanted = "a table"
    if not fits:
        raise UsageError(f"{name}={shown(value)} does not fit: set {name} to {wanted}")


def check_limits(name: str, value: Any, limits: Limits) -> None:
    """Raise UsageError unless a number, or each number of a list, is within limits."""
    for each in value if isinstance(value, tuple | list) else (value,):
        limits.check(name, each)


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else str(value)
