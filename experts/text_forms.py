"""Titles and descriptions of labelled items, in every form in which their cells are scored.

Shapes: N items, P properties.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from experts.labelled_items import LabelledItems
from experts.situations import CatalogueWords, TitleState, text_of
from experts.variants import VARIANTS, TitleVariant, Variant
from schema.arrays import BoolArray
from schema.wording import WORD

_DROPPED = (0.1, 0.6)
"""The share of words that a title loses is drawn between these."""


@dataclass(frozen=True)
class TextForms:
    """The N items' texts in every form, and what they tell of P properties.

    Attributes:
        words: those of the catalogue's values
        titles: by form [N]
        descriptions: by form [N]
        properties: those that are learned
        states: by the forms of title and description, what both tell of each property, as places
            among the members of :class:`experts.situations.TitleState` [N, P]
    """

    words: CatalogueWords
    titles: Mapping[TitleVariant, Sequence[str | None]]
    descriptions: Mapping[TitleVariant, Sequence[str | None]]
    properties: Sequence[str]
    states: Mapping[tuple[TitleVariant, TitleVariant], NDArray[np.int8]]

    @classmethod
    def of(
        cls,
        items: LabelledItems,
        words: CatalogueWords,
        properties: Sequence[str],
        rng: np.random.Generator,
    ) -> TextForms:
        """Blind the texts of items, and draw which words the titles lose."""
        titles = {
            TitleVariant.WHOLE: list(items.titles),
            TitleVariant.BLIND: [words.blind(title) for title in items.titles],
            TitleVariant.DROPPED: [_with_words_dropped(title, rng) for title in items.titles],
        }
        descriptions = {
            TitleVariant.WHOLE: list(items.descriptions),
            TitleVariant.BLIND: [words.blind(text) for text in items.descriptions],
        }
        states = {
            forms: _states(texts, words, properties)
            for forms, texts in _texts_by_forms(titles, descriptions).items()
        }
        return cls(words, titles, descriptions, properties, states)

    def has_state(self, variant: Variant, property: str, state: TitleState) -> BoolArray:
        """Return which items' texts [N], as a variant shows them, tell this much of a property."""
        if variant.title is TitleVariant.NONE:
            count = len(self.titles[TitleVariant.WHOLE])
            return np.full(count, state is TitleState.ABSENT)
        states = self.states[variant.title, variant.description]
        column = states[:, self.properties.index(property)]
        return np.asarray(column == list(TitleState).index(state))


def _with_words_dropped(title: str | None, rng: np.random.Generator) -> str | None:
    if not title:
        return None
    words = title.split()
    share = rng.uniform(*_DROPPED)
    kept = [word for word in words if rng.random() >= share]
    text = " ".join(kept)
    return text if WORD.search(text) else None


def _texts_by_forms(
    titles: Mapping[TitleVariant, Sequence[str | None]],
    descriptions: Mapping[TitleVariant, Sequence[str | None]],
) -> dict[tuple[TitleVariant, TitleVariant], list[str | None]]:
    """Return titles with descriptions [N], in the forms of both that any variant shows together."""
    none = [None] * len(titles[TitleVariant.WHOLE])
    has_descriptions = any(descriptions[TitleVariant.WHOLE])
    texts: dict[tuple[TitleVariant, TitleVariant], list[str | None]] = {}
    for variant in VARIANTS:
        forms = variant.title, variant.description
        if forms in texts or variant.title is TitleVariant.NONE:
            continue
        if variant.shows_description and not has_descriptions:
            continue
        beside = descriptions.get(variant.description, none)
        texts[forms] = list(map(text_of, titles[variant.title], beside))
    return texts


def _states(
    texts: Sequence[str | None], words: CatalogueWords, properties: Sequence[str]
) -> NDArray[np.int8]:
    """Return what N texts tell of each of P properties, as places among the states [N, P]."""
    places = {state: place for place, state in enumerate(TitleState)}
    states = np.empty((len(texts), len(properties)), np.int8)
    for row, text in enumerate(texts):
        states[row] = [places[each] for each in words.states(text, properties)]
    return states
