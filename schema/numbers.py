"""Numbers as catalogues write them, in any locale.

Either mark can be the decimal one: ``1.234,5`` in Germany, ``1,234.5`` in the USA, ``1'234.5`` in
Switzerland, ``1,23,456.7`` in India, ``1 234,5`` in France. Most numbers can be read in only one
way. A mark with three digits behind it can be either (``1,250``), so the other numbers of its
property, or else those of the rest of the catalogue, decide.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_DIGITS = 15
"""A longer number does not fit a float exactly, and is an identifier anyway."""

UNCLEAR = "unclear"
DECIMAL_MARKS = (".", ",", UNCLEAR)
"""Of numbers that can be read in two ways: the decimal mark, or evidence for both, in which case
such a number is none. Without any evidence it is the point, and a comma groups digits."""

_SPACES = " \u00a0\u2009\u202f"
_APOSTROPHES = "'\u2019\u02bc"
# A leading zero marks a code, not a number.
_WHOLE = r"(?:0|[1-9][0-9]*)"
_GROUPED = (
    rf"[1-9][0-9]{{0,2}}(?:(?:,[0-9]{{3}})+(?:\.[0-9]+)?|(?:\.[0-9]{{3}})+(?:,[0-9]+)?"
    rf"|(?:[{_SPACES}][0-9]{{3}})+(?:[.,][0-9]+)?|(?:[{_APOSTROPHES}][0-9]{{3}})+(?:[.,][0-9]+)?)"
    # Crores and lakhs have two digits, thousands three.
    r"|[1-9][0-9]?(?:,[0-9]{2})+,[0-9]{3}(?:\.[0-9]+)?"
)
NUMBER = rf"[+\-\u2212]?(?:{_GROUPED}|{_WHOLE}(?:[.,][0-9]+)?|[.,][0-9]+)"
"""A regular expression of every number, without named groups."""

WHOLE_NUMBER = (
    rf"[+\-\u2212]?(?:[1-9][0-9]{{0,2}}(?:[,.{_SPACES}{_APOSTROPHES}][0-9]{{3}})+"
    rf"|[1-9][0-9]?(?:,[0-9]{{2}})+,[0-9]{{3}}|{_WHOLE})"
)
"""A regular expression of every number without decimals."""

_NUMBER_PATTERN = re.compile(rf"{NUMBER}\Z")
_PLAIN = re.compile(r"[+-]?(?:0|[1-9][0-9]*)(?:\.[0-9]{1,2}|\.[0-9]{4,})?\Z")
_AMBIGUOUS = re.compile(r"[+\-\u2212]?[1-9][0-9]{0,2}([.,])[0-9]{3}\Z")
_UNGROUPED = str.maketrans("", "", _SPACES + _APOSTROPHES)


@dataclass(frozen=True, slots=True)
class MarkVotes:
    """How many numbers have a decimal point or a decimal comma, or could have either.

    ``either`` counts those with three digits behind their only mark.
    """

    point: int = 0
    comma: int = 0
    either: int = 0

    def __add__(self, more: MarkVotes) -> MarkVotes:
        """Return the sums of both."""
        return MarkVotes(
            self.point + more.point, self.comma + more.comma, self.either + more.either
        )


CLEAR_SHARE = 0.9
"""The share of a property's numbers that must have the same decimal mark."""


def decimal_mark_of(text: str) -> str | None:
    """Return the decimal mark that a number proves; UNCLEAR if it could be either, None if none."""
    ambiguous = _AMBIGUOUS.match(text)
    if ambiguous:
        return UNCLEAR
    point = text.rfind(".")
    comma = text.rfind(",")
    if point < 0 and comma < 0:
        return None
    last = "." if point > comma else ","
    other = "," if last == "." else "."
    # Several equal marks group digits, and so does the first of two different ones.
    return other if text.count(last) > 1 else last


def decide_decimal_mark(own: MarkVotes, elsewhere: str = ".") -> str:
    """Return the decimal mark of a property's ambiguous numbers, one of ``DECIMAL_MARKS``.

    ``elsewhere`` is the mark of the catalogue's other numbers.
    """
    certain = own.point + own.comma
    if not certain:
        return elsewhere if own.either else "."
    if own.comma >= CLEAR_SHARE * certain:
        return ","
    return UNCLEAR if own.either and own.point < CLEAR_SHARE * certain else "."


def usual_decimal_mark(properties: list[MarkVotes]) -> str:
    """Return the decimal mark that a catalogue's numbers have, going by its properties.

    Sources with a decimal comma have numbers with a point as well, such as versions, but the
    reverse is rare: a comma in half of the properties is enough.
    """
    marks = [decide_decimal_mark(votes) for votes in properties if votes.point or votes.comma]
    commas = marks.count(",")
    return "," if commas and commas >= marks.count(".") else "."


def parse_number(text: str, decimal_mark: str = ".") -> float | None:
    """Return the number that a text is; None if it is none, or has more than 15 digits.

    ``decimal_mark``, one of ``DECIMAL_MARKS``, is that of ambiguous numbers.
    """
    if _PLAIN.match(text):
        return float(text) if len(text) <= MAX_DIGITS or _few_digits(text) else None
    if not _NUMBER_PATTERN.match(text) or not _few_digits(text):
        return None
    mark = decimal_mark_of(text)
    if mark == UNCLEAR:
        if decimal_mark == UNCLEAR:
            return None
        mark = decimal_mark
    text = text.translate(_UNGROUPED).replace("\u2212", "-")
    if mark == ",":
        return float(text.replace(".", "").replace(",", "."))
    return float(text.replace(",", ""))


def is_whole(text: str, number: float, decimal_mark: str = ".") -> bool:
    """Return whether a number is written without decimals: "2.0" is not."""
    if number % 1:
        return False
    mark = decimal_mark_of(text)
    if mark == UNCLEAR:
        mark = decimal_mark
    if mark is None:
        return True
    # "1,50,000" and "1.234.567" have marks, but none of decimals.
    return text.rfind(mark) < 0


def _few_digits(text: str) -> bool:
    return sum(map(str.isdigit, text)) <= MAX_DIGITS
