"""Titles with and without the words that give values away."""

from __future__ import annotations

import re
from collections.abc import Iterable

WORD = re.compile(r"\w+")


def plain_words(text: str) -> list[str]:
    """The words of a text, casefolded, in order."""
    return WORD.findall(text.casefold())


def value_words(values: Iterable[str], also: Iterable[str] = ()) -> frozenset[str]:
    """Every word of the values, casefolded, with and without a final s; ``also`` adds further ones."""
    words: set[str] = set()
    for value in values:
        words.update(plain_words(value))
    words.update(word.casefold() for word in also)
    return frozenset(
        words
        | {word + "s" for word in words}
        | {word[:-1] for word in words if word.endswith("s") and len(word) > 1}
    )


def blind_title(title: str, words: frozenset[str]) -> str | None:
    """The title without those words; None where no word is left."""
    blinded = WORD.sub(lambda match: "" if match[0].casefold() in words else match[0], title)
    return " ".join(blinded.split()) if WORD.search(blinded) else None
