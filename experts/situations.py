"""What is known of an item when one of its cells is scored, as far as experts differ by it."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from copy import copy
from dataclasses import dataclass, replace
from enum import StrEnum

from fusion.inference.featurizer import PropertyValue
from schema.modalities import Modality
from schema.ontology import Ontology
from schema.wording import blind_title, plain_words, value_words


class TitleState(StrEnum):
    """What a title tells of a property, from everything to nothing."""

    SAYS = "says"
    """It has a word of the property's own values."""
    OTHERS = "others"
    """It has words of other properties' values alone."""
    BARE = "bare"
    """It has no word of any value."""
    ABSENT = "absent"
    """There is no title."""


class CategoryState(StrEnum):
    """What a category tells of a property."""

    SAYS = "says"
    """One of its levels is one of the property's values."""
    THERE = "there"
    """No level is."""
    ABSENT = "absent"
    """There is no category."""


@dataclass(frozen=True, order=True)
class Situation:
    """What is known of an item: what its texts tell, its image, other statements, its category.

    ``title`` says what the title tells, or title and description together if both are there.
    """

    title: TitleState
    image: bool
    known: bool
    description: bool = False
    category: CategoryState = CategoryState.ABSENT

    @property
    def name(self) -> str:
        """A name such as ``title(says)+image+known``; ``nothing`` if there is nothing."""
        parts = []
        if self.title is not TitleState.ABSENT:
            parts.append(f"{Modality.TITLE}({self.title})")
        if self.description:
            parts.append(Modality.DESCRIPTION)
        if self.category is CategoryState.SAYS:
            parts.append(f"{Modality.CATEGORY}({self.category})")
        elif self.category is CategoryState.THERE:
            parts.append(Modality.CATEGORY)
        if self.image:
            parts.append(Modality.IMAGE)
        if self.known:
            parts.append(Modality.STATEMENTS)
        return "+".join(parts) or "nothing"

    @property
    def nearest(self) -> Sequence[Situation]:
        """Situations from which a rare one learns, the most alike first."""
        if self.title is TitleState.ABSENT:
            return ()
        states = [TitleState.OTHERS, TitleState.SAYS, TitleState.BARE]
        return [replace(self, title=state) for state in states if state != self.title]

    @property
    def with_less(self) -> Sequence[Situation]:
        """The same with less and less of category and description, the most alike first."""
        steps = []
        if self.category is CategoryState.SAYS:
            steps.append(replace(self, category=CategoryState.THERE))
        if self.category is not CategoryState.ABSENT:
            steps.append(replace(self, category=CategoryState.ABSENT))
        if self.description:
            steps += [replace(each, description=False) for each in (self, *steps)]
        return steps


class CatalogueWords:
    """The words of an ontology's values, by which a title tells of a property."""

    def __init__(self, ontology: Ontology) -> None:
        self._ontology = ontology
        self._of_property = {
            name: value_words(ontology[name].texts()) for name in ontology.learned()
        }
        self._all = frozenset().union(*self._of_property.values())
        self._last: tuple[str, frozenset[str] | None] = ("", None)

    def without(self, property: str, values: Collection[str]) -> CatalogueWords:
        """Return the words of an ontology that does not have some values of a property."""
        spec = self._ontology[property]
        kept = [
            text for value in spec.values if value not in values for text in spec.texts_of(value)
        ]
        fewer = copy(self)
        fewer._of_property = {**self._of_property, property: value_words(kept)}
        fewer._all = frozenset().union(*fewer._of_property.values())
        # What is remembered of the last title is about all values.
        fewer._last = ("", None)
        return fewer

    def blind(self, title: str | None) -> str | None:
        """Return a title without the words of any value; None if no word is left."""
        return None if not title else blind_title(title, self._all)

    def states(self, title: str | None, properties: Sequence[str]) -> list[TitleState]:
        """Return what a title tells of each property."""
        words = self._words_of_values(title) if title else None
        if words is None:
            return [TitleState.ABSENT] * len(properties)
        if not words:
            return [TitleState.BARE] * len(properties)
        return [
            TitleState.OTHERS if words.isdisjoint(self._of_property[name]) else TitleState.SAYS
            for name in properties
        ]

    def _words_of_values(self, title: str) -> frozenset[str] | None:
        """Return the words of values that a title has; None if it has no word at all."""
        # All variants of an item are asked for one after the other.
        last, found = self._last
        if title != last:
            words = frozenset(plain_words(title))
            found = words & self._all if words else None
            self._last = (title, found)
        return found


def text_of(title: str | None, description: str | None) -> str | None:
    """Return a title together with the description; None if there is no title."""
    return f"{title} {description}" if title and description else title


def every_situation() -> list[Situation]:
    """Return all situations that there are."""
    return [
        Situation(*each)
        for each in itertools.product(
            TitleState, (True, False), (True, False), (True, False), CategoryState
        )
    ]


def others_of(known: Sequence[PropertyValue], property: str) -> tuple[PropertyValue, ...]:
    """Return the statements that are not of ``property``."""
    return tuple(statement for statement in known if statement[0] != property)
