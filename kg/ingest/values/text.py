"""Text as a catalogue keeps it: NFC, trimmed, single spaces, no control characters."""

from __future__ import annotations

import re
import unicodedata

LIST_SEPARATOR = "\x1f"
"""Joins the values of a multi-valued cell (from JSON, Parquet or RDF): ASCII's unit separator."""

# Control characters, zero-width and bidirectional marks, the byte-order mark, non-characters.
# Whitespace is not among them: it is collapsed first. The zero-width joiner is not either: some
# scripts and emoji need it.
_UNWANTED = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x9f\u00ad\u200b\u200e\u200f"
    "\u202a-\u202e\u2060\u2066-\u2069\ufeff\ufffe\uffff]"
)


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


def without_controls(text: str) -> str:
    """Return a text without control characters and invisible marks, its list separators kept."""
    if text.isascii() and text.isprintable():
        return text
    return LIST_SEPARATOR.join(_UNWANTED.sub("", part) for part in text.split(LIST_SEPARATOR))


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
