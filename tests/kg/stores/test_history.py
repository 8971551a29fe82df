"""History: what changed an item, earlier states, and runs undone."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kg.stores import history
from kg.stores.history import ItemChange, as_of, history_of, item_as_of, runs_of, undo
from kg.stores.memory import MemoryStore
from kg.stores.tables import statements_table
from schema.errors import UsageError
from schema.terms import Item
from tests.contracts.rows import sourced, statement
from tests.contracts.store_machine import all_rows, items, names, sources, statements


@st.composite
def run_steps(draw):
    """Return what a run does: puts of a source, retirements and deletions."""
    source = draw(sources)
    kind = draw(st.sampled_from(["put", "put", "put", "retire", "delete", "retract"]))
    if kind == "put":
        facts = draw(st.lists(statements, max_size=5))
        things = draw(st.lists(items, max_size=3, unique_by=lambda item: item.id))
        tables = sourced(things, source), statements_table(facts)
        return lambda store, run: store.put(*tables, replaces=source, run=run)
    ids = draw(st.lists(names, max_size=2))
    if kind == "retire":
        return lambda store, run: store.retire(source, ids, run=run)
    if kind == "delete":
        return lambda store, run: store.delete(ids, run=run)
    facts = [each.id for each in draw(st.lists(statements, max_size=3))]
    return lambda store, run: store.retract(facts, run=run)


@settings(max_examples=150, deadline=None)
@given(st.lists(run_steps(), min_size=1, max_size=6), st.sampled_from([1, 100]))
def test_runs_undone_one_by_one_lead_back(steps, at_once):
    before = history.ROWS_AT_ONCE
    history.ROWS_AT_ONCE = at_once
    try:
        with MemoryStore() as store:
            hashes = []
            for number, step in enumerate(steps):
                hashes.append(store.content_hash())
                step(store, f"run {number}")
            changed = {each.run for each in runs_of(store)}
            for number in reversed(range(len(steps))):
                if f"run {number}" in changed:
                    undo(store, f"run {number}", by=f"undo {number}")
                assert store.content_hash() == hashes[number]
    finally:
        history.ROWS_AT_ONCE = before


@settings(max_examples=50, deadline=None)
@given(st.lists(run_steps(), min_size=1, max_size=5), st.data())
def test_an_undone_undo_leads_back(steps, data):
    with MemoryStore() as store:
        for number, step in enumerate(steps):
            step(store, f"run {number}")
        runs = [each.run for each in runs_of(store)]
        if not runs:
            return
        before = store.content_hash()
        undo(store, data.draw(st.sampled_from(runs)), by="undo")
        if store.content_hash() != before:
            undo(store, "undo", by="undo of undo")
        assert store.content_hash() == before


facts_of_s = st.builds(
    statement, names, st.sampled_from(["p", "q"]), st.sampled_from(["x", "y"]), source=st.just("s")
)


@settings(max_examples=60, deadline=None)
@given(st.lists(facts_of_s, max_size=5))
def test_undoing_a_run_leaves_what_other_sources_said_later(facts):
    others = [
        (sourced([Item(each, "of u")], "u"), statements_table([statement(each, source="u")]))
        for each in ("a", "b")
    ]
    with MemoryStore() as store, MemoryStore() as expected:
        tables = sourced([Item("a", "of s")], "s"), statements_table(facts)
        store.put(*tables, replaces="s", run="s")
        for each in others:
            store.put(*each, replaces="u", run="u")
            expected.put(*each, replaces="u", run="u")
        undo(store, "s", by="undo")
        assert all_rows(store) == all_rows(expected)


def test_each_moment_can_be_seen_again():
    with MemoryStore() as store:
        states = {}
        for night, price in enumerate(["9.90", "8.90", "7.90"]):
            price_now = statement(property="price", value=price)
            night_items = sourced([Item("a", "Cup"), Item(f"b{night}")], "s")
            store.put(night_items, statements_table([price_now]), replaces="s", run=f"{night}")
            states[f"{night}"] = store.content_hash(), store.item("a")
        for moment, (content_hash, found) in states.items():
            with as_of(store, moment) as earlier:
                assert earlier.content_hash() == content_hash
            with item_as_of(store, "a", moment) as earlier:
                assert earlier.item("a") == found
        with as_of(store, "9999-01-01") as now:
            assert now.content_hash() == store.content_hash()


@pytest.mark.parametrize("moment", ["", "nobody", "1999-01-01", "12"])
def test_a_moment_without_anything_is_refused(moment):
    with MemoryStore() as store:
        store.put(None, statements_table([statement()]), run="one")
        with pytest.raises(UsageError, match="catalograph history"), as_of(store, moment):
            pass


def test_history_tells_every_change_of_an_item():
    with MemoryStore() as store:
        first = [statement(property="price", value="9.90"), statement()]
        store.put(sourced([Item("a", "Cup")], "s"), statements_table(first), run="1")
        second = [statement(property="price", value="8.90")]
        tables = sourced([Item("a", "Mug")], "s"), statements_table(second)
        store.put(*tables, replaces="s", run="2")
        store.put(None, statements_table([statement("b")]), run="of another")
        store.delete(["a"], run="3")

        changes = history_of(store, "a")
        assert {each.run for each in changes} == {"1", "2", "3"}
        shown = [(each.run, each.what, each.before, each.after) for each in changes]
        assert sorted(shown, key=str) == sorted(
            [
                ("1", "title", None, "Cup"),
                ("1", "price", None, "9.90"),
                ("1", "colour", None, "red"),
                ("2", "title", "Cup", "Mug"),
                ("2", "price", "9.90", "8.90"),
                ("2", "colour", "red", None),
                ("3", "title", "Mug", None),
                ("3", "price", "8.90", None),
            ],
            key=str,
        )
        assert all(isinstance(each, ItemChange) and each.source == "s" for each in changes)
        assert history_of(store, "nobody") == []


def test_undoing_an_unknown_run_is_refused():
    with MemoryStore() as store, pytest.raises(UsageError, match="no run 'x'"):
        undo(store, "x", by="y")
