"""What a query asks for: its words, which of them says what is wanted, and other ways to read it.

A word that no item has is read as one that is spelled like it, or as two words written in one; two
words may also be one: "head set".
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from serving.search.heads import PARTICLES, head_of_query
from serving.search.words import codes, has_digit, sequence, stem, words

MAX_WORDS = 24
"""Words of a query; the rest of a longer one is left out."""
MAX_READINGS = 4
_SPELLINGS = 300
"""Words of like trigrams that are compared with a misspelled one."""
_LIKELY = 12
_LEAST_LETTERS = 4
_MOST_LETTERS = 40
"""A longer word is no misspelled one; to compare it with others takes time."""
_TWO_ERRORS = 8
"""From so many letters on a word may have two errors."""


@dataclass(frozen=True)
class WordCounts:
    """How many items have a word in their texts, and in the values of their properties."""

    texts: int = 0
    values: int = 0

    @property
    def known(self) -> bool:
        """Whether any item has it."""
        return self.texts > 0 or self.values > 0


@dataclass(frozen=True)
class Reading:
    """One way to read a query: its words, each once, and the one that says what is wanted."""

    words: tuple[str, ...]
    phrase: tuple[str, ...]
    head: str

    @classmethod
    def of(cls, found: Sequence[str]) -> Reading:
        """Return the reading of words in their order."""
        content = [word for word in found if word not in PARTICLES] or list(found)
        head = head_of_query(found)
        if head not in content:
            head = content[-1] if content else ""
        return cls(tuple(dict.fromkeys(content)), tuple(found), head)


@dataclass(frozen=True)
class Query:
    """A query: its readings, the likeliest first, and the model numbers in it.

    ``corrected`` gives words that no item has with those that were read in their place.
    """

    text: str
    readings: tuple[Reading, ...]
    codes: tuple[str, ...]
    corrected: dict[str, str] = field(default_factory=dict)

    @property
    def words(self) -> tuple[str, ...]:
        """The words of all readings, each once."""
        return tuple(dict.fromkeys(word for each in self.readings for word in each.words))


class Vocabulary:
    """The words of an index."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def counts(self, wanted: Iterable[str]) -> dict[str, WordCounts]:
        """Return the counts of words."""
        wanted = list(dict.fromkeys(wanted))
        marks = ", ".join("?" * len(wanted))
        rows = self._connection.execute(
            f'SELECT word, texts, "values" FROM words WHERE word IN ({marks})', wanted
        )
        found = {word: WordCounts(texts, values) for word, texts, values in rows}
        return {word: found.get(word, WordCounts()) for word in wanted}

    def has_code(self, code: str) -> bool:
        """Return whether an item has a model number."""
        row = self._connection.execute(
            "SELECT 1 FROM found WHERE found MATCH ? LIMIT 1", (f'codes : "{code}"',)
        ).fetchone()
        return row is not None

    def like(self, word: str) -> list[str]:
        """Return the words that are spelled like one, the likeliest first."""
        padded = spelled(word)
        trigrams = [padded[place : place + 3] for place in range(len(padded) - 2)]
        # In FTS5 a quote within quotes is written twice; words have none.
        expression = " OR ".join(f'"{trigram}"' for trigram in dict.fromkeys(trigrams))
        rows = self._connection.execute(
            "SELECT word FROM spellings WHERE spellings MATCH ? ORDER BY rank LIMIT ?",
            (expression, _SPELLINGS),
        )
        errors = 2 if len(word) >= _TWO_ERRORS else 1
        near: dict[str, int] = {}
        for (text,) in rows:
            other = text.strip()
            distance = edit_distance(word, other, errors)
            if distance <= errors:
                near[other] = distance
        counts = self.counts(near)
        usable = [other for other in near if counts[other].known]
        usable.sort(key=lambda other: (near[other], -counts[other].texts, other))
        # People search for what titles say: a "mose" is a mouse before it is most.
        likely = usable[:_LIKELY]
        titles = {other: self._titles(other) for other in likely}
        return sorted(likely, key=lambda other: (near[other], -titles[other], other))

    def _titles(self, word: str) -> int:
        """Return how many items have a word in their title."""
        row = self._connection.execute(
            "SELECT count(*) FROM found WHERE found MATCH ?", (f'title : "{word}"',)
        ).fetchone()
        return int(row[0])


def parse(text: str, vocabulary: Vocabulary) -> Query:
    """Read a query. One without a word has no readings."""
    found = words(text)[:MAX_WORDS]
    if not found:
        return Query(text, (), ())
    joined = {place: stem(f"{found[place]}{found[place + 1]}") for place in range(len(found) - 1)}
    counts = vocabulary.counts([*found, *joined.values()])
    query_codes = _query_codes(text, found, vocabulary)
    corrected: dict[str, str] = {}
    spelled: list[str] = []
    for word in found:
        replacement = [word]
        if not counts[word].known and word not in PARTICLES and word not in query_codes:
            replacement = _read_otherwise(word, vocabulary)
            if replacement != [word]:
                corrected[word] = " ".join(replacement)
        spelled += replacement
    readings = [Reading.of(spelled)]
    for place, word in joined.items():
        if counts[word].known and len(readings) < MAX_READINGS:
            readings.append(Reading.of([*found[:place], word, *found[place + 2 :]]))
    return Query(text, tuple(dict.fromkeys(readings)), query_codes, corrected)


def spelled(word: str) -> str:
    """Return a word as its trigrams are kept: its beginning and its end count, too."""
    return f"  {word} "


def _read_otherwise(word: str, vocabulary: Vocabulary) -> list[str]:
    """Return the word that is spelled like an unknown one, or the two that it consists of."""
    if not _LEAST_LETTERS <= len(word) <= _MOST_LETTERS or has_digit(word):
        return [word]
    like = vocabulary.like(word)
    if like:
        return like[:1]
    splits = [(word[:place], word[place:]) for place in range(3, len(word) - 2)]
    counts = vocabulary.counts(part for split in splits for part in split)
    known = [split for split in splits if counts[split[0]].texts and counts[split[1]].texts]
    if not known:
        return [word]
    return list(max(known, key=lambda split: min(counts[part].texts for part in split)))


def _query_codes(text: str, found: Sequence[str], vocabulary: Vocabulary) -> tuple[str, ...]:
    """Return the model numbers that a query names and an item has."""
    possible = [*codes(text), *(word for word in found if has_digit(word))]
    for first, second in pairwise(found):
        if has_digit(first) or has_digit(second):
            possible.append(f"{first}{second}")
    sequences = "".join(sequence(text))
    possible.append("".join(character for character in sequences if character.isalnum()))
    usable = [code for code in dict.fromkeys(possible) if len(code) <= 64]
    return tuple(code for code in usable if vocabulary.has_code(code))


def edit_distance(left: str, right: str, most: int) -> int:
    """Return how many letters are to be changed, added, left out or swapped; at most ``most`` + 1.

    It is the optimal string alignment distance.
    """
    if abs(len(left) - len(right)) > most:
        return most + 1
    before: list[int] = []
    row = list(range(len(right) + 1))
    for place, letter in enumerate(left, 1):
        current = [place]
        for other_place, other in enumerate(right, 1):
            cost = min(
                row[other_place] + 1,
                current[-1] + 1,
                row[other_place - 1] + (letter != other),
            )
            if (
                place > 1
                and other_place > 1
                and letter == right[other_place - 2]
                and left[place - 2] == other
            ):
                cost = min(cost, before[other_place - 2] + 1)
            current.append(cost)
        if min(current) > most:
            return most + 1
        before, row = row, current
    return min(row[-1], most + 1)
