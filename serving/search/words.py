"""Words: how texts and queries are split, in any language.

A text becomes a sequence of words and marks. A word is in lower case, without accents, and without
the plural's ``s``. Where a script has no spaces between words (Chinese, Japanese, Thai and others),
every two neighbouring characters are a word. ``BREAK`` marks punctuation, and nothing else in a
sequence has a character of ASCII that is not a letter or digit, so that words can be joined by
spaces and quoted in a query of SQLite's FTS5.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

BREAK = "."
MAX_CHARACTERS = 20_000
"""What is read of a text: a longer description says nothing new about its item."""
MAX_WORD = 64
"""Characters of a word; the rest of a longer one, such as a line of base64, is left out."""

_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
)
_IS_UNSPACED = re.compile(f"[{_UNSPACED}]")
_RUNS = re.compile(f"[{_UNSPACED}]+|[^{_UNSPACED}]+")
_ACCENTS = re.compile("[\u0300-\u036f]")
# It begins where a word does: tried at each letter of a long word, it would take the square of its
# length.
_CODE = re.compile(r"(?<![^\W_])[^\W_]+(?:[-/_.+][^\W_]+)+")
_APOSTROPHES = re.compile("(?<=[^\\W\\d_])['\u2019](?=[^\\W\\d_])")


@lru_cache(maxsize=1)
def _tokens() -> re.Pattern[str]:
    """Return a pattern of words with their vowel signs, and of punctuation."""
    # Python's \w has no combining marks, without which words of Hindi or Arabic fall apart.
    marks = "".join(
        character
        for character in map(chr, range(0x300, 0x10000))
        if unicodedata.category(character).startswith("M")
    )
    return re.compile(
        f"[^\\W_][^\\W_{re.escape(marks)}]*(?:[{re.escape(marks)}]+[^\\W_]*)*|[^\\s_]"
    )


def folded(text: str) -> str:
    """Return a text in lower case, in one form of writing, and without accents."""
    text = text[:MAX_CHARACTERS]
    if not text.isascii():
        # Halves of surrogate pairs, which a command line may have, are in no text that is stored.
        text = text.encode(errors="replace").decode()
    text = unicodedata.normalize("NFKC", text).casefold()
    if text.isascii():
        return text
    return unicodedata.normalize("NFC", _ACCENTS.sub("", unicodedata.normalize("NFD", text)))


@lru_cache(maxsize=200_000)
def stem(word: str) -> str:
    """Return a word without the ``s`` of a plural, as English, French or Spanish have it."""
    if len(word) <= 3 or not word.isascii() or not word.isalpha() or word[-1] != "s":
        return word
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    if word.endswith(("sses", "shes", "ches", "xes", "zes")):
        return word[:-2]
    return word if word.endswith(("ss", "us", "is")) else word[:-1]


def sequence(text: str) -> list[str]:
    """Return the words of a text in their order, with ``BREAK`` wherever there is punctuation."""
    found: list[str] = []
    for token in _tokens().findall(_APOSTROPHES.sub("", folded(text))):
        if not token[0].isalnum():
            # Such as a mark without a letter before it, which is part of no word.
            if not unicodedata.category(token[0]).startswith("M") and found[-1:] != [BREAK]:
                found.append(BREAK)
        elif _IS_UNSPACED.search(token):
            found += _pieces(token)
        else:
            found.append(stem(token[:MAX_WORD]))
    return found


def words(text: str) -> list[str]:
    """Return the words of a text in their order."""
    return [word for word in sequence(text) if word != BREAK]


def _pieces(token: str) -> Iterator[str]:
    """Yield the pairs of characters of a token without spaces, and its other words as they are."""
    for run in _RUNS.findall(token):
        if not _IS_UNSPACED.match(run):
            yield stem(run[:MAX_WORD])
        elif len(run) == 1:
            yield run
        else:
            yield from (run[place : place + 2] for place in range(len(run) - 1))


def last_characters(text: str) -> list[str]:
    """Return the last character of each run without spaces, which begins no pair of its own."""
    return list(
        dict.fromkeys(run[-1] for run in _RUNS.findall(folded(text)) if _IS_UNSPACED.match(run))
    )


def has_digit(word: str) -> bool:
    """Return whether a word has a digit, as model numbers and sizes do."""
    return any(character.isdigit() for character in word)


def is_code(word: str) -> bool:
    """Return whether a word looks like a part of a model number: it has digits, and is no size."""
    return has_digit(word) and (len(word) >= 4 or not word.isdigit())


def codes(text: str) -> list[str]:
    """Return the model numbers of a text that punctuation divides, written in one: ``tn2110``."""
    found = []
    for match in _CODE.finditer(folded(text)):
        joined = re.sub(r"[\W_]", "", match[0])[:MAX_WORD]
        if has_digit(joined) and not joined.isdigit() and joined.isascii():
            found.append(joined)
    return list(dict.fromkeys(found))
