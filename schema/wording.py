"""Words of titles and values, and titles without the words that reveal a value."""

from __future__ import annotations

import re
from collections.abc import Iterable

WORD = re.compile(r"\w+")


def plain_words(text: str) -> list[str]:
    """Return the words of a text in order, casefolded and without punctuation."""
    return WORD.findall(text.casefold())


def singular(word: str) -> str:
    """Return a casefolded word without a plural s."""
    is_plural = len(word) > 3 and word.endswith("s") and not word.endswith("ss")
    return word[:-1] if is_plural else word


def value_words(values: Iterable[str], also: Iterable[str] = ()) -> frozenset[str]:
    """Return every word of the values, casefolded, with and without a final s.

    ``also`` are further words to include.
    """
    words: set[str] = set()
    for value in values:
        words.update(plain_words(value))
    words.update(word.casefold() for word in also)
    # "Shirt" in a title gives the value "Shirts" away, and "socks" the value "sock".
    plurals = {word + "s" for word in words}
    singulars = {word[:-1] for word in words if word.endswith("s") and len(word) > 1}
    return frozenset(words | plurals | singulars)


def blind_title(title: str, words: frozenset[str]) -> str | None:
    """Return the title without these words; None if no word is left."""
    blinded = WORD.sub(lambda match: "" if match[0].casefold() in words else match[0], title)
    return " ".join(blinded.split()) if WORD.search(blinded) else None
