"""What findings propose, and where sources contradict each other or a reviewer."""

from __future__ import annotations

from collections import Counter

from kg.source_conflicts import conflicts
from kg.stores.memory import MemoryStore
from kg.stores.tables import statements_table
from schema.ontology import Ontology, PropertySpec
from schema.proposals import NewProposal, ProposalOrigin
from schema.terms import Provenance, Rank, Statement
from serving.audit.findings import Finding, Kind, Proposed
from serving.audit.proposing import proposals_of
from serving.audit.rules import conflict_findings

ONTOLOGY = Ontology([PropertySpec("price"), PropertySpec("uses", cardinality="many")])


def found(
    kind: Kind = Kind.VALUE,
    property: str | None = "colour",
    value: str | None = "red",
    proposed: tuple[Proposed, ...] = (Proposed("blue", 0.7), Proposed("green", 0.2)),
    item: str = "1",
) -> Finding:
    return Finding(item, property, value, 0.1, proposed, kind, 0.6, [{"part": "image"}])


def test_a_finding_proposes_the_best_value_in_the_place_of_the_stored_one() -> None:
    (proposal,) = proposals_of([found()], "m", Counter())
    assert (proposal.values, proposal.replaces) == (("blue",), ("red",))
    assert proposal.probability == 0.7
    candidates = [(each.value, each.probability) for each in proposal.candidates]
    assert candidates == [("blue", 0.7), ("green", 0.2), ("red", 0.1)]
    assert (proposal.origin, proposal.model) == (ProposalOrigin.AUDIT, "m")
    assert proposal.evidence == {"kind": "value", "found": [{"part": "image"}]}
    assert proposal.due is None


def test_origins_are_those_of_the_kinds_and_what_takes_no_model_names_none() -> None:
    kinds = (Kind.VALUE, Kind.NUMBER, Kind.UNIT, Kind.SPELLING, Kind.CONFLICT)
    findings = [found(kind, item=kind.value) for kind in kinds]
    made = {each.item: each for each in proposals_of(findings, "m", Counter())}
    assert {name: (str(each.origin), each.model) for name, each in made.items()} == {
        "value": ("audit", "m"),
        "number": ("audit", "m"),
        "unit": ("audit", None),
        "spelling": ("near-duplicate", None),
        "conflict": ("conflict", None),
    }


def test_what_is_not_proposed_is_counted() -> None:
    findings = [
        found(),
        found(value="navy"),
        found(Kind.IMAGE, property=None, value=None),
        found(Kind.VOCABULARY, property="size", proposed=()),
    ]
    counts: Counter[str] = Counter()
    made: list[NewProposal] = list(proposals_of(findings, "m", counts))
    assert [each.replaces for each in made] == [("red",)]
    assert counts == {"same_cell": 1, "item": 1, "no_value": 1}


def test_conflicts_propose_what_is_not_shown() -> None:
    store = MemoryStore()
    for source, item, property, value, rank in (
        ("a", "1", "price", "9", Rank.ASSERTED),
        ("b", "1", "price", "9", Rank.ASSERTED),
        ("c", "1", "price", "7", Rank.ASSERTED),
        ("d", "1", "price", "8", Rank.ASSERTED),
        ("review", "2", "price", "5", Rank.ACCEPTED),
        ("a", "2", "price", "6", Rank.ASSERTED),
        ("a", "3", "uses", "tea", Rank.ASSERTED),
        ("b", "3", "uses", "soup", Rank.ASSERTED),
    ):
        time = {"d": "2026-02-01"}.get(source, "2026-01-01")
        provenance = Provenance(source, time=time)
        store.put(None, statements_table([Statement(item, property, value, rank, provenance)]))
    findings = list(conflict_findings(conflicts(store, ONTOLOGY), {"1", "2", "3"}, lambda _: True))
    told = [(each.item, each.value, [one.value for one in each.proposed]) for each in findings]
    # The newest is shown, and what most state is proposed first; or what a reviewer accepted is.
    assert told == [("1", "8", ["9", "7"]), ("2", "5", ["6"])]
    assert findings[0].evidence == [
        {"value": "7", "stated_by": ["c"]},
        {"value": "9", "stated_by": ["a", "b"]},
        {"value": "8", "stated_by": ["d"]},
    ]
    first, second = proposals_of(findings, None, Counter())
    # Nothing tells which one is right.
    assert [round(each.probability, 3) for each in first.candidates] == [0.333] * 3
    assert second.probability == 0.5
    assert list(conflict_findings(conflicts(store, ONTOLOGY), {"1"}, lambda _: False)) == []
