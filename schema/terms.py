"""The words of the product graph: Item, Statement, Rank, Provenance (Wikidata's terms for statements)."""

from __future__ import annotations

import builtins
import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

CATEGORY_SEPARATOR = " > "


def now() -> str:
    """The time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class Rank(StrEnum):
    """How far a statement is to be trusted."""

    ASSERTED = "asserted"
    PREDICTED = "predicted"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    DEPRECATED = "deprecated"


TRUSTED_RANKS = (Rank.ASSERTED, Rank.ACCEPTED)
"""Ranks that training and completion treat as known."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a statement comes from. ``time`` is ISO 8601 in UTC; ``confidence`` is a probability."""

    source: str
    batch: str = ""
    row: int | None = None
    model: str | None = None
    confidence: float | None = None
    evidence: str | None = None
    reviewer: str | None = None
    time: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """A product. ``category`` is a path joined by ``" > "``; ``images`` are absolute paths or URLs; all but the id may be absent."""

    id: str
    title: str | None = None
    category: str | None = None
    images: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Statement:
    """(item, property, value) with its rank and provenance."""

    item: str
    property: str
    value: str
    rank: Rank = Rank.ASSERTED
    provenance: Provenance = field(default_factory=lambda: Provenance("unknown"))

    @builtins.property
    def id(self) -> str:
        """The statement's identity, which rank and provenance do not change."""
        return statement_id(self.item, self.property, self.value)


def statement_id(item: str, property: str, value: str) -> str:
    """A 32-digit hash of the triple; fields are length-prefixed so that no two triples share a spelling."""
    digest = hashlib.blake2b(digest_size=16)
    for part in (item, property, value):
        data = part.encode()
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()
