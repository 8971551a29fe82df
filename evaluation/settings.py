"""Evaluation settings: which modalities of an item a model may use to predict a hidden cell."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from fusion.inference.featurizer import ItemInput
from schema.errors import UsageError
from schema.modalities import CONTENT_MODALITIES, NETWORK_MODALITIES, Modality
from schema.ontology import Ontology
from schema.wording import blind_title, value_words

CHOICES: dict[Modality, tuple[str, ...]] = {
    Modality.TITLE: ("full", "blind", "none"),
    Modality.DESCRIPTION: ("yes", "no"),
    Modality.CATEGORY: ("yes", "no"),
    Modality.IMAGE: ("yes", "no"),
    Modality.STATEMENTS: ("all", "none"),
}
"""The choices that a setting has for each modality: everything first, nothing last."""


@dataclass(frozen=True)
class Setting:
    """A choice for each modality; the fields are options of ``catalograph evaluate completion``.

    A ``blind`` title has lost every word that occurs in any value of the ontology, with or without
    a final s: predicting from it takes more than copying a word. So has the description beside it.
    Descriptions and categories are hidden unless they are asked for: a category often restates the
    properties, and what titles, images and statements tell can be compared with other models.
    """

    title: str = "full"
    image: str = "yes"
    known: str = "all"
    description: str = "no"
    category: str = "no"

    def __post_init__(self) -> None:
        for modality, choices in CHOICES.items():
            choice = self.choice(modality)
            if choice not in choices:
                *others, last = choices
                raise UsageError(
                    f"--{modality} {choice!r} is unknown: choose {', '.join(others)} or {last}"
                )

    def choice(self, modality: Modality) -> str:
        """Return the choice for a modality, one of :data:`CHOICES`."""
        match modality:
            case Modality.TITLE:
                return self.title
            case Modality.DESCRIPTION:
                return self.description
            case Modality.CATEGORY:
                return self.category
            case Modality.IMAGE:
                return self.image
            case Modality.STATEMENTS:
                return self.known

    def shows(self, modality: Modality) -> bool:
        """Return whether the model may see anything of a modality."""
        return self.choice(modality) != CHOICES[modality][-1]

    def as_dict(self) -> dict[str, str]:
        """Return plain data: each modality's choice; of details, of those that are shown."""
        return {
            modality.value: self.choice(modality)
            for modality in Modality
            if modality in NETWORK_MODALITIES or self.shows(modality)
        }

    @property
    def name(self) -> str:
        """A name like ``blind+image+known``; ``nothing`` if no modality is shown.

        A modality with more than two choices is named by its choice, the others by their own name.
        """
        names = [
            self.choice(modality) if len(CHOICES[modality]) > 2 else modality.value
            for modality in Modality
            if self.shows(modality)
        ]
        return "+".join(names) or "nothing"


def _every_setting() -> list[Setting]:
    """Return every combination of title, image and statements but the one that shows nothing."""
    # Reversed, so that the model sees more from setting to setting, as in the table of
    # docs/results.md.
    combinations = itertools.product(
        CHOICES[Modality.TITLE],
        reversed(CHOICES[Modality.IMAGE]),
        reversed(CHOICES[Modality.STATEMENTS]),
    )
    settings = [Setting(*choices) for choices in combinations]
    return [setting for setting in settings if any(map(setting.shows, Modality))]


SETTINGS = tuple(_every_setting())
"""The eleven settings in which the model sees something of title, image and statements."""


def catalogue_words(ontology: Ontology, blind_also: Iterable[str] = ()) -> frozenset[str]:
    """Return the words that blind titles lose.

    These are the words of all values however they are written, with and without a final s, and of
    ``blind_also``. Identifiers and prose are no values to complete, and do not count.
    """
    specs = (spec for spec in ontology.properties.values() if spec.is_learned)
    return value_words((text for spec in specs for text in spec.texts()), blind_also)


def apply_setting(
    items: Sequence[ItemInput], setting: Setting, words: frozenset[str]
) -> list[ItemInput]:
    """Return the items with the content that the setting shows; blind titles lose ``words``.

    The items' statements are kept even if the setting hides them, since they are also the truth.
    """
    return [_apply(item, setting, words) for item in items]


def _apply(item: ItemInput, setting: Setting, words: frozenset[str]) -> ItemInput:
    for modality in CONTENT_MODALITIES:
        if not setting.shows(modality):
            item = item.without(modality)
    if setting.title == "blind":
        item = replace(
            item,
            title=blind_title(item.title, words) if item.title else None,
            description=blind_title(item.description, words) if item.description else None,
        )
    return item
