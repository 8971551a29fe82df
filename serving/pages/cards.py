"""What a page tells of a proposal: its item, its candidates and what speaks for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schema.proposals import OPEN, Proposal, ProposalChange, ProposalRun
from schema.terms import Item, Rank, Statement
from serving.api.catalogue import ServedCatalogue
from serving.api.routes.proposals import etag_of

MAX_EVIDENCE = 9
"""Bars of evidence, the longest first."""
MAX_CANDIDATES = 9
"""As many as there are digits to choose one."""
MAX_KNOWN = 14
SMALLEST = 0.0005
"""Effects below this are not drawn."""


@dataclass(frozen=True)
class EvidenceBar:
    """How much an input raised the probability of the best value, or lowered it.

    ``start`` and ``width`` are those of a bar in a drawing from -50 to 50.
    """

    name: str
    value: str
    effect: float
    start: float
    width: float


@dataclass(frozen=True)
class CandidateRow:
    """A value that may be chosen; ``is_proposed`` says that accepting chooses it."""

    value: str
    probability: float
    source: str
    is_proposed: bool


@dataclass(frozen=True)
class ProposalCard:
    """All that a page shows of a proposal.

    Attributes:
        proposal: the proposal
        etag: its version
        item: its item, None if that is gone
        pictures: the numbers of the item's images that can be shown
        current: the stored statements of its cell
        known: the item's other trusted statements
        candidates: the values to choose from
        bars: its evidence as bars
        told: its evidence in words, by name
        same_as: items that are the same product and state the value
        history: what became of it, oldest first
        has_several: whether the cell may have several values
    """

    proposal: Proposal
    etag: str
    item: Item | None
    pictures: Sequence[int]
    current: Sequence[Statement]
    known: Sequence[Statement]
    candidates: Sequence[CandidateRow]
    bars: Sequence[EvidenceBar]
    told: Sequence[tuple[str, str]]
    same_as: Sequence[str]
    history: Sequence[tuple[ProposalChange, ProposalRun]]
    has_several: bool

    @property
    def is_open(self) -> bool:
        """Whether a person can decide about it."""
        return self.proposal.state in OPEN


def card_of(
    catalogue: ServedCatalogue, proposal: Proposal, *, has_several: bool = False
) -> ProposalCard:
    """Return what a page shows of a proposal."""
    with catalogue.store() as store:
        entry = store.item(proposal.item)
    item, statements = entry or (None, [])
    is_own = [each.property == proposal.property for each in statements]
    return ProposalCard(
        proposal,
        etag_of(proposal),
        item,
        () if item is None else catalogue.images_there(item.images)[:6],
        [each for each, own in zip(statements, is_own, strict=True) if own],
        [
            each
            for each, own in zip(statements, is_own, strict=True)
            if not own and each.rank in (Rank.ASSERTED, Rank.ACCEPTED)
        ][:MAX_KNOWN],
        candidates_of(proposal),
        bars_of(proposal.evidence),
        told_of(proposal.evidence),
        _texts(proposal.evidence.get("same_as"))[:MAX_EVIDENCE],
        catalogue.records.history(proposal.id),
        has_several,
    )


def candidates_of(proposal: Proposal) -> list[CandidateRow]:
    """Return the candidates of a proposal, at least what is proposed."""
    rows = [
        CandidateRow(each.value, each.probability, each.source, proposal.values == (each.value,))
        for each in proposal.candidates[:MAX_CANDIDATES]
    ]
    if len(proposal.values) == 1 and not any(each.is_proposed for each in rows):
        own = CandidateRow(proposal.values[0], proposal.probability, "vocabulary", True)
        rows = [own, *rows][:MAX_CANDIDATES]
    return rows


def bars_of(evidence: Mapping[str, Any]) -> list[EvidenceBar]:
    """Return the effects in a proposal's evidence, the greatest first."""
    effects: list[tuple[str, str, float]] = []
    for name, found in evidence.items():
        if name == "known" and isinstance(found, list):
            for each in found:
                if isinstance(each, dict) and _is_number(each.get("effect")):
                    about = (str(each.get("property", "")), str(each.get("value", "")))
                    effects.append((*about, float(each["effect"])))
        elif _is_number(found):
            effects.append((name, "", float(found)))
    shown = [each for each in effects if abs(each[2]) >= SMALLEST]
    shown = sorted(shown, key=lambda each: -abs(each[2]))[:MAX_EVIDENCE]
    largest = max((abs(effect) for _, _, effect in shown), default=1.0)
    return [
        EvidenceBar(
            name, value, effect, min(0.0, 50 * effect / largest), abs(50 * effect / largest)
        )
        for name, value, effect in shown
    ]


def _part_in_words(found: Any) -> tuple[str, str] | None:
    """Return what a part of an item says of an audited value; None if that is no such evidence."""
    if not isinstance(found, Mapping) or not {"part", "says", "stored", "proposed"} <= set(found):
        return None
    shares = [found["stored"], found["proposed"]]
    if not all(isinstance(share, int | float) for share in shares):
        return None
    stored, proposed = (f"{share:.1%}" for share in shares)
    return str(found["part"]), f"says {found['says']}: {proposed}, what is stored: {stored}"


def told_of(evidence: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what a proposal's evidence says in words, as names and texts."""
    told: list[tuple[str, str]] = []
    for name, found in evidence.items():
        if name in ("known", "same_as") or found in (None, "", [], {}) or _is_number(found):
            continue
        if isinstance(found, list):
            told += [
                _part_in_words(each) or (name, _in_words(each)) for each in found[:MAX_EVIDENCE]
            ]
        else:
            told.append((name.replace("_", " "), _in_words(found)))
    return told


def _in_words(found: Any) -> str:
    if not isinstance(found, Mapping):
        return str(found)
    parts = []
    for name, value in found.items():
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
        if value is not None:
            parts.append(f"{name.replace('_', ' ')}: {text}")
    return ", ".join(parts)


def _texts(found: Any) -> list[str]:
    return [str(each) for each in found] if isinstance(found, list) else []


def _is_number(found: Any) -> bool:
    return isinstance(found, int | float) and not isinstance(found, bool)
