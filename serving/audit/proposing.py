"""Findings of an audit as proposals: other values in the place of stored ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from enum import StrEnum

from schema.equality import text_key
from schema.ledger_proposals import ProposalRecords
from schema.ontology import Ontology
from schema.proposals import (
    FINDINGS,
    NewProposal,
    ProposalFilter,
    ProposalOrigin,
    ProposalState,
    ProposedValue,
)
from serving.audit.findings import Finding, Kind

ORIGINS = {
    Kind.SPELLING: ProposalOrigin.NEAR_DUPLICATE,
    Kind.CONFLICT: ProposalOrigin.CONFLICT,
}
"""The origins of kinds of findings; of all others it is ``audit``."""


class NotProposed(StrEnum):
    """Why a finding is no proposal."""

    ITEM = "item"
    """It is about the item as a whole."""
    NO_VALUE = "no_value"
    """Nothing tells a better value."""
    SAME_CELL = "same_cell"
    """Another finding about the cell comes first."""


def proposals_of(
    findings: Iterable[Finding], model: str | None, not_proposed: Counter[str]
) -> Iterator[NewProposal]:
    """Yield what findings propose, one for a cell: that of the first finding.

    ``not_proposed`` counts the others, by the reason.
    """
    cells: set[tuple[str, str]] = set()
    for each in findings:
        if each.property is None or each.value is None:
            not_proposed[NotProposed.ITEM] += 1
        elif not each.proposed:
            not_proposed[NotProposed.NO_VALUE] += 1
        elif (each.item, each.property) in cells:
            not_proposed[NotProposed.SAME_CELL] += 1
        else:
            cells.add((each.item, each.property))
            yield _proposal(each, each.property, each.value, model)


def _proposal(finding: Finding, property: str, value: str, model: str | None) -> NewProposal:
    # Where nothing tells, each of the values is as probable as the others.
    even = 1 / (len(finding.proposed) + 1)
    candidates = [
        ProposedValue(each.value, even if each.probability is None else each.probability)
        for each in finding.proposed
    ]
    stored = even if finding.kind is Kind.CONFLICT else finding.probability
    if stored is not None:
        candidates.append(ProposedValue(value, stored))
    return NewProposal(
        finding.item,
        property,
        (candidates[0].value,),
        candidates[0].probability,
        tuple(candidates),
        evidence={"kind": finding.kind.value, "found": list(finding.evidence)},
        origin=ORIGINS.get(finding.kind, ProposalOrigin.AUDIT),
        model=model if finding.kind in (Kind.VALUE, Kind.NUMBER) else None,
        replaces=(value,),
    )


class KeptValues:
    """The stored values that people have kept by rejecting what was found about them."""

    def __init__(self, records: ProposalRecords, ontology: Ontology) -> None:
        self._specs = ontology.properties
        rejected = ProposalFilter(
            states=(ProposalState.REJECTED,), origins=FINDINGS, replacing=True
        )
        self._known = {
            self._key(each.item, each.property, each.replaces[0])
            for each in records.find(rejected)
            if each.is_finding
        }

    def has(self, finding: Finding) -> bool:
        """Return whether a finding is about one of them."""
        if finding.property is None or finding.value is None or finding.kind is Kind.CONFLICT:
            return False
        return self._key(finding.item, finding.property, finding.value) in self._known

    def _key(self, item: str, property: str, value: str) -> tuple[str, str, object]:
        spec = self._specs.get(property)
        return item, property, text_key(value) if spec is None else spec.key(value)
