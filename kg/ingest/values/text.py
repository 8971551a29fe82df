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
