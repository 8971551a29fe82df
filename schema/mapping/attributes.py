"""Columns whose properties the data name: numbered pairs of name and value, and packed cells."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from schema.mapping.lexicon import (
    NAME_WORDS,
    OPTION_WORDS,
    PROPERTY_COLUMNS,
    UNIT_COLUMNS,
    VALUE_COLUMNS,
)
from schema.mapping.model import PackedColumn, PairColumns
from schema.mapping.names import MAX_NAME

_NUMBER = re.compile(r"\d+")
_LETTER = re.compile(r"(?<=[\s_\-])[A-Z]$")
_WORD = re.compile(r"[^\W\d_]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
# Words of other languages between "name" and "attribute": "Nom de l'attribut".
_ARTICLES = frozenset("de des du del della dell di of the la le les el il los".split())
_PACKED_NAME = re.compile(r"(?=.*[^\W\d])\w[\w .()/\-%+&']{0,48}")
_ITEM_SIGNS = ("\n", "|", ";", ",")
_PAIR_SIGNS = ("=", ":")
_POSITION = re.compile(r".*\S\s*:\s*\d{1,3}(?:\s*:\s*[01])?")
_MAX_NAME_WORDS = 5
_MAX_VALUE = 120


@dataclass(frozen=True)
class _Stem:
    """A column's name without its number: the pattern for all numbers, and its words."""

    pattern: str
    words: str
    number: str


def find_pairs(columns: Sequence[str]) -> list[PairColumns]:
    """Return the numbered columns of which one names a property and another holds its value.

    They are told by words for both in any language, however these are put: "Attribute 1 name" and
    "Attribute 1 value(s)", "Merkmal 2" and "Wert 2", "Nom de l'attribut 1", "Attribute Name A".
    """
    stems = [stem for name in columns if (stem := _stem(name)) is not None]
    numbers: dict[tuple[str, str], set[str]] = {}
    for stem in stems:
        numbers.setdefault((stem.pattern, stem.words), set()).add(stem.number)
    found: list[PairColumns] = []
    taken: set[str] = set()
    for pattern, words in numbers:
        name_rests = _rests(words, NAME_WORDS)
        if not name_rests:
            continue
        for value_pattern, value_words in numbers:
            if value_pattern in (pattern, *taken) or pattern in taken:
                continue
            common = numbers[value_pattern, value_words] & numbers[pattern, words]
            if not common or not _belong(words, name_rests, value_words):
                continue
            unit = next(
                (
                    unit_pattern
                    for unit_pattern, unit_words in numbers
                    if unit_pattern not in (pattern, value_pattern)
                    and numbers[unit_pattern, unit_words] & common
                    and _rests(unit_words, UNIT_COLUMNS) & (_rests(value_words, VALUE_COLUMNS))
                ),
                None,
            )
            found.append(PairColumns(pattern, value_pattern, unit))
            taken |= {pattern, value_pattern}
            break
    return found


def _stem(name: str) -> _Stem | None:
    """Return the stem of a name with one number, or with one letter in place of a number."""
    if len(name) > MAX_NAME or "*" in name or "?" in name or "{" in name:
        return None
    numbers = _NUMBER.findall(name)
    letter = _LETTER.search(name)
    if len(numbers) == 1:
        pattern = _NUMBER.sub("{n}", name)
        rest = _NUMBER.sub(" ", name)
        return _Stem(pattern, _key(rest), numbers[0])
    if not numbers and letter is not None:
        return _Stem(name, _key(name[: letter.start()]), letter[0])
    return None


def _key(name: str) -> str:
    words = [word.casefold() for word in _WORD.findall(_CAMEL.sub(" ", name))]
    return "".join(
        word for word in words if word not in _ARTICLES and (len(word) > 1 or not word.isascii())
    )


def _rests(key: str, words: Sequence[str]) -> set[str]:
    """Return what a name says besides one of these words, which it begins or ends with."""
    rests = set()
    for word in words:
        if key.startswith(word):
            rests.add(key.removeprefix(word))
        if key.endswith(word):
            rests.add(key.removesuffix(word))
    return rests


def _belong(name: str, name_rests: set[str], value: str) -> bool:
    """Return whether the words of two columns are those of a name and of its value."""
    value_rests = _rests(value, VALUE_COLUMNS)
    # "Merkmal 1" and "Wert 1", or "feature_1" and "feature_1_value".
    if name in PROPERTY_COLUMNS and value_rests & {"", name}:
        return True
    return any(not rest or _is_property(rest) for rest in name_rests & value_rests)


@lru_cache(maxsize=1 << 14)
def is_property_word(name: str) -> bool:
    """Return whether a name is one for any property: "PARAM", "attributes", "eigenschaft"."""
    return _is_property(_key(name))


def pair_members(names: Sequence[str]) -> tuple[str, str] | None:
    """Return which members of an object name a property and hold its value, in any language."""
    keys = {name: _key(name.removeprefix("@")) for name in names}
    named = {
        name: rests
        for name, key in keys.items()
        if (rests := {rest for rest in _rests(key, NAME_WORDS) if not rest or _is_property(rest)})
    }
    valued = [
        name
        for name, key in keys.items()
        if any(not rest or _is_property(rest) for rest in _rests(key, VALUE_COLUMNS))
    ]
    # A name is better than a label, and that better than a code.
    for name in sorted(named, key=lambda each: _key(each.removeprefix("@")).endswith("code")):
        for value in valued:
            if value != name:
                return name, value
    return None


def _is_property(word: str) -> bool:
    return word in PROPERTY_COLUMNS or word in OPTION_WORDS


def find_packed(column: str, texts: Sequence[str]) -> PackedColumn | None:
    """Return how the cells of a column hold several properties, or None if they surely do not.

    Names have to come up again in other cells, unless the column's own name says that it holds
    properties, and some cell has to hold two pairs at least.
    """
    best: PackedColumn | None = None
    most = 0
    is_named = any(
        word in PROPERTY_COLUMNS or word in OPTION_WORDS
        for word in (_key(part) for part in _WORD.findall(_CAMEL.sub(" ", column)))
    )
    for pair in _PAIR_SIGNS:
        for item in _ITEM_SIGNS:
            cells = [_pairs_of(text, pair, item) for text in texts]
            good = [cell for cell in cells if cell]
            if len(good) < 0.8 * len(cells) or max(map(len, good), default=0) < 2:
                continue
            names = Counter(name for cell in good for name in {name.casefold() for name, _ in cell})
            again = sum(count > 1 for count in names.values())
            if not again and not is_named:
                continue
            count = sum(map(len, good))
            if count <= most:
                continue
            most = count
            values = [value for cell in good for _, value in cell]
            position = pair == ":" and all(
                _POSITION.fullmatch(f"x{pair}{value}") for value in values
            )
            has_bars = item != "|" and any("|" in value for value in values)
            multi = "|" if has_bars else None
            best = PackedColumn(column, pair, item, multi, position=position)
    return best


def _pairs_of(text: str, pair: str, item: str) -> list[tuple[str, str]]:
    """Return the pairs in a cell; none if any part of it is no pair."""
    found: list[tuple[str, str]] = []
    for part in text.split(item):
        if not part.strip():
            continue
        name, sign, value = part.partition(pair)
        name = name.strip().strip('"')
        is_name = (
            bool(sign)
            and _PACKED_NAME.fullmatch(name) is not None
            and len(name.split()) <= _MAX_NAME_WORDS
            and not value.startswith("//")
        )
        if is_name and len(value) <= _MAX_VALUE:
            found.append((name, value.strip()))
        elif item != "," or not found or sign:
            return []
    return found
