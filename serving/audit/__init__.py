"""Existing values, images and titles that are probably wrong.

- Values that a model finds implausible given the rest of their items (:mod:`serving.audit.judging`)
- images and titles that are probably another item's (:mod:`serving.audit.swaps`)
- numbers in the wrong unit (:mod:`serving.audit.numbers`)
- what the ontology, the spelling and other sources tell without a model
  (:mod:`serving.audit.rules`)

They are ordered by expected gain: the probability of what is proposed less that of what is stored.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from kg.snapshot import GraphSnapshot
from kg.source_conflicts import Conflict
from schema.ontology import Ontology
from schema.progress import ProgressCallback, no_progress
from serving.audit.findings import Finding, Looked, by_gain
from serving.audit.judging import Judge, ValueFindings, judge_cells
from serving.audit.numbers import unit_slips
from serving.audit.rules import conflict_findings, rule_findings, spelling_findings
from serving.audit.swaps import SwapFinder
from serving.items import CatalogItems


@dataclass(frozen=True)
class Audit:
    """The findings, those with the greatest gain first, and what was looked at."""

    findings: Sequence[Finding]
    looked: Looked


def audit(
    judge: Judge | None,
    items: CatalogItems,
    ontology: Ontology,
    *,
    indexes: Sequence[int] | None = None,
    properties: Collection[str] | None = None,
    conflicts: Iterable[Conflict] = (),
    progress: ProgressCallback = no_progress,
) -> Audit:
    """Look at the trusted statements of a catalogue's items, all or some.

    Without a ``judge``, what takes no model is done alone. Exchanged images and titles are looked
    for if all items and properties are: they show in all of these. ``conflicts`` are those of the
    sources. ``progress`` counts items.
    """
    snapshot: GraphSnapshot = items.snapshot
    asked = range(len(snapshot.items)) if indexes is None else indexes

    def is_asked(name: str) -> bool:
        return properties is None or name in properties

    findings = [
        *rule_findings(snapshot, ontology, asked, is_asked),
        *spelling_findings(snapshot, ontology, asked, is_asked),
        *unit_slips(snapshot, ontology, asked, is_asked),
        *conflict_findings(conflicts, {snapshot.items[index] for index in asked}, is_asked),
    ]
    looked = Looked()
    if judge is not None:
        names = {name for name in snapshot.properties if is_asked(name)}
        every = indexes is None and properties is None
        swaps = SwapFinder(judge.scorer.ontology, len(snapshot.items)) if every else None
        values = ValueFindings(judge.scorer)
        done = 0
        for part, cells in judge_cells(judge, items, asked, names, looked):
            for cell in cells:
                findings += values.of(snapshot.items[cell.item], cell)
            if swaps is not None:
                swaps.add(cells)
            done += part
            progress(done, len(asked))
        if swaps is not None:
            findings += swaps.find(snapshot.items.__getitem__)
    return Audit(by_gain(_without_repeats(findings)), looked)


def _without_repeats(findings: Sequence[Finding]) -> list[Finding]:
    """Return one finding for each statement: that with the greatest gain."""
    seen = set()
    kept = []
    for each in by_gain(findings):
        key = (each.item, each.property, each.value)
        if each.property is None or key not in seen:
            seen.add(key)
            kept.append(each)
    return kept
