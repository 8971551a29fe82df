"""What an evaluated cell is asked with: title full, blind or none; image or not; the item's other statements or none."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from fusion.inference.featurizer import ItemInput
from schema.errors import UsageError
from schema.ontology import Ontology
from schema.wording import blind_title, value_words

Title = Literal["full", "blind", "none"]
Known = Literal["all", "none"]


@dataclass(frozen=True, order=True)
class Setting:
    """One way of asking. A ``blind`` title has lost every word that stands in any value of the ontology, with or without a final s."""

    title: Title = "full"
    image: bool = True
    known: Known = "all"

    def __post_init__(self) -> None:
        if self.title not in get_args(Title):
            raise UsageError(f"--title {self.title!r} is unknown: choose full, blind or none")
        if self.known not in get_args(Known):
            raise UsageError(f"--known {self.known!r} is unknown: choose all or none")

    @classmethod
    def parse(cls, title: str, image: str, known: str) -> Setting:
        """A setting from the command line's words; ``image`` is yes or no."""
        if image not in ("yes", "no"):
            raise UsageError(f"--image {image!r} is unknown: choose yes or no")
        return cls(title, image == "yes", known)  # type: ignore[arg-type]  # checked in __post_init__

    @property
    def name(self) -> str:
        """Like ``blind+image+known``; ``nothing`` where all is left out."""
        parts = [
            self.title * (self.title != "none"),
            "image" * self.image,
            "known" * (self.known == "all"),
        ]
        return "+".join(part for part in parts if part) or "nothing"


SETTINGS = tuple(
    Setting(title, image, known)
    for title, image, known in itertools.product(
        get_args(Title), (False, True), reversed(get_args(Known))
    )
    if title != "none" or image or known == "all"
)
"""All eleven that ask with something."""


def catalogue_words(ontology: Ontology, also: Iterable[str] = ()) -> frozenset[str]:
    """The words that blinding removes: those of all values, with and without a final s, and of ``also``."""
    return value_words(
        (value for spec in ontology.properties.values() for value in spec.values), also
    )


def shown(items: Sequence[ItemInput], setting: Setting, words: frozenset[str]) -> list[ItemInput]:
    """The items as the setting shows their titles and images; their statements stay, since they are also the truth."""
    return [
        dataclasses.replace(
            item,
            title=_title(item.title, setting.title, words),
            image=item.image if setting.image else None,
        )
        for item in items
    ]


def _title(title: str | None, shown: Title, words: frozenset[str]) -> str | None:
    if title is None or shown == "none":
        return None
    return title if shown == "full" else blind_title(title, words)
