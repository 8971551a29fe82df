"""Decisions from a file, whatever a person and a spreadsheet have made of its rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kg.stores.memory import MemoryStore
from kg.stores.tables import items_table, statements_table
from schema.ledger import Ledger, metadata
from schema.ontology import Ontology, PropertySpec
from schema.proposals import (
    OPEN,
    NewProposal,
    Proposal,
    ProposalFilter,
    ProposalState,
    ProposedDecision,
    ProposedValue,
)
from schema.terms import Item, Provenance, Statement
from serving.review.answers import Answer, Answers, Decision, ImportReport, take_answers
from serving.review.files import reviewed_cells
from serving.review.session import Review

ITEMS = ("1", "2", "3", "4")
ONTOLOGY = Ontology([PropertySpec("colour", values=("red", "blue"), counts=(2, 1))])
PAST = "2000-01-01T00:00:00+00:00"
AFTER = {
    Decision.ACCEPT: ProposalState.ACCEPTED,
    Decision.REJECT: ProposalState.REJECTED,
    Decision.EDIT: ProposalState.EDITED,
}

# What happens to a cell between the export and the import.
MEANWHILE = ("nothing", "accept", "reject", "skip", "state", "apply")
answer = st.fixed_dictionaries(
    {
        "item": st.sampled_from(ITEMS),
        "decision": st.sampled_from(["accept", "Yes", "reject", "edit", "skip", "", "perhaps"]),
        "value": st.sampled_from(["", "", "green", "blue"]),
        "damage": st.sampled_from(["none", "none", "none", "unknown", "mixed up", "no number"]),
    }
)


@pytest.fixture(scope="module")
def ledger() -> Iterator[Ledger]:
    with Ledger("sqlite://") as opened:
        yield opened


def proposed(ledger: Ledger) -> Review:
    """Return a review of a proposal for each item, half of them applied."""
    with ledger.writing() as connection:
        for table in metadata.sorted_tables:
            connection.execute(table.delete())
    store = MemoryStore()
    store.put(items_table(Item(id) for id in ITEMS), None, run="first")
    review = Review(store, ledger, ONTOLOGY)
    review.expire()
    for apply, items in ((True, ITEMS[:2]), (False, ITEMS[2:])):
        run = review.begin()
        review.add(run, map(proposal, items), apply=apply)
        review.end(run)
    return review


def proposal(item: str) -> NewProposal:
    candidates = (ProposedValue("red", 0.9), ProposedValue("blue", 0.1))
    new = NewProposal(item, "colour", ("red",), 0.9, candidates, ProposedDecision.FILL)
    return dataclasses.replace(new, due=PAST, model="m")


def exported(review: Review, asked: list[dict[str, str]]) -> list[Answer]:
    """Return the rows of a file, as somebody has filled them in and damaged them."""
    found = review.records.find(ProposalFilter(states=OPEN))
    cells = {each.proposal.item: each.cells() for each in reviewed_cells(review.store, found)}
    rows = []
    for number, each in enumerate(asked, 2):
        told = cells[each["item"]]
        row = Answer(
            number,
            told["proposal"],
            told["item"],
            told["property"],
            told["proposed"],
            told["state"],
            told["fingerprint"],
            each["decision"],
            each["value"],
        )
        match each["damage"]:
            case "unknown":
                row = dataclasses.replace(row, proposal="4711")
            case "mixed up":
                row = dataclasses.replace(row, item=ITEMS[int(row.item) % len(ITEMS)])
            case "no number":
                row = dataclasses.replace(row, proposal="")
        rows.append(row)
    return rows


def happen(review: Review, item: str, what: str) -> None:
    """Do something to the proposal of an item."""
    (found,) = review.records.find(ProposalFilter(item=item))
    match what:
        case "accept":
            review.accept([found], "else")
        case "reject":
            review.reject([found], "else")
        case "skip":
            review.skip([found], "else")
        case "apply":
            review.apply(ProposalFilter(item=item))
        case "state":
            stated = Statement(item, "colour", "black", provenance=Provenance("erp"))
            review.store.put(None, statements_table([stated]), run="erp")


def all_proposals(review: Review) -> dict[int, Proposal]:
    return {each.id: each for each in review.records.find(ProposalFilter())}


def counted(report: ImportReport) -> int:
    counts = report.undecided + report.repeated + report.already + len(report.refused)
    return report.taken.total() + counts


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    asked=st.lists(answer, max_size=7),
    meanwhile=st.tuples(*[st.sampled_from(MEANWHILE)] * len(ITEMS)),
)
def test_each_row_is_counted_once_and_a_second_import_changes_nothing(
    ledger: Ledger, asked: list[dict[str, str]], meanwhile: tuple[str, ...]
) -> None:
    review = proposed(ledger)
    rows = exported(review, asked)
    for item, what in zip(ITEMS, meanwhile, strict=True):
        happen(review, item, what)
    before = all_proposals(review)

    dry = take_answers(review, Answers(list(rows)), "mo", dry_run=True)
    assert all_proposals(review) == before
    report = take_answers(review, Answers(list(rows)), "mo")
    after = all_proposals(review)

    # Nothing is lost, and nothing is counted that was not said.
    assert counted(dry) == counted(report) == len(rows)
    assert {each.row for each in report.refused} <= {row.row for row in rows}
    assert len({each.row for each in report.refused}) == len(report.refused)
    changed = {id for id in after if after[id] != before[id]}
    expired = {id for id in changed if after[id].state is ProposalState.EXPIRED}
    assert report.taken.total() == len(changed - expired)
    for decision, state in AFTER.items():
        decided = [id for id in changed if after[id].state is state]
        assert len(decided) == report.taken[decision]
    # Only what was open and said is decided, and by nobody else.
    said = {row.proposal or row.item for row in rows}
    for id in changed - expired:
        assert before[id].state in OPEN
        assert str(id) in said or after[id].item in said

    content = review.store.content_hash()
    again = take_answers(review, Answers(list(rows)), "mo")
    assert again.taken.total() == 0
    assert again.run is None
    assert counted(again) == len(rows)
    assert again.already == report.already + report.taken.total()
    assert all_proposals(review) == after
    assert review.store.content_hash() == content
