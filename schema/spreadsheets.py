"""Texts that a spreadsheet would run as formulas, and the apostrophe that keeps it from doing so.

Excel, LibreOffice and Google Sheets take every cell of a CSV file that begins with ``=``, ``+``,
``-`` or ``@`` for a formula, and a formula can start programs (``=cmd|'/C calc'!A0``) and send
other cells to a server (``=HYPERLINK(...)``, ``=WEBSERVICE(...)``). With an apostrophe before it,
it is text. What is done by :func:`defused` is undone by :func:`restored`, for every text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

MARK = "'"

# Spreadsheets may drop white space before a formula; Asian ones take wide characters, too. Both
# patterns mean the same to Python's re and to Arrow's RE2.
_START = "^(?:[ \t\r\n\f\v\u00a0\u3000]*[=+\\-@＝＋－＠]|[\t\r\n])"
_HARMLESS = "^(?:[+-]?[0-9]+(?:[.,][0-9]+)*(?:[eE][+-]?[0-9]+)?%?|[=+@-]+)$"
"""A number, or nothing but signs: neither does anything."""


@dataclass(frozen=True)
class ChangedColumn:
    """A column of texts, and how many of them were changed."""

    column: pa.Array
    changed: int


def is_formula(text: str) -> bool:
    """Return whether a spreadsheet would take a text for a formula that does something."""
    return bool(re.match(_START, text)) and not re.match(_HARMLESS.replace("$", r"\Z"), text)


def defused(text: str) -> str:
    """Return a text that a spreadsheet takes for text: with an apostrophe if it was a formula."""
    if text[:1].isalnum():
        return text  # as nearly all begin
    # Also before the apostrophes of a text that is already defused: otherwise the two could not be
    # told apart afterwards.
    return MARK + text if is_formula(text.lstrip(MARK)) else text


def restored(text: str) -> str:
    """Return the text that :func:`defused` was given."""
    has_mark = text.startswith(MARK) and is_formula(text.lstrip(MARK))
    return text[len(MARK) :] if has_mark else text


def defused_column(column: pa.Array) -> ChangedColumn:
    """Defuse a column of texts."""
    import pyarrow as pa
    import pyarrow.compute as pc

    formulas = _are_formulas(column)
    count = pc.sum(formulas).as_py() or 0
    if not count:
        return ChangedColumn(column, 0)
    marked = pc.binary_join_element_wise(pa.scalar(MARK), column, "")
    return ChangedColumn(pc.if_else(formulas, marked, column), count)


def restored_column(column: pa.Array) -> ChangedColumn:
    """Restore a column of texts."""
    import pyarrow.compute as pc

    marks = pc.fill_null(pc.starts_with(column, MARK), False)
    # Hardly any text has a mark, and the patterns are slow in comparison.
    if not pc.any(marks).as_py():
        return ChangedColumn(column, 0)
    marked = pc.and_(marks, _are_formulas(column))
    count = pc.sum(marked).as_py() or 0
    return ChangedColumn(pc.if_else(marked, pc.utf8_slice_codeunits(column, 1), column), count)


def _are_formulas(column: pa.Array) -> pa.Array:
    """Return which texts are formulas but for their marks; a null is none."""
    import pyarrow.compute as pc

    rest = pc.utf8_ltrim(column, MARK)
    starts = pc.match_substring_regex(rest, _START)
    harmless = pc.match_substring_regex(rest, _HARMLESS)
    return pc.fill_null(pc.and_not(starts, harmless), False)
