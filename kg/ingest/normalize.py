"""Text as a catalogue keeps it: NFC, trimmed, without control characters or missing-value words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schema.arrays import IntArray

LIST_SEPARATOR = "\x1f"
"""Joins the values of a multi-valued cell (from JSON, Parquet or RDF): ASCII's unit separator."""

# Control characters, zero-width and bidirectional marks, the byte-order mark, non-characters.
# Whitespace is not among them: it is collapsed first. The zero-width joiner is not either: some
# scripts and emoji need it.
_UNWANTED = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x9f\u00ad\u200b\u200e\u200f"
    "\u202a-\u202e\u2060\u2066-\u2069\ufeff\ufffe\uffff]"
)


@dataclass(frozen=True)
class SplitCells:
    """The values in the cells of a column: the row of each value [N], and the values [N]."""

    rows: IntArray
    values: pa.Array


def clean(text: str) -> str | None:
    """Return the text in NFC with single spaces and no control characters; None if it is empty.

    Raises UnicodeError on lone surrogates.
    """
    # The usual case, and the fastest: such a text is in NFC and has nothing to remove.
    if text.isascii() and text.isprintable():
        return " ".join(text.split()) or None
    text.encode()
    text = " ".join(text.replace(LIST_SEPARATOR, "").split())
    text = unicodedata.normalize("NFC", _UNWANTED.sub("", text))
    # What was removed may have stood between two spaces.
    return " ".join(text.split()) or None


def clean_column(column: pa.Array, missing: Iterable[str] = ()) -> pa.Array:
    """Clean a column; cells that are empty or a missing-value word become null."""
    missing_words = frozenset(missing)

    def clean_cell(text: str) -> str | None:
        """Return the clean text, or None for a missing-value word."""
        cleaned = clean(text)
        return None if cleaned in missing_words else cleaned

    # Values repeat in most columns, so each distinct text is cleaned once.
    encoded = _dictionary_encode(column)
    cleaned = pa.array([clean_cell(text) for text in encoded.dictionary.to_pylist()], pa.string())
    return cleaned.take(encoded.indices)


def split_column(column: pa.Array, split: Callable[[str], Iterable[str]]) -> SplitCells:
    """Split the cells of a column into their distinct values."""
    encoded = _dictionary_encode(column)
    distinct_values = [list(dict.fromkeys(split(text))) for text in encoded.dictionary.to_pylist()]
    values = pa.array(distinct_values, pa.list_(pa.string())).take(encoded.indices)
    rows = pc.list_parent_indices(values).to_numpy(zero_copy_only=False).astype(np.int64)
    return SplitCells(rows, pc.list_flatten(values))


def splitter(
    separator: str | None, missing: Iterable[str] = (), quoted: bool = False
) -> Callable[[str], list[str]]:
    """Return a function that splits a cell's text into its clean values.

    With ``quoted`` a value that holds the separator stands in quotes.
    """
    missing_words = frozenset(missing)
    separators = [LIST_SEPARATOR, separator] if separator else [LIST_SEPARATOR]
    pattern = re.compile("|".join(map(re.escape, separators)))

    def split(text: str) -> list[str]:
        """Return a cell's clean values."""
        parts = split_quoted(text, separator) if quoted and separator else pattern.split(text)
        cleaned = map(clean, parts)
        return [value for value in cleaned if value is not None and value not in missing_words]

    return split


def split_quoted(text: str, separator: str) -> list[str]:
    """Return the values of a list whose values are quoted where they hold the separator.

    A backslash before the separator keeps it, too, as in exports of WooCommerce.
    """
    if '"' not in text and "\\" not in text:
        return text.split(separator)
    values: list[str] = []
    value: list[str] = []
    is_quoted = False
    position = 0
    while position < len(text):
        character = text[position]
        if character == "\\" and text.startswith(separator, position + 1):
            value.append(separator)
            position += 1 + len(separator)
        elif character == '"' and is_quoted and text.startswith('""', position):
            value.append('"')
            position += 2
        elif character == '"' and (is_quoted or not "".join(value).strip()):
            is_quoted = not is_quoted
            position += 1
        elif not is_quoted and text.startswith(separator, position):
            values.append("".join(value))
            value = []
            position += len(separator)
        else:
            value.append(character)
            position += 1
    if is_quoted:
        # A quote that nothing closes is an inch sign or the like.
        return text.split(separator)
    return [*values, "".join(value)]


def number_text(number: float) -> str:
    """Return a float as people write it: whole numbers without ".0" or an exponent."""
    # Beyond 2**53, about 9e15, a float is no longer exact to the unit.
    if number.is_integer() and abs(number) < 1e15:
        return str(int(number))
    return repr(number)


def _dictionary_encode(column: pa.Array) -> pa.DictionaryArray:
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    return pc.dictionary_encode(column.cast(pa.string()))
