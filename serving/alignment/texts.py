"""Words, model codes, numbers and character sequences of items' texts."""

from __future__ import annotations

import re

COMPOUND = re.compile(r"\w+(?:[.\-/]\w+)*")
"""A word, or several that are joined as in "wfw-9200" and "13.5"."""
NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?!\w)")
_WORD = re.compile(r"\w+")
_NOT_ALPHANUMERIC = re.compile(r"[\W_]")
MIN_CODE = 3
"""Characters from which on a word with digits counts as the code of a model or a part."""
BEGINNING = 40
"""Characters of a title's beginning.

Titles often begin with brand and model, and end with what many products share: colours, sizes, the
kind of thing in the seller's language, the shop.
"""


def compounds(text: str) -> list[str]:
    """Return the words of a casefolded text, those joined by a point, hyphen or slash as one."""
    return COMPOUND.findall(text)


def codes(text: str) -> list[str]:
    """Return the words of a text that may be codes of a model or a part, without punctuation.

    These have digits and letters ("wfw9200swh", "108r00645"), or at least four digits.
    """
    found = []
    for word in compounds(text):
        if word.isalpha():
            # Most words are, and have no digit.
            continue
        code = flat(word)
        digits = sum(character.isdigit() for character in code)
        if digits and len(code) >= MIN_CODE and (digits < len(code) or len(code) > MIN_CODE):
            found.append(code)
    return found


def numbers(text: str) -> list[str]:
    """Return the numbers of a text that stand alone, as they are written."""
    return NUMBER.findall(text)


def trigrams(text: str) -> list[str]:
    """Return the distinct sequences of three characters of a text's words."""
    return list({f" {word} "[at : at + 3] for word in compounds(text) for at in range(len(word))})


def flat(text: str) -> str:
    """Return a text without spaces and punctuation, in which "DSC-W120 B" has "dscw120b"."""
    return _NOT_ALPHANUMERIC.sub("", text)


def beginning(title: str) -> str:
    """Return the first characters of a title's words."""
    return " ".join(_WORD.findall(title))[:BEGINNING]
