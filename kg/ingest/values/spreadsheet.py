"""What spreadsheets do to cells: marks that keep a text a text, and numbers that were texts.

``="00123"`` and ``'00123`` are how people keep Excel from dropping zeros: the text is 00123.
``4.01235E+12`` is what Excel makes of a long number: digits are lost, and nothing brings them back.
``4012345600022.0`` is what pandas makes of one in a column with gaps: nothing is lost.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_FORMULA_TEXT = re.compile(r"=\s*\"((?:[^\"]|\"\")*)\"\Z")
_MARKED_NUMBER = re.compile(r"'\+?[0-9][0-9 ]*\Z")
_YEAR_OF_CENTURY = re.compile(r"'[1-9][0-9]\Z")

# One digit, a mark and further digits, or a sign: nobody writes an article number like that.
_CERTAIN_EXPONENT = re.compile(
    r"[+-]?[0-9][.,][0-9]+[eE][+-]?[0-9]{1,3}\Z|[+-]?[0-9]+[eE]\+[0-9]{1,3}\Z"
)
_POSSIBLE_EXPONENT = re.compile(r"[0-9]+[eE][0-9]{1,2}\Z")
_WHOLE = re.compile(r"[0-9]+\Z")
_WHOLE_AS_DECIMAL = re.compile(r"([0-9]{1,15})[.,]0{1,2}\Z")
LONG_NUMBER = 8
"""Digits from which on a number is rather an identifier than an amount."""


@dataclass(frozen=True, slots=True)
class NumberForms:
    """How many texts of a column are whole numbers, long ones, decimals, and other texts."""

    whole: int = 0
    long: int = 0
    decimal: int = 0
    other: int = 0

    def __add__(self, more: NumberForms) -> NumberForms:
        """Return the sums of both."""
        return NumberForms(
            self.whole + more.whole,
            self.long + more.long,
            self.decimal + more.decimal,
            self.other + more.other,
        )

    @property
    def are_long(self) -> bool:
        """Whether long numbers are the rule, so that what looks like an exponent was one."""
        return self.long > self.other + self.decimal

    @property
    def are_decimal(self) -> bool:
        """Whether there are decimals, so that a whole number may be written as one."""
        return self.decimal > 0

    @classmethod
    def of(cls, text: str) -> NumberForms:
        """Return the form of one text."""
        if _WHOLE.match(text):
            return cls(whole=1, long=int(len(text) >= LONG_NUMBER))
        if _WHOLE_AS_DECIMAL.match(text) or _CERTAIN_EXPONENT.match(text):
            return cls()
        if re.match(r"[0-9]+[.,][0-9]+\Z", text):
            return cls(decimal=1)
        return cls() if _POSSIBLE_EXPONENT.match(text) else cls(other=1)


def unwrapped(text: str) -> str:
    """Return the text in ``="..."``, or without the apostrophe before a number."""
    if text.startswith("="):
        formula = _FORMULA_TEXT.match(text)
        return formula[1].replace('""', '"') if formula else text
    if text.startswith("'") and _MARKED_NUMBER.match(text) and not _YEAR_OF_CENTURY.match(text):
        return text[1:]
    return text


def is_spoilt(text: str, forms: NumberForms) -> bool:
    """Return whether an identifier was turned into a number that has lost its last digits.

    ``1E5`` is an article number, unless all else in its column are long numbers.
    """
    if _CERTAIN_EXPONENT.match(text):
        return True
    return bool(_POSSIBLE_EXPONENT.match(text)) and forms.are_long


def depends_on_forms(text: str) -> bool:
    """Return whether the forms of its column decide what an identifier was, see the others here."""
    return bool(_POSSIBLE_EXPONENT.match(text) or _WHOLE_AS_DECIMAL.match(text))


def as_whole(text: str, forms: NumberForms) -> str | None:
    """Return the digits of an identifier that became ``4012345600022.0``; None for all others.

    In a column of decimals, such as versions, ``2024.0`` is as it should be.
    """
    decimal = _WHOLE_AS_DECIMAL.match(text)
    return decimal[1] if decimal and not forms.are_decimal else None
