"""What the page of quality shows: findings about stored values, gathered so that few clicks do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from schema.ledger_proposals import ProposalRecords
from schema.proposals import OPEN, Proposal, ProposalFilter, ProposalOrder, ProposalOrigin

MAX_GROUPS = 50
MAX_LISTED = 50


@dataclass(frozen=True)
class SpellingGroup:
    """Spellings of one property that are to become one value.

    Attributes:
        property: the property
        value: what they are to become
        spellings: what is stored, with the number of items, the commonest first
        items: how many items would change
    """

    property: str
    value: str
    spellings: tuple[tuple[str, int], ...]
    items: int


@dataclass(frozen=True)
class Quality:
    """The findings that wait for a decision.

    Attributes:
        counts: by origin
        spellings: near-duplicate values, those of the most items first
        findings: values that an audit found to be wrong, the greatest gain first
        conflicts: values that sources state differently
        same: pairs of items that may be the same product
    """

    counts: dict[ProposalOrigin, int]
    spellings: list[SpellingGroup] = field(default_factory=list)
    findings: list[Proposal] = field(default_factory=list)
    conflicts: list[Proposal] = field(default_factory=list)
    same: list[Proposal] = field(default_factory=list)


def read_quality(records: ProposalRecords) -> Quality:
    """Read the findings that wait for a decision; of long lists, the beginning."""
    shown = (
        ProposalOrigin.NEAR_DUPLICATE,
        ProposalOrigin.AUDIT,
        ProposalOrigin.CONFLICT,
        ProposalOrigin.ALIGNMENT,
    )
    counts = {origin: records.count(_open(origin)) for origin in shown}

    def first(origin: ProposalOrigin) -> list[Proposal]:
        return records.find(_open(origin), ProposalOrder.GAIN, MAX_LISTED)

    return Quality(
        counts,
        spelling_groups(records.find(_open(ProposalOrigin.NEAR_DUPLICATE)))[:MAX_GROUPS],
        first(ProposalOrigin.AUDIT),
        first(ProposalOrigin.CONFLICT),
        first(ProposalOrigin.ALIGNMENT),
    )


def spelling_groups(proposals: Iterable[Proposal]) -> list[SpellingGroup]:
    """Gather proposals to replace spellings by property and proposed value."""
    groups: dict[tuple[str, str], Counter[str]] = {}
    for each in proposals:
        spellings = groups.setdefault((each.property, each.values[0]), Counter())
        spellings.update(each.replaces[:1])
    found = [
        SpellingGroup(property, value, tuple(_ordered(spellings)), spellings.total())
        for (property, value), spellings in groups.items()
    ]
    return sorted(found, key=lambda group: (-group.items, group.property, group.value))


def _ordered(spellings: Counter[str]) -> list[tuple[str, int]]:
    return sorted(spellings.items(), key=lambda pair: (-pair[1], pair[0]))


def _open(origin: ProposalOrigin) -> ProposalFilter:
    return ProposalFilter(states=OPEN, origins=(origin,))
