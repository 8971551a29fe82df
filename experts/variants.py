"""What is shown of labelled items when their cells are scored as if they were missing.

An item may come with any of its parts. So its cells are scored with its title whole, blinded or
thinned out, with and without its image, its description and its category, and with all, some or
none of its other statements.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeAlias

from experts.ensemble import Expert, Part
from experts.situations import others_of
from fusion.inference.featurizer import PropertyValue


class TitleVariant(StrEnum):
    """A form in which a title is shown."""

    WHOLE = "whole"
    BLIND = "blind"
    DROPPED = "dropped"
    """Some words are missing."""
    NONE = "none"


HIDDEN_TITLES = (TitleVariant.WHOLE, TitleVariant.NONE)
"""In which cells with hidden values are scored."""


class KnownVariant(StrEnum):
    """Which of an item's other statements are shown."""

    ALL = "all"
    SOME = "some"
    NONE = "none"


class CategoryVariant(StrEnum):
    """Which levels of an item's category are shown."""

    HIDDEN = "hidden"
    """Those that do not say the cell's value."""
    WHOLE = "whole"
    NONE = "none"


Form: TypeAlias = TitleVariant | KnownVariant | CategoryVariant


@dataclass(frozen=True, order=True)
class Variant:
    """What is shown of every item when its cells are scored as if they were missing."""

    title: TitleVariant
    known: KnownVariant
    image: bool
    description: TitleVariant = TitleVariant.NONE
    category: CategoryVariant = CategoryVariant.NONE

    @property
    def shows_known(self) -> bool:
        """Whether it shows any of an item's other statements."""
        return self.known is not KnownVariant.NONE

    @property
    def shows_description(self) -> bool:
        """Whether it shows the description."""
        return self.description is not TitleVariant.NONE

    @property
    def shows_category(self) -> bool:
        """Whether it shows the category."""
        return self.category is not CategoryVariant.NONE

    def form(self, part: Part) -> Form:
        """Return the form in which it shows what a part compares."""
        match part:
            case Part.TITLE:
                return self.title
            case Part.BLIND_TITLE:
                # Without value words, a whole title and a blind one are the same.
                is_blind = self.title is TitleVariant.BLIND
                return TitleVariant.WHOLE if is_blind else self.title
            case Part.IMAGE:
                return TitleVariant.WHOLE if self.image else TitleVariant.NONE
            case Part.STATEMENTS:
                return self.known
            case Part.DESCRIPTION:
                return self.description
            case Part.CATEGORY | Part.CATEGORY_VALUE:
                return self.category

    def seen_by(self, expert: Expert) -> Variant:
        """Return what an expert sees of it."""
        return Variant(
            self.title if expert.reads_title else TitleVariant.NONE,
            self.known if expert.reads_statements else KnownVariant.NONE,
            self.image and Part.IMAGE in expert.parts,
            self.description if Part.DESCRIPTION in expert.parts else TitleVariant.NONE,
            self.category if expert.reads_category else CategoryVariant.NONE,
        )

    def shows_all_of(self, expert: Expert) -> bool:
        """Return whether it shows everything that an expert reads."""
        return all(str(self.form(part)) != TitleVariant.NONE for part in expert.parts)


LEARNED = Variant(
    TitleVariant.WHOLE, KnownVariant.ALL, True, TitleVariant.WHOLE, CategoryVariant.HIDDEN
)
"""What experts are fitted on."""


def variants() -> Iterator[Variant]:
    """Yield every variant that shows something; each title goes with one choice of statements.

    Those that show neither a description nor a category come first.
    """
    without = list(_variants_of_others())
    yield from without
    nothing = Variant(TitleVariant.NONE, KnownVariant.NONE, False)
    usual = (TitleVariant.WHOLE, TitleVariant.NONE)
    for with_description, category in (
        (True, CategoryVariant.HIDDEN),
        (True, CategoryVariant.NONE),
        (False, CategoryVariant.HIDDEN),
        (True, CategoryVariant.WHOLE),
        (False, CategoryVariant.WHOLE),
    ):
        for each in (*without, nothing):
            description = TitleVariant.NONE
            if with_description:
                is_blind = each.title is TitleVariant.BLIND
                description = TitleVariant.BLIND if is_blind else TitleVariant.WHOLE
            # What a category says outweighs all else, so that the usual forms suffice.
            is_usual = each.title in usual and each.known is not KnownVariant.SOME
            if category is not CategoryVariant.WHOLE or is_usual:
                yield replace(each, description=description, category=category)


def _variants_of_others() -> Iterator[Variant]:
    """Yield every variant of titles, statements and images alone."""
    choices = {
        TitleVariant.WHOLE: (KnownVariant.ALL, KnownVariant.NONE),
        TitleVariant.BLIND: (KnownVariant.ALL, KnownVariant.NONE),
        TitleVariant.DROPPED: (KnownVariant.SOME, KnownVariant.NONE),
        TitleVariant.NONE: (KnownVariant.ALL, KnownVariant.SOME, KnownVariant.NONE),
    }
    for title, known_choices in choices.items():
        for known in known_choices:
            for image in (True, False):
                if title is not TitleVariant.NONE or known is not KnownVariant.NONE or image:
                    yield Variant(title, known, image)


VARIANTS = tuple(variants())
SHORTENED = [
    number
    for number, variant in enumerate(VARIANTS)
    if variant.title in (TitleVariant.BLIND, TitleVariant.DROPPED)
]


@dataclass(frozen=True)
class Shown:
    """What the variants show of the N items: titles and known statements, in every form."""

    titles: Mapping[TitleVariant, Sequence[str | None]]
    known: Mapping[KnownVariant, Sequence[Sequence[PropertyValue]]]

    def title(self, item: int, variant: Variant) -> str | None:
        """Return the title of an item, as a variant shows it."""
        titles = self.titles.get(variant.title)
        return None if titles is None else titles[item]

    def statements(self, item: int, variant: Variant, property: str) -> tuple[PropertyValue, ...]:
        """Return the statements of other properties that a variant shows of an item."""
        known = self.known.get(variant.known)
        return () if known is None else others_of(known[item], property)


def hides_values(variant: Variant) -> bool:
    """Return whether cells with hidden values are scored as a variant shows them."""
    is_known = variant.title in HIDDEN_TITLES
    return is_known and not (variant.shows_description or variant.shows_category)
