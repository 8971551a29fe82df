"""The result of completing a cell: candidates, decision and evidence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from fusion.inference.featurizer import PropertyValue
from schema.modalities import CONTENT_MODALITIES, Modality
from schema.unasked import Unasked
from serving.deciding import Decision
from serving.estimates import Estimate


class Source(StrEnum):
    """Where a candidate comes from."""

    VOCABULARY = "vocabulary"
    """The model knows the value."""
    TITLE = "title"
    """The model does not know it, and the item's title says it."""
    SAME_PRODUCT = "same product"
    """Another item states it that is the same product."""


@dataclass(frozen=True)
class Candidate:
    """A value and its calibrated probability.

    ``span`` are the characters of the title that say it, if it comes from there.
    """

    value: str
    probability: float
    source: Source = Source.VOCABULARY
    span: tuple[int, int] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain data; a value that the model knows has no further keys."""
        document = {"value": self.value, "probability": round(self.probability, 6)}
        if self.span is None:
            return document
        return {**document, "source": self.source.value, "span": list(self.span)}


@dataclass(frozen=True)
class StatementEffect:
    """How much a known statement raised the best value's probability."""

    property: str
    value: str
    effect: float


@dataclass(frozen=True)
class Evidence:
    """How much each input raised the best value's probability; negative effects lowered it.

    ``modalities`` has an entry for each content modality that the item has and the model reads.
    ``statements`` are sorted by the size of their effect, largest first. ``language_model`` is what
    one answered for the cell, if it was asked; the effects are those beside its answer. ``same_as``
    are items that are the same product and state a value.
    """

    modalities: Mapping[Modality, float] = field(default_factory=dict)
    statements: tuple[StatementEffect, ...] = ()
    language_model: Mapping[str, Any] | None = None
    same_as: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return plain data, with None for what the item lacks or the model does not read."""
        effects: dict[str, Any] = {}
        for modality in CONTENT_MODALITIES:
            effect = self.modalities.get(modality)
            effects[modality.value] = None if effect is None else _rounded(effect)
        effects[Modality.STATEMENTS.value] = [
            {"property": each.property, "value": each.value, "effect": _rounded(each.effect)}
            for each in self.statements
        ]
        if self.language_model is not None:
            effects["language_model"] = dict(self.language_model)
        if self.same_as:
            effects["same_as"] = list(self.same_as)
        return effects


@dataclass(frozen=True)
class Completion:
    """The result for one cell.

    It has no candidates if the model does not know the property, or if no value may be offered.
    ``reason`` says why a cell is refused. ``proven`` is the highest precision that is proven for a
    cell as probable as this one, if it may be filled; None if none is. ``another_value`` is the
    probability that the value is none of those that are known or offered; None if the scorer does
    not tell. ``estimate`` is that of a number. ``contradicts`` is a statement of the item that does
    not go with the best value (see :mod:`serving.dependencies`). ``several`` are the values to fill
    of a property that may have several, whose probabilities need not sum to 1.
    """

    item: str
    property: str
    candidates: tuple[Candidate, ...]
    decision: Decision
    evidence: Evidence
    reason: Unasked | None = None
    proven: float | None = None
    another_value: float | None = None
    estimate: Estimate | None = None
    contradicts: PropertyValue | None = None
    several: tuple[Candidate, ...] | None = None

    def filled_values(self) -> tuple[Candidate, ...]:
        """Return what the cell is filled with."""
        if self.decision != "fill":
            return ()
        return self.candidates[:1] if self.several is None else self.several

    @classmethod
    def refused(cls, item: str, property: str, reason: Unasked) -> Completion:
        """Return the result for a cell that is not asked."""
        return cls(item, property, (), "abstain", Evidence(), reason)

    def as_dict(self) -> dict[str, Any]:
        """Return the line that ``catalograph complete`` writes, as plain data."""
        document: dict[str, Any] = {
            "item": self.item,
            "property": self.property,
            "candidates": [each.as_dict() for each in self.candidates],
            "decision": self.decision,
            "evidence": self.evidence.as_dict(),
        }
        if self.proven is not None:
            document["proven"] = self.proven
        if self.reason is not None:
            document["reason"] = self.reason.value
        if self.another_value is not None:
            document["another_value"] = round(self.another_value, 6)
        if self.estimate is not None:
            document["estimate"] = self.estimate.as_dict()
        if self.several is not None:
            document["values"] = [each.value for each in self.filled_values()]
        if self.contradicts is not None:
            name, value = self.contradicts
            document["contradicts"] = {"property": name, "value": value}
        return document

    def as_line(self) -> str:
        """Return the line that ``catalograph complete`` writes."""
        return json.dumps(self.as_dict(), ensure_ascii=False) + "\n"


def _rounded(effect: float) -> float:
    return round(effect, 4) + 0.0  # adding 0.0 turns -0.0 into 0.0
