"""How often titles say their item's value, so that a silent title speaks against a known value.

Of some values nearly every title has the words: an item that looks like a shirt, but whose title
lacks the word, has perhaps a value that nobody has. Of others few titles have them. A value is said
in whole if all of its words are in the title, and by its head if the last one is, which names the
kind of thing in most compounds: "shoes" of "casual shoes".

Shapes: N titles, V values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from experts.title_spans import Words, spanned, words_of
from fusion.inference.featurizer import PropertyValue
from schema.arrays import BoolArray, FloatArray, IntArray
from schema.ontology import PropertySpec

SAID_FEATURES = 4
"""Whether the title says the value in whole, how surprising it is if not, and both of its head."""
_PRIOR_COUNT = 2.0
"""Titles with which a value's share begins at that of all values of the property."""
_LEAST_SHARE = 1e-3
_MOST_SHARE = 0.99


@dataclass(frozen=True)
class SaidValues:
    """A property's values, and how often titles of their items say them.

    Attributes:
        texts: the words of each spelling of each of the V values
        whole: the share of titles of a value's items that say it in whole [V]
        head: the share that says its last word [V]
    """

    texts: tuple[tuple[Words, ...], ...]
    whole: FloatArray
    head: FloatArray

    @classmethod
    def of(cls, spec: PropertySpec, whole: FloatArray, head: FloatArray) -> SaidValues:
        """Return the values of ``spec`` with their shares [V]."""
        texts = tuple(
            tuple(dict.fromkeys(filter(None, map(words_of, spec.texts_of(value)))))
            for value in spec.values
        )
        return cls(texts, whole, head)

    @classmethod
    def fit(
        cls,
        spec: PropertySpec,
        titles: Sequence[str | None],
        known: Sequence[Sequence[PropertyValue]],
    ) -> SaidValues:
        """Count how often the titles of N labelled items say their values."""
        empty = cls.of(spec, np.zeros(0), np.zeros(0))
        items = np.zeros(len(spec.values))
        said = np.zeros((2, len(spec.values)))
        for title, statements in zip(titles, known, strict=True):
            if not title:
                continue
            for name, value in statements:
                position = spec.position(value) if name == spec.name else None
                if position is not None:
                    items[position] += 1
                    said[:, position] += empty.says(position, title)
        usual = said.sum(1, keepdims=True) / max(items.sum(), 1)
        whole, head = (said + _PRIOR_COUNT * usual) / (items + _PRIOR_COUNT)
        return replace(empty, whole=whole, head=head)

    def says(self, position: int, title: str | None) -> tuple[bool, bool]:
        """Return whether a title says a value in whole, and whether it says its head."""
        words = spanned(title).word_set
        texts = self.texts[position]
        return any(words.issuperset(text) for text in texts), any(
            text[-1] in words for text in texts
        )

    def features(self, best: IntArray, titles: Sequence[str | None]) -> FloatArray:
        """Return what titles [N] tell of their best known values [N], by position, [N, 4].

        All of it is 0 without a title.
        """
        found = np.zeros((len(best), SAID_FEATURES))
        there = np.array([bool(title) for title in titles], bool)
        if not there.any():
            return found
        said: BoolArray = np.array(
            [self.says(own, title) for own, title in zip(best.tolist(), titles, strict=True)], bool
        )
        surprise = self._surprise[:, best].T
        found[:, 0::2] = said
        found[:, 1::2] = np.where(said, 0, surprise)
        found[~there] = 0
        return found

    @cached_property
    def _surprise(self) -> FloatArray:
        """How surprising a title is that does not say a value: -log(1 - share), [2, V]."""
        shares = np.clip(np.stack([self.whole, self.head]), _LEAST_SHARE, _MOST_SHARE)
        return np.asarray(-np.log1p(-shares))
