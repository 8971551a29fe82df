"""Proposals of categories: in the graph they are a field of the item, and all else is as ever."""

import pytest

from kg.stores.memory import MemoryStore
from kg.stores.tables import items_table, statements_table
from schema.ledger import Ledger
from schema.ontology import Ontology, PropertySpec
from schema.proposals import ProposalFilter, ProposalState
from schema.terms import CATEGORY, Item, Provenance, Rank, Statement
from serving.review.agreement import disagreements
from serving.review.session import NotWritten, Review
from serving.writeback import rejected_values
from tests.serving.review.test_session import add, new

MUGS = "Home > Mugs"
CUPS = "Home > Cups"
SHOP = Provenance("shop", "first", 1)


@pytest.fixture
def store():
    opened = MemoryStore()
    items = [Item("1", "Mug", provenance=SHOP), Item("2", "Can", "Tins", provenance=SHOP)]
    opened.put(items_table(items), None, run="first")
    return opened


@pytest.fixture
def review(store):
    with Ledger("sqlite://") as ledger:
        yield Review(store, ledger, Ontology())


def category(store, item="1"):
    return store.item(item)[0].category


def proposal(review, state):
    (found,) = review.records.find(ProposalFilter(property=CATEGORY, states=(state,)))
    return found


def test_a_run_is_applied_and_taken_back(store, review):
    before = store.content_hash()
    run, report = add(review, new("1", MUGS, CATEGORY), new("2", MUGS, CATEGORY))
    assert (category(store), category(store, "2")) == (MUGS, "Tins")
    assert (report.applied, report.not_written[NotWritten.HAS_VALUE]) == (1, 1)
    assert list(disagreements(store, review.records)) == []
    review.undo(run, "back")
    assert store.content_hash() == before
    assert list(disagreements(store, review.records)) == []


def test_an_accepted_category_stays(store, review):
    add(review, new("1", MUGS, CATEGORY), apply=False)
    assert category(store) is None
    review.accept([proposal(review, ProposalState.PROPOSED)], "mo")
    assert category(store) == MUGS
    assert store.item("1")[1] == []
    _, report = add(review, new("1", CUPS, CATEGORY))
    assert (category(store), report.added) == (MUGS, 0)
    assert list(disagreements(store, review.records)) == []


def test_a_rejected_category_is_gone_and_not_proposed_again(store, review):
    add(review, new("1", MUGS, CATEGORY))
    run = review.reject([proposal(review, ProposalState.APPLIED)], "mo").run
    assert category(store) is None
    assert rejected_values(store) == {("1", CATEGORY): {MUGS}}
    _, report = add(review, new("1", MUGS, CATEGORY))
    assert report.not_written == {NotWritten.REJECTED: 1}
    assert list(disagreements(store, review.records)) == []
    review.undo(run, "back")
    assert (category(store), rejected_values(store)) == (MUGS, {})


def test_an_edited_category_takes_the_place_of_the_proposed_one(store, review):
    add(review, new("1", MUGS, CATEGORY))
    review.edit(proposal(review, ProposalState.APPLIED), [CUPS], "mo")
    assert category(store) == CUPS
    assert rejected_values(store) == {("1", CATEGORY): {MUGS}}
    assert list(disagreements(store, review.records)) == []


def test_another_run_replaces_an_applied_category(store, review):
    first, _ = add(review, new("1", MUGS, CATEGORY))
    second, _ = add(review, new("1", CUPS, CATEGORY))
    assert category(store) == CUPS
    review.undo(second, "back")
    assert category(store) == MUGS
    review.undo(first, "further back")
    assert category(store) is None


def test_a_category_that_a_source_states_settles_the_proposal(store, review):
    add(review, new("1", MUGS, CATEGORY))
    stated = Item("1", "Mug", "Tins", provenance=Provenance("shop", "second", 1))
    store.put(items_table([stated]), None, run="second", replaces="shop")
    assert category(store) == "Tins"
    assert review.expire() == 1


def test_a_property_of_that_name_is_a_property(store):
    said = Statement("1", CATEGORY, "A", Rank.ASSERTED, SHOP)
    store.put(None, statements_table([said]), run="more")
    ontology = Ontology([PropertySpec(CATEGORY, values=("A", "B"), counts=(1, 1))])
    with Ledger("sqlite://") as ledger:
        review = Review(store, ledger, ontology)
        _, report = add(review, new("1", "B", CATEGORY), new("2", "B", CATEGORY))
        assert (report.applied, category(store), category(store, "2")) == (1, None, "Tins")
        assert [each.value for each in store.item("2")[1]] == ["B"]
