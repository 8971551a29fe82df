"""Cells of Excel's sheets as XML: texts stay texts, so that ids keep their zeros."""

from __future__ import annotations

import re
from xml.sax.saxutils import escape

MAX_DIGITS = 15
"""The digits of a number that spreadsheets keep."""
MAX_TEXT = 32_767
"""The most characters of a cell."""
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?")
# XML 1.0 has no control characters, not even escaped ones: Excel writes them so.
_CONTROL = "[\x00-\x08\x0b-\x1f\ufffe\uffff]"
# What looks like such a character is escaped, too; one that follows begins with an underscore.
_ESCAPED = re.compile(f"{_CONTROL}|_(?=x[0-9A-Fa-f]{{4}}(?:_|{_CONTROL}))")


def column_letters(column: int) -> str:
    """Return the letters of a column, counted from 0."""
    letters = ""
    column += 1
    while column:
        column, rest = divmod(column - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def is_sheet_number(text: str) -> bool:
    """Return whether a text is a number that a spreadsheet keeps as it is written."""
    if not _NUMBER.fullmatch(text) or sum(map(str.isdigit, text)) > MAX_DIGITS:
        return False
    return text != "-0" and not (("." in text) and text.endswith("0"))


def sheet_text(text: str) -> str:
    """Return a text as XML, with what XML cannot hold as spreadsheets write it."""
    return escape(_ESCAPED.sub(lambda found: f"_x{ord(found[0]):04X}_", text))


def cell_xml(
    place: str, text: str, is_number: bool, style: str | None = None, prefix: str = ""
) -> str:
    """Return a cell at a place like ``B5``: a number, or a text."""
    styled = f' s="{style}"' if style else ""
    if is_number:
        return f'<{prefix}c r="{place}"{styled}><{prefix}v>{text}</{prefix}v></{prefix}c>'
    return (
        f'<{prefix}c r="{place}"{styled} t="inlineStr"><{prefix}is>'
        f'<{prefix}t xml:space="preserve">{sheet_text(text)}</{prefix}t></{prefix}is></{prefix}c>'
    )
