"""What an item is, and what it is only for: the head words of its texts.

In "notebook sleeve" the head is "sleeve", and "notebook" says what it is for. A query for notebooks
wants the items that are some. Nobody has to label this: how often a word ends a phrase in the
catalogue's own texts tells whether it is a word for things. An occurrence is that of a head unless
such a word follows it, as in "TV stand", or "for" stands before it, as in "sleeve for notebooks".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from serving.search.words import BREAK, has_digit, stem

ENDS_PHRASES = 0.35
"""A word of which this share of the occurrences end a phrase is one for things."""
VALUE_SHARE = 0.006
"""A word that is the whole value of a property of so many items describes things: black."""
LEAST_VALUES = 3
_PRIOR = 3.0
"""A word seen rarely counts as one that ends no phrase."""

FOR = frozenset(map(stem, "for f fur pour para per voor dla til till to".split()))
"""Words behind which it is said what an item is for."""
FOR_REACHES = 3
"""Words behind "for" that belong to it."""
PARTICLES = FOR | frozenset(
    map(
        stem,
        (
            "with w in and by of from incl inc plus or on at without the a an "
            "mit und ohne von aus im in der die das "
            "avec et sans de du des en le la les "
            "con y sin del el los las e di da senza per il "
            "met en van zonder med og och av i na z"
        ).split(),
    )
)
"""Words that end the phrase before them, in the commonest languages of catalogues."""


@dataclass
class WordUse:
    """How a catalogue uses its words; ``add`` counts an item's sequences and whole values."""

    items: int = 0
    occurrences: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    """How often a word is followed by punctuation, a number or a particle, or by nothing."""
    before: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often a word stands before another one."""
    values: Counter[str] = field(default_factory=Counter)
    """How many items have a word as the whole value of a property."""

    def add(self, texts: Iterable[Sequence[str]], values: Iterable[str]) -> None:
        """Count an item's sequences of words, and the words that are whole values."""
        self.items += 1
        self.values.update(set(values))
        for text in texts:
            for place, word in enumerate(text):
                if word == BREAK or has_digit(word):
                    continue
                self.occurrences[word] += 1
                after = text[place + 1] if place + 1 < len(text) else BREAK
                if after == BREAK or has_digit(after) or after in PARTICLES:
                    self.ends[word] += 1
                else:
                    self.before[word, after] += 1

    def describing(self) -> frozenset[str]:
        """Return the words that are so often a whole value that they describe things."""
        least = max(LEAST_VALUES, VALUE_SHARE * self.items)
        return frozenset(word for word, count in self.values.items() if count >= least)

    def things(self) -> frozenset[str]:
        """Return the words for things: those that often end a phrase."""
        describing = self.describing()
        ends = Counter(self.ends)
        for (word, after), count in self.before.items():
            if after in describing:
                ends[word] += count
        return frozenset(
            word
            for word, count in ends.items()
            if word not in describing
            and word not in PARTICLES
            and count / (self.occurrences[word] + _PRIOR) > ENDS_PHRASES
        )


def heads_of(texts: Iterable[Sequence[str]], things: frozenset[str]) -> list[str]:
    """Return the words that occur as heads in an item's sequences, each once."""
    found: dict[str, None] = {}
    for text in texts:
        for place, word in enumerate(text):
            if word == BREAK or word in PARTICLES:
                continue
            if place + 1 < len(text) and text[place + 1] in things:
                continue
            if _is_behind_for(text, place):
                continue
            found[word] = None
    return list(found)


def _is_behind_for(text: Sequence[str], place: int) -> bool:
    """Return whether "for" stands shortly before a word, as in "for your new TV"."""
    for word in reversed(text[max(0, place - FOR_REACHES) : place]):
        if word == BREAK:
            return False
        if word in FOR:
            return True
    return False


def head_of_query(words: Sequence[str]) -> str:
    """Return the word of a query that says what is wanted: the last one before "for" or "with"."""
    for place, word in enumerate(words):
        if place and word in PARTICLES:
            return words[place - 1]
    return words[-1] if words else ""
