"""Text as a catalogue should keep it: NFC, trimmed, without control characters or words that mean "no value"."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

LIST_SEPARATOR = "\x1f"
"""Joins the values of a list-valued cell (JSON, Parquet); ASCII's own unit separator, which no clean text has."""

# Control characters, zero-width marks, bidirectional overrides, the byte-order mark, non-characters. Whitespace is collapsed before.
# A zero-width joiner stays: scripts and emoji need it.
_UNWANTED = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x9f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff\ufffe\uffff]"
)

Spans = tuple[npt.NDArray[np.int64], pa.Array]


def clean(text: str) -> str | None:
    """The text in NFC with single spaces and no control characters; None where nothing is left. Lone surrogates raise UnicodeError."""
    if text.isascii() and text.isprintable():
        return " ".join(text.split()) or None
    text.encode()
    text = unicodedata.normalize(
        "NFC", _UNWANTED.sub("", " ".join(text.replace(LIST_SEPARATOR, "").split()))
    )
    return " ".join(text.split()) or None


def clean_column(column: pa.Array, missing: Iterable[str] = ()) -> pa.Array:
    """A column cleaned, nulls where nothing is left or a missing-value word stands. Each distinct text is looked at once."""
    drop = frozenset(missing)

    def one(text: str) -> str | None:
        """A text cleaned, None where it stands for a missing value."""
        kept = clean(text)
        return None if kept in drop else kept

    encoded = _encode(column)
    cleaned = pa.array([one(text) for text in encoded.dictionary.to_pylist()], pa.string())
    return cleaned.take(encoded.indices)


def split_column(column: pa.Array, split: Callable[[str], Iterable[str]]) -> Spans:
    """The values of each cell, each once: (row of each value [N], values [N])."""
    encoded = _encode(column)
    parts = pa.array(
        [list(dict.fromkeys(split(text))) for text in encoded.dictionary.to_pylist()],
        pa.list_(pa.string()),
    )
    lists = parts.take(encoded.indices)
    return pc.list_parent_indices(lists).to_numpy(zero_copy_only=False).astype(
        np.int64
    ), pc.list_flatten(lists)


def splitter(multi: str | None, missing: Iterable[str] = ()) -> Callable[[str], list[str]]:
    """A function from a cell's text to its clean values."""
    drop = frozenset(missing)
    pattern = re.compile("|".join(re.escape(part) for part in (LIST_SEPARATOR, multi) if part))

    def split(text: str) -> list[str]:
        """A cell's clean values."""
        kept = (
            (clean(part) for part in pattern.split(text))
            if pattern.search(text)
            else (clean(text),)
        )
        return [part for part in kept if part is not None and part not in drop]

    return split


def unpack(text: str, pair: str, item: str) -> list[tuple[str, str]]:
    """The (property, value) pairs of a packed cell; ValueError names a part that is none."""
    pairs = []
    for part in text.split(item):
        if not part.strip():
            continue
        name, found, value = part.partition(pair)
        if not found:
            raise ValueError(f"{part[:40]!r} has no {pair!r} between property and value")
        pairs.append((name, value))
    return pairs


def _encode(column: pa.Array) -> pa.DictionaryArray:
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    return pc.dictionary_encode(column.cast(pa.string()))
