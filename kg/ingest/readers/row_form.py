"""What the rows of a delimited text look like: the signs between cells, and what the cells hold."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from kg.ingest.readers.encodings import encoding_label
from schema.dialects import Dialect

# In place of escaped signs, of which the parsers know nothing. They are no characters, so no text
# has them.
_ESCAPED_ESCAPE = "\ufdd0".encode()
_ESCAPED_SIGN = "\ufdd1".encode()
ESCAPED_NEWLINE = "\ufdd3".encode()

SPACED_QUOTE = re.compile(b"(?<=[,;|\t]) +(?=[\"'](?![\"']))")
"""Spaces between a delimiter and a quote that opens a cell. (One that is doubled is in a cell.)"""

_DELIMITER = b"\x1f"
"""In place of a delimiter of several bytes, of which the parsers know nothing, either."""

_INVALID = b"\xff"

_NUMBER = re.compile(r"[-+]?[€$£¥]?\s?\d[\d.,' \u00a0]*\s?(?:[%€$£¥]|[A-Z]{3})?")
_ADDRESS = re.compile(r"(?:https?|ftp)://\S+", re.IGNORECASE)
_HANDLE = re.compile(r"[\w.\-/]*[\-_\d][\w.\-/]*")
_MAX_SHAPES = 3
_KINDS_OF_ASCII = {
    code: "9" if chr(code).isdigit() else "A" if chr(code).isupper() else "a"
    for code in range(128)
    if chr(code).isalnum()
}
_REPEATED = re.compile(r"(.)\1+", re.DOTALL)


def is_number(text: str) -> bool:
    """Return whether a cell holds a number, perhaps with a sign or code of a currency."""
    return bool(_NUMBER.fullmatch(text.strip()))


def shape_of(text: str) -> str:
    """Return the shape of a code: "A9-9" for "AB12-7", or "" for text that is no code.

    A code has a digit and no space.
    """
    text = text.strip()
    if len(text) > 60 or not any(map(str.isdigit, text)) or any(map(str.isspace, text)):
        return ""
    kinds = text.translate(_KINDS_OF_ASCII) if text.isascii() else "".join(map(_kind, text))
    return _without_repetitions(kinds)


@lru_cache(maxsize=1 << 12)
def _without_repetitions(kinds: str) -> str:
    return _REPEATED.sub(r"\1", kinds)


def _kind(sign: str) -> str:
    return "9" if sign.isdigit() else "A" if sign.isupper() else "a" if sign.isalpha() else sign


@dataclass(frozen=True)
class ColumnKind:
    """What the cells of a column have in common.

    They are numbers, addresses, codes of a few shapes, or handles such as "linen-shirt".
    """

    name: str
    shapes: frozenset[str] = frozenset()

    def fits(self, cell: str) -> bool:
        """Return whether a cell that is not empty could be one of the column."""
        match self.name:
            case "number":
                return is_number(cell)
            case "address":
                return bool(_ADDRESS.fullmatch(cell.strip()))
            case "handle":
                return bool(_HANDLE.fullmatch(cell.strip()))
            case _:
                return shape_of(cell) in self.shapes


def column_kinds(
    rows: Sequence[Sequence[str]], width: int, handles: bool = False
) -> tuple[ColumnKind | None, ...]:
    """Return the kind of each column, given some rows; None for a column of free text.

    Names of columns can be like handles, so ``handles`` are not told from other text by default.
    """
    return tuple(
        _kind_of([row[column] for row in rows if column < len(row)], handles)
        for column in range(width)
    )


def _kind_of(cells: Sequence[str], handles: bool) -> ColumnKind | None:
    filled = [cell for cell in cells if cell.strip()]
    if not filled:
        return None
    # Some cells have a word like "n/a" in place of a number.
    most = 0.9 * len(filled)
    if sum(map(is_number, filled)) >= most:
        return ColumnKind("number")
    if sum(bool(_ADDRESS.fullmatch(cell.strip())) for cell in filled) >= most:
        return ColumnKind("address")
    shapes = _shapes_of(filled)
    if shapes:
        return ColumnKind("code", shapes)
    if handles and sum(bool(_HANDLE.fullmatch(cell.strip())) for cell in filled) >= most:
        return ColumnKind("handle")
    return None


def _shapes_of(cells: Sequence[str]) -> frozenset[str]:
    """Return the shapes of codes; none if a cell is no code, or if they are too many."""
    shapes: set[str] = set()
    for cell in cells:
        shapes.add(shape_of(cell))
        if "" in shapes or len(shapes) > _MAX_SHAPES:
            return frozenset()
    return frozenset(shapes)


@dataclass(frozen=True)
class RowForm:
    """The form of the rows of one file.

    ``width`` is the number of cells in which rows are parsed, ``least`` the fewest that a row may
    have: what it lacks is empty at its end. ``kinds`` are those of the columns.
    """

    dialect: Dialect
    width: int
    least: int
    kinds: tuple[ColumnKind | None, ...] = ()
    header: bytes = b""
    """The line of the header as the parsers see it; empty if there is none or it has several."""
    delimiter: bytes = field(init=False)
    quote: bytes = field(init=False)

    def __post_init__(self) -> None:
        """Choose the bytes that the parsers see."""
        sign = self.dialect.delimiter.encode()
        object.__setattr__(self, "delimiter", sign if len(sign) == 1 else _DELIMITER)
        object.__setattr__(self, "quote", self.dialect.quote.encode())

    @property
    def encoding(self) -> str:
        """The name of the file's encoding in messages."""
        return encoding_label(self.dialect.encoding)

    def prepared(self, block: bytes) -> bytes:
        """Return whole lines with single bytes as delimiters, and without escapes."""
        escape = self.dialect.escape.encode()
        delimiter = self.dialect.delimiter.encode()
        if escape and escape in block:
            for sign in (_ESCAPED_ESCAPE, _ESCAPED_SIGN, ESCAPED_NEWLINE):
                block = block.replace(sign, _INVALID)
            block = block.replace(escape + escape, _ESCAPED_ESCAPE)
            if self.quote:
                block = block.replace(escape + self.quote, _ESCAPED_SIGN)
            else:
                block = block.replace(escape + delimiter, _ESCAPED_SIGN)
                block = block.replace(escape + b"\r\n", ESCAPED_NEWLINE)
                block = block.replace(escape + b"\n", ESCAPED_NEWLINE)
        if self.dialect.spaces_before_quotes:
            block = SPACED_QUOTE.sub(b"", block)
        if delimiter != self.delimiter:
            if self.delimiter in block:
                block = block.replace(self.delimiter, _INVALID)
            block = block.replace(delimiter, self.delimiter)
        return block

    def restored(self, cell: str) -> str:
        """Return a parsed cell with the signs that were replaced."""
        for sign, meaning in self.replacements():
            cell = cell.replace(sign, meaning)
        return cell

    def replacements(self) -> tuple[tuple[str, str], ...]:
        """Return what stands for other signs in parsed cells, and these signs."""
        if self.delimiter == self.dialect.delimiter.encode():
            return self._escapes()
        # A quoted cell may hold a delimiter of several bytes.
        return (*self._escapes(), (self.delimiter.decode(), self.dialect.delimiter))

    def _escapes(self) -> tuple[tuple[str, str], ...]:
        if not self.dialect.escape:
            return ()
        return (
            (_ESCAPED_ESCAPE.decode(), self.dialect.escape),
            (_ESCAPED_SIGN.decode(), self.dialect.quote or self.dialect.delimiter),
            (ESCAPED_NEWLINE.decode(), "\n"),
        )

    def shown(self, line: bytes) -> str:
        """Return a parsed line as it is in the file."""
        escape = self.dialect.escape
        if self.delimiter != self.dialect.delimiter.encode():
            line = line.replace(self.delimiter, self.dialect.delimiter.encode())
        text = line.decode(errors="replace").rstrip("\r\n")
        for sign, meaning in self._escapes():
            text = text.replace(sign, escape + meaning)
        return text
