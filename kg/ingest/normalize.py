"""Text as a catalogue keeps it: NFC, trimmed, without control characters or missing-value words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kg.ingest.scalars import number_text
from schema.arrays import IntArray

__all__ = [
    "LIST_SEPARATOR",
    "SplitCells",
    "clean",
    "clean_column",
    "number_text",
    "split_column",
    "splitter",
    "unpack_pairs",
]

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


def splitter(separator: str | None, missing: Iterable[str] = ()) -> Callable[[str], list[str]]:
    """Return a function that splits a cell's text into its clean values."""
    missing_words = frozenset(missing)
    separators = [LIST_SEPARATOR, separator] if separator else [LIST_SEPARATOR]
    pattern = re.compile("|".join(map(re.escape, separators)))

    def split(text: str) -> list[str]:
        """Return a cell's clean values."""
        cleaned = map(clean, pattern.split(text))
        return [value for value in cleaned if value is not None and value not in missing_words]

    return split


def unpack_pairs(text: str, pair: str, item: str) -> list[tuple[str, str]]:
    """Return the (property, value) pairs of a packed cell.

    ``pair`` stands between property and value, and ``item`` between pairs. Raises ValueError on a
    pair that lacks its separator.
    """
    pairs = []
    for part in text.split(item):
        if not part.strip():
            continue
        name, separator, value = part.partition(pair)
        if not separator:
            raise ValueError(f"{part[:40]!r} has no {pair!r} between property and value")
        pairs.append((name, value))
    return pairs


def _dictionary_encode(column: pa.Array) -> pa.DictionaryArray:
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    return pc.dictionary_encode(column.cast(pa.string()))
