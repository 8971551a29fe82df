"""The dialect of a delimited text: how its cells, rows and header are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

MAX_DELIMITER = 10
"""Characters of a delimiter. One character is detected; more have to be given."""

_SIGNS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar", " ": "space", ":": "colon"}


@dataclass(frozen=True)
class DialectSettings:
    """What is given of a dialect; None stands for a part that is to be detected.

    Attributes:
        encoding: the name of a character encoding that Python knows, such as "cp1252"
        delimiter: what separates two cells
        quote: the sign around a quoted cell; "" if quotes are plain signs
        escape: the sign that makes a quote, or without quotes a delimiter, a part of a cell; "" if
            there is none
        header: False if the first row is an item already; the number of the header's line; or True
            if there is a header in a line that is to be detected

    Raises ValueError if a part cannot be meant.
    """

    encoding: str | None = None
    delimiter: str | None = None
    quote: str | None = None
    escape: str | None = None
    header: bool | int | None = None

    def __post_init__(self) -> None:
        """Raise ValueError if a part cannot be meant."""
        if self.encoding is not None:
            check_encoding(self.encoding)
        _check_delimiter(self.delimiter)
        for name in ("quote", "escape"):
            _check_sign(name, getattr(self, name))
        signs = [sign for sign in (self.delimiter, self.quote, self.escape) if sign]
        if len(set(signs)) < len(signs):
            raise ValueError("delimiter, quote and escape are not three different signs")
        if not isinstance(self.header, bool) and self.header is not None and self.header < 1:
            raise ValueError(f"header={self.header} is no line: lines are counted from 1")

    def __bool__(self) -> bool:
        """Return whether anything is given."""
        return self != DialectSettings()


def check_encoding(name: str) -> None:
    """Raise ValueError unless Python can decode text in an encoding of that name."""
    try:
        # Python's other codecs, such as "base64", know no text, which this call refuses, too.
        "a".encode(name)
    except (LookupError, ValueError):
        raise ValueError(
            f"encoding={name[:40]!r} is not known: name one like utf-8, utf-16, cp1252 or gb18030"
        ) from None


def _check_delimiter(delimiter: str | None) -> None:
    if delimiter is None:
        return
    if not 0 < len(delimiter) <= MAX_DELIMITER:
        raise ValueError(f"delimiter={delimiter!r} does not have 1 to {MAX_DELIMITER} characters")
    if any(sign in delimiter for sign in '\r\n\0"'):
        raise ValueError(f"delimiter={delimiter!r} has a quote, a NUL or the end of a line")


def _check_sign(name: str, sign: str | None) -> None:
    if sign and (len(sign) != 1 or not sign.isascii() or sign in "\r\n\0 \t" or sign.isalnum()):
        raise ValueError(f'{name}={sign!r} is not a single sign of ASCII, or ""')


def describe_header(line: int | None, left_out: Sequence[int]) -> list[str]:
    """Return for people where the header of a table is, and which lines around it are left out."""
    parts = ["no header" if line is None else f"header in line {line:,}"]
    if left_out:
        lines = ", ".join(f"{each:,}" for each in left_out[:6])
        more = ", …" if len(left_out) > 6 else ""
        name = "lines" if len(left_out) > 1 else "line"
        parts.append(f"left out: {name} {lines}{more}")
    return parts


@dataclass(frozen=True)
class Dialect:
    """How a delimited text is written.

    Attributes:
        encoding: the name of its character encoding, as Python spells it
        delimiter: what separates two cells
        quote: the sign around a quoted cell, doubled within one; "" if quotes are plain signs
        escape: the sign that makes a quote, or without quotes a delimiter, a part of a cell; "" if
            there is none
        any_line_end: whether a carriage return alone ends a line, too. Otherwise only a newline
            does, with or without a carriage return before it.
        header_line: the line of the file in which the header starts, counted from 1; None if the
            columns have no names in the file
        first_line: the line at which the first row starts, counted from 1
        ends_with_delimiter: whether rows end with a delimiter that the header does not end with
        lacks_empty_cells: whether rows end after their last cell that is not empty
        spaces_before_quotes: whether there are spaces between a delimiter and a quote
        left_out: lines above the header, and between it and the rows, that are neither
        comment: what lines start with that are no rows if they have not the cells of one; "" if
            no such lines are known
        reasons: why it is thought to be so, one phrase each
    """

    encoding: str = "utf-8"
    delimiter: str = ","
    quote: str = '"'
    escape: str = ""
    any_line_end: bool = False
    header_line: int | None = 1
    first_line: int = 2
    ends_with_delimiter: bool = False
    lacks_empty_cells: bool = False
    spaces_before_quotes: bool = False
    left_out: tuple[int, ...] = ()
    comment: str = ""
    reasons: tuple[str, ...] = ()

    def describe(self) -> str:
        """Return the dialect in a line for people: what all readers of CSV assume is left out."""
        name = _SIGNS.get(self.delimiter)
        parts = [f"{name}-separated" if name else f"separated by {self.delimiter!r}"]
        parts.append(self.encoding.upper() if self.encoding.startswith("utf") else self.encoding)
        parts += describe_header(self.header_line, self.left_out)
        if not self.quote:
            parts.append("quotes are plain signs")
        elif self.quote != '"':
            parts.append(f"quoted with {self.quote}")
        if self.escape:
            parts.append(f"escaped with {self.escape}")
        if self.any_line_end:
            parts.append("lines end with carriage returns")
        if self.ends_with_delimiter:
            parts.append("rows end with a separator")
        if self.lacks_empty_cells:
            parts.append("empty cells at the ends of rows are left away")
        if self.comment:
            parts.append(f"comments start with {self.comment}")
        return ", ".join(parts)

    def with_(self, **changes: Any) -> Dialect:
        """Return the dialect with some parts changed."""
        return replace(self, **changes)
