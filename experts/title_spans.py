"""The spans of a title that may be a value which no item has yet, and what speaks for each.

A span is one to three words in a row. What tells a value of a property from other words is what
distinguishes the property's known values where titles have them: the words around them, how far
from the end of the title they stand, and that items with another value do not have them. None of
this depends on the value itself, so it also holds for one that was never learned (open-vocabulary
attribute value extraction; compare OpenTag, Zheng et al. 2018).

Words are compared without case, punctuation and a plural s. A part of one or two letters before a
hyphen is no word of its own: "T-shirt" is one, and does not say that a thing is a shirt.

Shapes: N titles, O occurrences of spans in titles, G different spans, T tags of words, S spans of
one title, D features.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fusion.inference.featurizer import PropertyValue
from schema.arrays import BoolArray, FloatArray, IntArray
from schema.ontology import Ontology, PropertySpec
from schema.wording import singular

LONGEST_SPAN = 3
MAX_WORDS = 60
"""Words of a title that are read; of the rest no span is taken."""
MAX_SPANS = 200_000
"""Different spans that are kept: the commonest. Any other one counts as never seen."""
COMMON_WORD = 20
"""Titles that a word needs to count as itself beside a span; a rarer one counts as unknown."""
PLACES = 5
"""Places of a span, by how many words follow it: 0 to 3, or more."""
START = "<start>"
END = "<end>"
UNKNOWN = "<unknown>"
_PRIOR_COUNT = 0.5
_READ_TITLES = 4096

FEATURES = (
    "titles with another value that have the span, log(1 + count)",
    "titles that have the span, log(1 + count)",
    "the former's share of the latter",
    "is a value of another property",
    "log odds of the word before",
    "log odds of the word after",
    "log odds of the number of words after",
    "has two words",
    "has three words",
    "some word is one of a known value",
    "each word is one of a known value",
    "begins the title",
    "contains a known value of the property",
    "one",
)

Words: TypeAlias = tuple[str, ...]
_WORD = re.compile(r"(?:[^\W\d_]{1,2}-)?\w+")


def words_of(text: str) -> Words:
    """Return the words of a text as they are compared."""
    return tuple(map(_compared, _WORD.findall(text)))


def _compared(word: str) -> str:
    # Casefolding may change what is a word: that of "İ" ends in a mark.
    return singular(word.casefold().replace("-", ""))


@dataclass(frozen=True)
class Span:
    """Words of a title, as they are compared, from character ``start`` to ``end``."""

    words: Words
    start: int
    end: int


@dataclass(frozen=True)
class SpannedTitle:
    """A title's words, and its spans by their first and last word [S, 2], the last one excluded."""

    words: Words
    spans: tuple[Span, ...]
    ranges: IntArray

    @cached_property
    def word_set(self) -> frozenset[str]:
        """The words, each once."""
        return frozenset(self.words)

    @classmethod
    def of(cls, title: str | None) -> SpannedTitle:
        """Read a title; one without words has no span."""
        matches = list(_WORD.finditer(title or ""))[:MAX_WORDS]
        # Each word by itself: casefolding may change a text's length.
        words = tuple(_compared(match[0]) for match in matches)
        ranges = [
            (first, last)
            for first in range(len(words))
            for last in range(first + 1, min(first + LONGEST_SPAN, len(words)) + 1)
        ]
        spans = tuple(
            Span(words[first:last], matches[first].start(), matches[last - 1].end())
            for first, last in ranges
        )
        return cls(words, spans, np.array(ranges, np.int64).reshape(-1, 2))


@lru_cache(maxsize=_READ_TITLES)
def spanned(title: str | None) -> SpannedTitle:
    """Read a title; those read last are remembered, as each is asked for every property."""
    return SpannedTitle.of(title)


@dataclass(frozen=True)
class SpanVocabulary:
    """The spans of a catalogue's titles, and the tags by which the words beside them are known.

    A word's tag is the property of whose values it is a word, or the word itself if it is common,
    or else :data:`UNKNOWN`.

    Attributes:
        numbers: the number of each of the G spans
        titles: how many titles have it [G]
        tags: the number of each of the T tags
        tag_of_word: the tag's number by word; of a word that is not there, the unknown tag's
        values: the words of each property's values
    """

    numbers: dict[Words, int]
    titles: IntArray
    tags: dict[str, int]
    tag_of_word: dict[str, int]
    values: dict[str, frozenset[Words]]

    @cached_property
    def properties_of(self) -> dict[Words, frozenset[str]]:
        """The properties that have a value of these words."""
        owners: dict[Words, set[str]] = defaultdict(set)
        for name, values in self.values.items():
            for words in values:
                owners[words].add(name)
        return {words: frozenset(names) for words, names in owners.items()}

    @cached_property
    def value_tags(self) -> frozenset[int]:
        """The tags of words of values."""
        return frozenset(self.tags[f"<{name}>"] for name in self.values)

    @classmethod
    def fit(cls, titles: Sequence[str | None], ontology: Ontology) -> SpanVocabulary:
        """Count the spans of titles."""
        counts: Counter[Words] = Counter()
        of_words: Counter[str] = Counter()
        for title in titles:
            read = SpannedTitle.of(title)
            counts.update({span.words for span in read.spans})
            of_words.update(set(read.words))
        kept = sorted(counts, key=lambda words: (-counts[words], words))[:MAX_SPANS]
        common = sorted(word for word, count in of_words.items() if count >= COMMON_WORD)
        titles_with = np.array([counts[words] for words in kept], np.int64)
        return cls.of(kept, titles_with, common, ontology)

    @classmethod
    def of(
        cls, spans: Sequence[Words], titles: IntArray, common: Sequence[str], ontology: Ontology
    ) -> SpanVocabulary:
        """Return the vocabulary of ``spans`` [G], in which some words are ``common``."""
        values = {
            name: frozenset(filter(None, map(words_of, ontology[name].texts())))
            for name in ontology.learned()
        }
        names = [START, END, UNKNOWN, *(f"<{name}>" for name in values), *common]
        tags = {name: number for number, name in enumerate(names)}
        tag_of_word = {word: tags[word] for word in common}
        for name in reversed(values):
            for words in values[name]:
                tag_of_word.update(dict.fromkeys(words, tags[f"<{name}>"]))
        return cls(
            numbers={words: number for number, words in enumerate(spans)},
            titles=titles,
            tags=tags,
            tag_of_word=tag_of_word,
            values=values,
        )

    @property
    def common(self) -> list[str]:
        """The common words, in the order of their tags."""
        return list(self.tags)[3 + len(self.values) :]

    def beside(
        self, title: SpannedTitle, unknown: Collection[str] = ()
    ) -> tuple[IntArray, IntArray]:
        """Return the tags of the words before and after each of a title's spans [S].

        Words that are ``unknown`` are taken for such, although they are words of a value.
        """
        of_unknown = self.tags[UNKNOWN]
        tags = [
            of_unknown if word in unknown else self.tag_of_word.get(word, of_unknown)
            for word in title.words
        ]
        every = np.array([self.tags[START], *tags, self.tags[END]], np.int64)
        return every[title.ranges[:, 0]], every[title.ranges[:, 1] + 1]

    def numbers_of(self, title: SpannedTitle) -> IntArray:
        """Return the numbers of a title's spans [S], and -1 for those never seen."""
        return np.array([self.numbers.get(span.words, -1) for span in title.spans], np.int64)


@dataclass(frozen=True)
class SpanStatistics:
    """What distinguishes the spans that are values of a property.

    Attributes:
        property: the property
        titles: how many titles have a span [G]
        unlabelled: in how many of these the property's value is hidden [G]
        elsewhere: how many titles of items with another value have a span [G]
        before: log odds of the word before by its tag [T]: of a value's and of any other span
        after: those of the word after [T]
        place: those of the number of words after, up to 4 [5]
        known: the words of the property's values
        hidden_words: words of values alone that count as unknown
    """

    property: str
    titles: IntArray
    unlabelled: IntArray
    elsewhere: IntArray
    before: FloatArray
    after: FloatArray
    place: FloatArray
    known: frozenset[Words]
    hidden_words: frozenset[str] = frozenset()

    def unseen(self) -> SpanStatistics:
        """Return the statistics without the titles of items whose value is hidden."""
        return replace(
            self,
            titles=self.titles - self.unlabelled,
            unlabelled=np.zeros_like(self.unlabelled),
        )


def known_words(spec: PropertySpec, hidden: Collection[int] = ()) -> frozenset[Words]:
    """Return the words of each value of a property but those ``hidden``, in every spelling."""
    texts = (
        other
        for position, text in enumerate(spec.values)
        if position not in hidden
        for other in spec.texts_of(text)
    )
    return frozenset(filter(None, map(words_of, texts)))


class SpanReader:
    """Reads the titles of labelled items once, for the statistics of all properties.

    Args:
        titles: the N titles
        known: the items' statements
        ontology: the properties and their values
    """

    def __init__(
        self,
        titles: Sequence[str | None],
        known: Sequence[Sequence[PropertyValue]],
        ontology: Ontology,
    ) -> None:
        self.vocabulary = SpanVocabulary.fit(titles, ontology)
        self._ontology = ontology
        read = [SpannedTitle.of(title) for title in titles]
        self._items = len(read)
        self._item = np.repeat(np.arange(len(read)), [len(each.spans) for each in read])
        self._span = _joined(self.vocabulary.numbers_of(each) for each in read)
        self._place = _joined(_places(each) for each in read)
        # Padded by the ends of a title, so that the words beside a span are found by their number.
        self._words, self._first, self._last = self._read_words(read)
        self._values = self._positions(known)

    def _read_words(self, read: Sequence[SpannedTitle]) -> tuple[list[str], IntArray, IntArray]:
        words: list[str] = []
        first: list[IntArray] = []
        last: list[IntArray] = []
        for each in read:
            first.append(each.ranges[:, 0] + len(words))
            last.append(each.ranges[:, 1] + 1 + len(words))
            words += [START, *each.words, END]
        return words, _joined(first), _joined(last)

    def _positions(
        self, known: Sequence[Sequence[PropertyValue]]
    ) -> dict[str, list[tuple[int, int]]]:
        """Return each property's statements as pairs of an item and a value's position."""
        found: dict[str, list[tuple[int, int]]] = {name: [] for name in self.vocabulary.values}
        for item, statements in enumerate(known):
            for name, value in statements:
                position = self._ontology.position(name, value)
                if position is not None and name in found:
                    found[name].append((item, position))
        return found

    def statistics(self, property: str, hidden: Collection[int] = ()) -> SpanStatistics:
        """Return a property's statistics, as if no item had one of the ``hidden`` values.

        These are given by their positions. Items that have one count as without a label.
        """
        spec = self._ontology[property]
        numbers = self.vocabulary.numbers
        spans = len(numbers)
        statements = self._values[property]
        unlabelled = {item for item, position in statements if position in hidden}
        labelled = np.zeros(self._items, bool)
        own: list[int] = []
        value_words = [words_of(text) for text in spec.values]
        for item, position in statements:
            if item in unlabelled:
                continue
            labelled[item] = True
            number = numbers.get(value_words[position])
            if number is not None:
                own.append(item * spans + number)
        kept = labelled[self._item]
        hides = np.isin(self._item, np.array(sorted(unlabelled), np.int64))
        items = self._item[kept]
        numbers_kept = self._span[kept]
        is_own = np.isin(items * spans + numbers_kept, np.array(own, np.int64))
        is_value = is_own & (numbers_kept >= 0)
        visible = known_words(spec, hidden)
        of_others = (values for name, values in self.vocabulary.values.items() if name != property)
        hidden_words = _words(self.vocabulary.values[property]) - _words(visible.union(*of_others))
        tags = self._tags(hidden_words)
        return SpanStatistics(
            property=property,
            titles=self.vocabulary.titles,
            unlabelled=self._titles_with(self._item[hides], self._span[hides]),
            elsewhere=self._titles_with(items[~is_value], numbers_kept[~is_value]),
            before=_log_odds(tags[self._first[kept]], is_value, len(self.vocabulary.tags)),
            after=_log_odds(tags[self._last[kept]], is_value, len(self.vocabulary.tags)),
            place=_log_odds(self._place[kept], is_value, PLACES),
            known=visible,
            hidden_words=hidden_words,
        )

    def _tags(self, unknown: Collection[str]) -> IntArray:
        """Return the tag of each word of the titles, with some words unknown."""
        tags = self.vocabulary.tags
        of_unknown = tags[UNKNOWN]
        of_word = {**self.vocabulary.tag_of_word, START: tags[START], END: tags[END]}
        for word in unknown:
            of_word.pop(word, None)
        return np.array([of_word.get(word, of_unknown) for word in self._words], np.int64)

    def _titles_with(self, item: IntArray, span: IntArray) -> IntArray:
        """Count the titles that have each span, given its occurrences [O]."""
        spans = len(self.vocabulary.numbers)
        seen = span >= 0
        once = np.unique(item[seen] * spans + span[seen])
        return np.bincount(once % max(spans, 1), minlength=spans)


def features_of(
    vocabulary: SpanVocabulary,
    statistics: SpanStatistics,
    title: SpannedTitle,
    *,
    is_counted: bool = False,
    is_labelled: bool = False,
) -> tuple[NDArray[np.int64], FloatArray]:
    """Return which of a title's spans may be an unknown value [S'], and their features [S', D].

    Spans that are a known value of the property may not. If the title ``is_counted`` in the
    vocabulary, and its item ``is_labelled`` with a value of the property, they are scored as if it
    were not.
    """
    open_spans = np.array(
        [n for n, span in enumerate(title.spans) if span.words not in statistics.known], np.int64
    )
    if not len(open_spans):
        return open_spans, np.zeros((0, len(FEATURES)))
    numbers = vocabulary.numbers_of(title)[open_spans]
    before, after = vocabulary.beside(title, statistics.hidden_words)
    titles = _at(statistics.titles, numbers) - is_counted
    elsewhere = _at(statistics.elsewhere, numbers) - is_labelled
    titles = np.maximum(titles, 0)
    elsewhere = np.clip(elsewhere, 0, titles)
    ranges = title.ranges[open_spans]
    lengths = ranges[:, 1] - ranges[:, 0]
    of_value = _are_words_of_values(vocabulary, statistics, title)
    bounds: list[tuple[int, int]] = [(int(first), int(last)) for first, last in ranges]
    some = np.array([of_value[first:last].any() for first, last in bounds])
    each = np.array([of_value[first:last].all() for first, last in bounds])
    owners = vocabulary.properties_of
    is_other = [
        bool(owners.get(title.spans[number].words, frozenset()) - {statistics.property})
        for number in open_spans
    ]
    has_known = [
        any(
            title.words[start:end] in statistics.known
            for start in range(first, last)
            for end in range(start + 1, last + 1)
        )
        for first, last in bounds
    ]
    columns = (
        np.log1p(elsewhere),
        np.log1p(titles),
        elsewhere / np.maximum(titles, 1),
        is_other,
        statistics.before[before[open_spans]],
        statistics.after[after[open_spans]],
        statistics.place[_places(title)[open_spans]],
        lengths == 2,
        lengths == 3,
        some,
        each,
        ranges[:, 0] == 0,
        has_known,
        np.ones(len(open_spans)),
    )
    return open_spans, np.column_stack([np.asarray(column, np.float64) for column in columns])


def _are_words_of_values(
    vocabulary: SpanVocabulary, statistics: SpanStatistics, title: SpannedTitle
) -> BoolArray:
    """Return which of a title's words are words of any known value."""
    tags = vocabulary.value_tags
    return np.array(
        [
            word not in statistics.hidden_words and vocabulary.tag_of_word.get(word) in tags
            for word in title.words
        ],
        bool,
    )


def _places(title: SpannedTitle) -> IntArray:
    return np.minimum(len(title.words) - title.ranges[:, 1], PLACES - 1)


def _log_odds(tags: IntArray, is_value: BoolArray, count: int) -> FloatArray:
    """Return log P(tag | value) - log P(tag | other span) by tag, smoothed."""
    of_values = np.bincount(tags[is_value], minlength=count) + _PRIOR_COUNT
    of_others = np.bincount(tags[~is_value], minlength=count) + _PRIOR_COUNT
    return np.log(of_values / of_values.sum()) - np.log(of_others / of_others.sum())


def _at(counts: IntArray, numbers: IntArray) -> IntArray:
    """Return the counts of spans, 0 for those never seen."""
    found = np.zeros(len(numbers), counts.dtype)
    seen = numbers >= 0
    found[seen] = counts[numbers[seen]]
    return found


def _words(values: Iterable[Words]) -> frozenset[str]:
    return frozenset(word for words in values for word in words)


def _joined(parts: Iterable[IntArray]) -> IntArray:
    arrays = list(parts)
    return np.concatenate(arrays) if arrays else np.zeros(0, np.int64)
