"""Mark in a text the words that speak for a value."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_WORD = re.compile(r"[^\W_]+", re.UNICODE)
_MIN_LETTERS = 3
"""Shorter words alone say little: "of", "in"."""


@dataclass(frozen=True)
class Part:
    """A part of a text, and whether it is marked."""

    text: str
    is_marked: bool = False


def marked(text: str, values: Sequence[str]) -> list[Part]:
    """Return a text in parts: where it says one of the values, it is marked.

    Case does not matter. Of a value that does not stand there as a whole, its words are marked.
    """
    places = sorted({place for value in values for place in _places(text, value)})
    parts: list[Part] = []
    end = 0
    for start, stop in places:
        if start < end:
            continue
        if start > end:
            parts.append(Part(text[end:start]))
        parts.append(Part(text[start:stop], True))
        end = stop
    if end < len(text):
        parts.append(Part(text[end:]))
    return parts


def _places(text: str, value: str) -> Iterator[tuple[int, int]]:
    whole = list(_found(text, value))
    if whole:
        yield from whole
        return
    for word in _WORD.findall(value):
        if len(word) >= _MIN_LETTERS or not word.isascii():
            yield from _found(text, word)


def _found(text: str, value: str) -> Iterator[tuple[int, int]]:
    """Yield where a value stands in a text, not as a part of a longer word."""
    if not value.strip():
        return
    before = r"(?<!\w)" if value[0].isascii() else ""
    after = r"(?!\w)" if value[-1].isascii() else ""
    for match in re.finditer(before + re.escape(value) + after, text, re.IGNORECASE):
        yield match.span()
