"""What an audit finds: existing values, images and titles that are probably wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """What is suspicious, and by what."""

    VALUE = "value"
    """The model finds another value more probable."""
    NUMBER = "number"
    """The model finds another number more probable, by more than a tenth."""
    UNIT = "unit"
    """A number that would be usual in another unit, or with the point elsewhere."""
    SPELLING = "spelling"
    """A value that is probably another, spelled differently."""
    CONFLICT = "conflict"
    """A value that another source, or a reviewer, contradicts."""
    VOCABULARY = "vocabulary"
    """A value that the ontology does not have."""
    UNREADABLE = "unreadable"
    """A text that is no number, date or the like, or in a foreign unit."""
    APPLIES = "does not apply"
    """A property that the item's category hardly has."""
    IMAGE = "image"
    """The image is probably another item's."""
    TITLE = "title"
    """The title is probably another item's."""
    STATEMENTS = "statements"
    """The values are, as a whole, probably another item's."""


class NotLookedAt(StrEnum):
    """Why the models are not asked about a statement."""

    NOT_LEARNED = "not_learned"
    """Its property is none that the model learns: a text, an identifier, a date and the like."""
    UNKNOWN_VALUE = "unknown_value"
    """The model does not know the value."""
    CHANGED = "changed"
    """The model has learned from the item, which has changed since."""
    MEMORISED = "memorised"
    """The model has learned from the item, and cannot leave it out."""

    def told(self) -> str:
        """Return the reason for a person."""
        return _TOLD[self]


_TOLD = {
    NotLookedAt.NOT_LEARNED: "the model learns no classes of the property",
    NotLookedAt.UNKNOWN_VALUE: "the model does not know the value",
    NotLookedAt.CHANGED: "the item has changed since the model learned from it",
    NotLookedAt.MEMORISED: "the model has learned from the item and cannot leave it out",
}


@dataclass(frozen=True)
class Proposed:
    """A value to put in the place of another, and how probable it is; None if nothing tells."""

    value: str
    probability: float | None

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {"value": self.value, "probability": _rounded(self.probability)}


@dataclass(frozen=True)
class Finding:
    """Something that is probably wrong with an item.

    Attributes:
        item: its id
        property: the property; None if it is about the item as a whole
        value: the stored value; None if it is about the item as a whole
        probability: how probable the value is given the rest of the item, or the item's image or
            title is its own; None if nothing tells
        proposed: what is more probable, the best first; other items if two seem to be exchanged
        kind: what is suspicious
        gain: how much more probable what is proposed is than what is stored; None if nothing tells
        evidence: what speaks for it, as plain data
    """

    item: str
    property: str | None
    value: str | None
    probability: float | None
    proposed: tuple[Proposed, ...]
    kind: Kind
    gain: float | None
    evidence: Sequence[dict[str, Any]] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the line that ``catalograph audit`` writes, as plain data."""
        return {
            "item": self.item,
            "property": self.property,
            "value": self.value,
            "probability": _rounded(self.probability),
            "proposed": [each.as_dict() for each in self.proposed],
            "kind": self.kind.value,
            "gain": _rounded(self.gain),
            "evidence": list(self.evidence),
        }


def by_gain(findings: Sequence[Finding]) -> list[Finding]:
    """Return findings with the greatest gain first; those of which nothing tells it are last."""
    return sorted(
        findings,
        key=lambda each: (
            each.gain is None,
            -(each.gain or 0.0),
            each.item,
            each.property or "",
            each.value or "",
        ),
    )


@dataclass
class Looked:
    """How many statements and items were looked at by the model, and why others were not."""

    statements: int = 0
    items: int = 0
    not_looked_at: Counter[NotLookedAt] = field(default_factory=Counter)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "statements": self.statements,
            "items": self.items,
            "not_looked_at": {
                reason.value: count for reason, count in sorted(self.not_looked_at.items())
            },
        }


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 6)
