"""The terms of the product graph, as Wikidata uses them: Item, Statement, Rank, Provenance."""

from __future__ import annotations

import builtins
import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

SAME_AS = "same as"
"""The property by which an item is the same product as another, whose id is the value."""
CATEGORY_SEPARATOR = " > "
"""Stands between the levels of a category path, as in ``Home > Kitchen > Mugs``."""

CATEGORY = "category"
"""What an item's category is called where it is completed like a property.

A property of that name which a catalogue has takes precedence: no categories are completed there.
"""

PREDICTION_SOURCE = "catalograph complete"
"""The source of what models predict."""
REVIEW_SOURCE = "catalograph review"
"""The source of what people decide about predictions."""
OWN_SOURCES = frozenset((PREDICTION_SOURCE, REVIEW_SOURCE))
"""Those of Catalograph itself, which supply no rows."""


def path_prefixes(category: str) -> list[str]:
    """Return a category path and those of its parents, the broadest first."""
    levels = category.split(CATEGORY_SEPARATOR)
    return [CATEGORY_SEPARATOR.join(levels[:end]) for end in range(1, len(levels) + 1)]


def now() -> str:
    """Return the current time in UTC as ISO 8601 text."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def start_of_today() -> str:
    """Return the last midnight in UTC as ISO 8601 text."""
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight.isoformat(timespec="seconds")


class Rank(StrEnum):
    """How far a statement can be trusted."""

    ASSERTED = "asserted"
    """Stated by a source."""
    PREDICTED = "predicted"
    """Predicted by a model, and not reviewed yet."""
    ACCEPTED = "accepted"
    """Predicted, and confirmed by a person."""
    REJECTED = "rejected"
    """Predicted, and refused by a person."""
    DEPRECATED = "deprecated"
    """No longer valid."""


TRUSTED_RANKS = (Rank.ASSERTED, Rank.ACCEPTED)
"""Ranks that training and completion treat as true."""
DECIDED_RANKS = (Rank.ACCEPTED, Rank.REJECTED)
"""Ranks by which a reviewer has decided about a value."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a statement comes from.

    ``source`` is the supplier of the statement, ``batch`` the run that wrote it and ``row`` the
    line of the source file; ``confidence`` is a probability, and ``time`` is ISO 8601 in UTC.
    """

    source: str
    batch: str = ""
    row: int | None = None
    model: str | None = None
    confidence: float | None = None
    evidence: str | None = None
    reviewer: str | None = None
    time: str = ""


@dataclass(frozen=True, slots=True)
class ItemReference:
    """What one source says of an item itself, and where it does."""

    provenance: Provenance
    title: str | None = None
    category: str | None = None
    images: tuple[str, ...] = ()
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """A product; everything but the id is optional.

    ``category`` is a path joined by ``" > "``; ``images`` are absolute paths or URLs, the one to
    show first. Title and description are in the catalogue's leading language. ``provenance`` is
    that of the source that counts first; ``references`` are what each source says, in the order of
    their arrival, if there are several.
    """

    id: str
    title: str | None = None
    category: str | None = None
    images: tuple[str, ...] = ()
    description: str | None = None
    provenance: Provenance | None = None
    references: tuple[ItemReference, ...] = ()


@dataclass(frozen=True, slots=True)
class StatementReference:
    """One of several sources of a statement, and the rank that it gives it."""

    rank: Rank
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class Statement:
    """The claim that an item has a value of a property, with its rank and provenance.

    ``language`` is the tag (BCP 47) of a text that is in another language than the catalogue's
    leading one, such as a title's translation; None for all others. Models learn only those.
    ``rank`` and ``provenance`` are those of the reference that counts; ``references`` are all of
    them, in the order of their arrival, if there are several.
    """

    item: str
    property: str
    value: str
    rank: Rank = Rank.ASSERTED
    provenance: Provenance = field(default_factory=lambda: Provenance("unknown"))
    language: str | None = None
    references: tuple[StatementReference, ...] = ()

    # For mypy the plain name means the field `property` in this class.
    @builtins.property
    def id(self) -> str:
        """The identity of the statement, which does not depend on its rank and provenance."""
        return statement_id(self.item, self.property, self.value, self.language)


def statement_id(item: str, property: str, value: str, language: str | None = None) -> str:
    """Return a hash of the triple and the language, 32 hexadecimal digits.

    Each field is preceded by its length, so that ("ab", "c", ...) and ("a", "bc", ...) differ.
    """
    digest = hashlib.blake2b(digest_size=16)
    for text in (item, property, value, language):
        if text is not None:
            data = text.encode()
            digest.update(len(data).to_bytes(8, "little"))
            digest.update(data)
    return digest.hexdigest()
