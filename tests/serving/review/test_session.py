"""Proposals one by one: what is added, decided, expired and taken back."""

import dataclasses

import pytest

from kg.snapshot import read_snapshot
from kg.stores.memory import MemoryStore
from kg.stores.tables import items_table, statements_table
from schema.errors import ProposalConflictError, UsageError
from schema.ledger import Ledger
from schema.ontology import Ontology, PropertySpec
from schema.proposals import (
    OPEN,
    PREDICTIONS,
    NewProposal,
    ProposalFilter,
    ProposalOrder,
    ProposalOrigin,
    ProposalState,
    ProposedDecision,
    ProposedValue,
    may_go_back,
    may_move,
)
from schema.terms import Item, Provenance, Rank, Statement
from serving.review.session import NotWritten, Review
from serving.review.statistics import by_origin
from serving.writeback import rejected_values

PAST = "2000-01-01T00:00:00+00:00"
FUTURE = "2999-01-01T00:00:00+00:00"
ONTOLOGY = Ontology(
    [
        PropertySpec("colour", values=("red", "blue"), counts=(2, 1)),
        PropertySpec("uses", cardinality="many", values=("tea", "soup"), counts=(2, 1)),
    ]
)


@pytest.fixture
def store():
    opened = MemoryStore()
    opened.put(items_table(Item(f"{number}") for number in range(1, 5)), None, run="first")
    return opened


@pytest.fixture
def review(store):
    with Ledger("sqlite://") as ledger:
        yield Review(store, ledger, ONTOLOGY)


def new(
    item,
    value="red",
    property="colour",
    *,
    probability=0.9,
    decision=ProposedDecision.FILL,
    due=PAST,
    model="m",
):
    candidates = (ProposedValue(value, probability),)
    proposal = NewProposal(item, property, (value,), probability, candidates, decision)
    return dataclasses.replace(proposal, due=due, model=model)


def add(review, *proposals, apply=True):
    run = review.begin()
    report = review.add(run, proposals, apply=apply)
    review.end(run)
    return run.id, report


def put(store, item, value, property="colour", run="ingest"):
    provenance = Provenance("erp", batch=run)
    statement = Statement(item, property, value, provenance=provenance)
    store.put(None, statements_table([statement]), run=run)


def said(store):
    rows = [row for batch in store.scan() for row in batch.to_pylist()]
    return {(row["item"], row["value"], row["rank"]) for row in rows}


def only(review, **wanted):
    (found,) = review.records.find(ProposalFilter(**wanted))
    return found


def states(review):
    return {each.id: str(each.state) for each in review.records.find(ProposalFilter())}


def test_what_is_to_be_filled_is_applied_with_its_run_and_model(review, store):
    run, report = add(review, new("1"), new("2", decision=ProposedDecision.REVIEW))
    assert (report.added, report.applied, report.written, report.new) == (2, 1, 1, 1)
    _, (statement,) = store.item("1")
    assert statement.rank is Rank.PREDICTED
    assert statement.provenance.batch == run
    assert (statement.provenance.model, statement.provenance.confidence) == ("m", 0.9)
    assert store.item("2")[1] == []


def test_a_proposal_waits_for_its_time_or_for_a_person(review, store):
    add(review, new("1", due=FUTURE), new("2", due=None), new("3"), apply=False)
    report = review.apply(ProposalFilter())
    assert report.changed == 1
    assert said(store) == {("3", "red", "predicted")}


def test_accepted_values_are_learned_from(review, store):
    add(review, new("1"))
    review.accept([only(review)], "mo")
    snapshot = read_snapshot(store, ontology=ONTOLOGY)
    assert snapshot.statements_of(0) == [("colour", "red")]
    assert said(store) == {("1", "red", "accepted")}
    assert store.item("1")[1][0].provenance.reviewer == "mo"


def test_a_rejected_value_does_not_come_back_in_any_spelling(review, store):
    add(review, new("1", "Red"))
    review.reject([only(review)], "mo")
    _, report = add(review, new("1", "red"))
    assert (report.added, dict(report.not_written)) == (0, {NotWritten.REJECTED: 1})
    assert rejected_values(store) == {("1", "colour"): {"Red"}}
    assert add(review, new("1", "blue"))[1].applied == 1


def test_an_edit_accepts_the_right_value_and_rejects_the_proposed_one(review, store):
    add(review, new("1"))
    review.edit(only(review), ["navy"], "mo")
    assert said(store) == {("1", "navy", "accepted"), ("1", "red", "rejected")}
    assert only(review).decided == ("navy",)


@pytest.mark.parametrize(
    ("values", "words"), [([" "], "no value"), (["RED"], "accept it"), (["a", "b"], "give one")]
)
def test_an_edit_takes_another_value_and_no_more_than_the_property(review, values, words):
    add(review, new("1"))
    with pytest.raises(UsageError, match=words):
        review.edit(only(review), values, "mo")
    assert only(review).state is ProposalState.APPLIED


def test_a_decision_about_what_is_decided_is_refused_by_name(review, store):
    add(review, new("1"))
    read = only(review)
    review.accept([read], "mo")
    for proposal in (read, only(review)):
        with pytest.raises(ProposalConflictError, match=f"proposal {read.id} "):
            review.reject([proposal], "bo")
    assert said(store) == {("1", "red", "accepted")}


def test_a_newer_run_that_writes_replaces_predictions_of_an_older_one(review, store):
    add(review, new("1"), new("2"))
    _, report = add(review, new("1", "blue", model="m2"))
    assert report.replaced == 1
    assert said(store) == {("1", "blue", "predicted"), ("2", "red", "predicted")}
    assert list(states(review).values()) == ["expired", "applied", "applied"]


def test_a_run_that_does_not_write_leaves_the_graph_alone(review, store):
    add(review, new("1"))
    before = store.content_hash()
    _, report = add(review, new("1", "blue"), new("2"), apply=False)
    assert (report.added, dict(report.not_written)) == (1, {NotWritten.APPLIED: 1})
    assert store.content_hash() == before


def test_predictions_that_no_proposal_made_go_with_the_first_that_is_applied(review, store):
    provenance = Provenance("catalograph complete", model="old", confidence=0.4)
    former = Statement("1", "colour", "blue", Rank.PREDICTED, provenance)
    store.put(None, statements_table([former]))
    before = store.content_hash()
    run, _ = add(review, new("1"))
    assert said(store) == {("1", "red", "predicted")}
    review.undo(run, "undo")
    assert store.content_hash() == before


def test_nothing_is_proposed_beside_what_a_source_states(review, store):
    put(store, "1", "blue")
    put(store, "1", "tea", "uses")
    _, report = add(review, new("1"), new("1", "tea", "uses"), new("2", "soup", "uses"), new("9"))
    assert report.added == 1
    assert dict(report.not_written) == {NotWritten.HAS_VALUE: 2, NotWritten.NO_ITEM: 1}


def test_proposals_expire_with_their_predictions_when_a_source_states_the_cell(review, store):
    add(review, new("1"), new("2"), new("3", decision=ProposedDecision.REVIEW))
    before = store.content_hash()
    put(store, "1", "blue")
    put(store, "3", "blue")
    assert review.expire("ingest") == 2
    assert said(store) == {
        ("1", "blue", "asserted"),
        ("2", "red", "predicted"),
        ("3", "blue", "asserted"),
    }
    assert review.expire() == 0
    # As a part of that run they are there again with what it is taken back from.
    review.undo("ingest", "undo")
    assert store.content_hash() == before
    assert list(states(review).values()) == ["applied", "applied", "proposed"]


def test_proposals_of_an_item_that_is_gone_expire(review, store):
    add(review, new("1"))
    store.delete(["1"], run="delete")
    assert review.expire() == 1


def test_a_decision_that_is_too_late_expires_the_proposal(review, store):
    add(review, new("1"))
    read = only(review)
    put(store, "1", "blue")
    report = review.accept([read], "mo")
    assert (report.changed, report.expired) == (0, 1)
    assert said(store) == {("1", "blue", "asserted")}


def test_undo_takes_a_run_back_and_leaves_the_others(review, store):
    before = store.content_hash()
    run, _ = add(review, new("1"), new("2"), new("3"))
    applied = store.content_hash()
    decision = review.accept(review.records.find(ProposalFilter(item="1")), "mo").run
    with_decision = store.content_hash()
    review.undo(decision, "undo-1")
    assert store.content_hash() == applied
    review.undo("undo-1", "undo-2")
    assert store.content_hash() == with_decision
    review.undo(run, "undo-3")
    assert said(store) == {("1", "red", "accepted")}
    assert list(states(review).values()) == ["accepted", "undone", "undone"]
    review.undo(decision, "undo-4")
    assert store.content_hash() == before
    assert set(states(review).values()) == {"undone"}


def test_undo_does_not_bring_a_proposal_back_beside_a_newer_one(review, store):
    add(review, new("1"))
    rejection = review.reject([only(review)], "mo").run
    add(review, new("1", "blue"))
    review.undo(rejection, "undo")
    assert said(store) == {("1", "blue", "predicted")}
    assert list(states(review).values()) == ["expired", "applied"]


def test_to_undo_a_run_twice_changes_nothing(review, store):
    run, _ = add(review, new("1"))
    review.undo(run, "undo-1")
    assert review.undo(run, "undo-2")[1] == 0
    review.undo("undo-1", "undo-3")
    assert said(store) == {("1", "red", "predicted")}


def test_undo_of_no_run_is_refused(review):
    with pytest.raises(UsageError, match="no run 'x'"):
        review.undo("x", "undo")


def test_the_uncertain_come_first_and_the_skipped_last(review):
    add(review, *(new(f"{number}", probability=p) for number, p in enumerate((0.9, 0.5, 0.2), 1)))

    def order(by):
        found = review.records.find(ProposalFilter(states=OPEN), by)
        return [each.item for each in found]

    assert order(ProposalOrder.GAIN) == ["2", "3", "1"]
    review.skip(review.records.find(ProposalFilter(item="2")), "mo")
    assert order(ProposalOrder.GAIN) == ["3", "1", "2"]
    assert order(ProposalOrder.PROBABILITY) == ["1", "3", "2"]
    assert only(review, item="2").skips == 1


def test_of_what_is_filled_the_doubtful_come_first(review):
    told = ((0.95, 0.999), (0.99, 0.97), (0.995, None), (0.9, 0.99))
    proposals = [
        dataclasses.replace(new(f"{number}", probability=p), proven=proven)
        for number, (p, proven) in enumerate(told, 1)
    ]
    add(review, *proposals)
    found = review.records.find(ProposalFilter(), ProposalOrder.DOUBT)
    assert [each.item for each in found] == ["3", "4", "2", "1"]
    assert [each.doubt for each in found] == pytest.approx([0.005, 0.001, 0.0003, 0.00005])
    applied = (ProposalState.APPLIED,)
    assert ProposalOrder.usual(applied) is ProposalOrder.DOUBT
    assert ProposalOrder.usual(OPEN) is ProposalOrder.usual(()) is ProposalOrder.GAIN


def test_filters_mean_what_they_say(review):
    run, _ = add(review, new("1", probability=0.3), new("2", "blue"), new("3", "tea", "uses"))
    count = review.records.count
    assert count(ProposalFilter(run=run)) == 3
    assert count(ProposalFilter(property="colour", min_probability=0.5)) == 1
    assert count(ProposalFilter(max_probability=0.3)) == 1
    assert count(ProposalFilter(value="tea", model="m")) == 1
    assert count(ProposalFilter(states=(ProposalState.REJECTED,))) == 0
    assert count(ProposalFilter(since=FUTURE)) == 0


def instead(
    item, value, replaced, property="colour", *, origin=ProposalOrigin.AUDIT, probability=0.8
):
    """Return a proposal to put a value in the place of a stored one."""
    return dataclasses.replace(
        new(item, value, property, probability=probability), origin=origin, replaces=(replaced,)
    )


@pytest.fixture
def found(review, store):
    """A stored red that an audit takes for blue; the content hash of before."""
    put(store, "1", "red")
    before = store.content_hash()
    _, report = add(review, instead("1", "blue", "red"))
    assert (report.added, report.applied) == (1, 0)
    assert store.content_hash() == before
    return before


def test_an_accepted_finding_takes_the_place_of_what_is_stored(review, store, found):
    run = review.accept([only(review)], "mo").run
    assert said(store) == {("1", "blue", "accepted"), ("1", "red", "rejected")}
    assert read_snapshot(store, ontology=ONTOLOGY).statements_of(0) == [("colour", "blue")]
    # The source goes on saying it.
    put(store, "1", "red", run="again")
    assert review.expire() == 0
    assert said(store) == {("1", "blue", "accepted"), ("1", "red", "rejected")}
    assert add(review, instead("1", "green", "red"))[1].not_written == {NotWritten.CHANGED: 1}
    review.undo(run, "undo")
    assert store.content_hash() == found
    assert states(review) == {1: "proposed"}


def test_a_rejected_finding_keeps_what_is_stored_for_good(review, store, found):
    run = review.reject([only(review)], "mo").run
    assert said(store) == {("1", "red", "asserted"), ("1", "blue", "rejected")}
    _, report = add(review, instead("1", "green", "Red"))
    assert dict(report.not_written) == {NotWritten.KEPT: 1}
    put(store, "1", "green", run="other")
    store.retract([Statement("1", "colour", "red").id])
    assert add(review, instead("1", "navy", "green"))[1].added == 1
    review.undo(run, "undo")
    # Another one is open by now, about another value.
    assert list(states(review).values()) == ["expired", "proposed"]


def test_an_edited_finding_gives_the_cell_a_third_value(review, store, found):
    run = review.edit(only(review), ["navy"], "mo").run
    assert said(store) == {
        ("1", "navy", "accepted"),
        ("1", "red", "rejected"),
        ("1", "blue", "rejected"),
    }
    review.undo(run, "undo-1")
    assert store.content_hash() == found
    review.edit(only(review), ["red"], "mo")
    _, statements = store.item("1")
    assert {(each.value, str(each.rank)) for each in statements} == {
        ("red", "accepted"),
        ("blue", "rejected"),
    }


def test_a_finding_is_about_all_that_is_stored_of_a_cell_with_one_value(review, store):
    for source, value in (("erp", "red"), ("shop", "green"), ("feed", "blue")):
        statement = Statement("1", "colour", value, provenance=Provenance(source))
        store.put(None, statements_table([statement]))
    before = store.content_hash()
    add(review, instead("1", "blue", "red", origin=ProposalOrigin.CONFLICT))
    assert only(review).replaces == ("red", "green")
    run = review.accept([only(review)], "mo").run
    assert said(store) == {
        ("1", "blue", "accepted"),
        ("1", "red", "rejected"),
        ("1", "green", "rejected"),
    }
    assert review.expire() == 0
    review.undo(run, "undo")
    assert store.content_hash() == before


def test_of_several_values_a_finding_replaces_one(review, store):
    for value in ("tea", "soup"):
        put(store, "1", value, "uses")
    add(review, instead("1", "coffee", "soup", "uses"))
    put(store, "1", "milk", "uses")
    assert review.expire() == 0
    review.accept([only(review)], "mo")
    assert said(store) == {
        ("1", "tea", "asserted"),
        ("1", "milk", "asserted"),
        ("1", "soup", "rejected"),
        ("1", "coffee", "accepted"),
    }


@pytest.mark.parametrize("change", ["withdrawn", "another", "gone"])
def test_a_finding_expires_when_other_values_are_stored(review, store, found, change):
    if change == "withdrawn":
        store.retract([Statement("1", "colour", "red").id], run="ingest")
    elif change == "another":
        put(store, "1", "green")
    else:
        store.delete(["1"], run="ingest")
    read = only(review)
    report = review.accept([read], "mo")
    assert (report.changed, report.expired) == (0, 1)
    review.undo(report.run, "undo-1")
    assert only(review).state is ProposalState.EXPIRED


@pytest.mark.parametrize("change", ["withdrawn", "another"])
def test_a_finding_is_there_again_when_an_ingest_is_taken_back(review, store, found, change):
    if change == "withdrawn":
        store.retract([Statement("1", "colour", "red").id], run="night")
    else:
        put(store, "1", "green", run="night")
    assert review.expire("night") == 1
    review.undo("night", "undo")
    assert store.content_hash() == found
    assert only(review).state is ProposalState.PROPOSED
    assert review.expire() == 0


def test_a_source_that_contradicts_a_decision_is_decided_about_anew(review, store):
    add(review, new("1", "blue"))
    review.accept([only(review)], "mo")
    put(store, "1", "green")
    decided = store.content_hash()
    add(review, instead("1", "green", "blue", origin=ProposalOrigin.CONFLICT))
    conflict = only(review, origins=(ProposalOrigin.CONFLICT,))
    run = review.accept([conflict], "mo").run
    assert said(store) == {("1", "green", "accepted"), ("1", "blue", "rejected")}
    review.undo(run, "undo")
    assert store.content_hash() == decided
    assert list(states(review).values()) == ["accepted", "proposed"]
    review.reject([only(review, origins=(ProposalOrigin.CONFLICT,))], "mo")
    assert said(store) == {("1", "blue", "accepted"), ("1", "green", "rejected")}


def test_what_is_not_stored_or_inherited_is_not_replaced(review, store):
    inherited = Provenance("erp", evidence="inherited from 9")
    statement = Statement("1", "colour", "red", provenance=inherited)
    store.put(None, statements_table([statement]))
    put(store, "2", "red")
    new = [instead("1", "blue", "red"), instead("2", "blue", "green"), instead("3", "blue", "red")]
    _, report = add(review, *new)
    assert report.added == 0
    assert dict(report.not_written) == {NotWritten.INHERITED: 1, NotWritten.CHANGED: 2}


def test_findings_come_first_the_surest_before_all(review, store):
    for item in ("1", "2"):
        put(store, item, "red")
    add(review, new("3", probability=0.5), instead("1", "blue", "red", probability=0.3))
    add(review, instead("2", "blue", "red", probability=0.99))
    listed = review.records.find(ProposalFilter(states=OPEN), ProposalOrder.GAIN)
    assert [each.item for each in listed] == ["2", "1", "3"]
    gains = [each.gain for each in listed]
    assert gains == sorted(gains, reverse=True) == [0.99, 0.3, 0.25]


def test_findings_are_counted_by_themselves(review, store, found):
    add(review, new("2"))
    review.accept(review.records.find(ProposalFilter()), "mo")
    assert review.records.count(ProposalFilter(origins=PREDICTIONS)) == 1
    assert review.records.count(ProposalFilter(replacing=True)) == 1
    assert set(by_origin(review.records.find(ProposalFilter()))) == {"audit", "model"}


def test_a_decision_is_only_left_by_undo():
    for decided in (ProposalState.ACCEPTED, ProposalState.EDITED, ProposalState.REJECTED):
        assert not any(may_move(decided, after) for after in ProposalState)
        assert may_go_back(decided, ProposalState.APPLIED)
    assert not may_move(ProposalState.APPLIED, ProposalState.PROPOSED)
