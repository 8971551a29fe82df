"""Which items were written about since a revision."""

import pytest

from kg.stores.memory import MemoryStore
from kg.stores.open import open_store
from kg.stores.tables import items_table, statements_table
from kg.stores.touched import touched_since
from schema.terms import Item
from tests.contracts.rows import sourced, statement


@pytest.fixture(params=["memory", "ladybug", "rdf"])
def store(tmp_path, request):
    if request.param == "memory":
        yield MemoryStore()
        return
    with open_store(f"{request.param}:{tmp_path / 'graph'}", create=True) as opened:
        yield opened


def touched(store, revision):
    found = touched_since(store, revision)
    return None if found is None else {id for ids in found for id in ids.to_pylist()}


def test_whatever_is_written_touches_its_items(store):
    things = [Item(id) for id in "abcdef"]
    facts = [statement(id, "p", value) for id in "abcdef" for value in ("x", "y")]
    store.put(sourced(things, "s"), None, run="first")
    store.put(None, statements_table(facts), run="first")
    revision = store.revision()
    assert touched(store, revision) == set()

    store.put(items_table([Item("a", title="A")]), None, run="second")
    assert touched(store, revision) == {"a"}
    # What is taken back is named by its item, too.
    kept = statements_table([statement("b", "p", "x")])
    store.put(sourced([Item("b")], "s"), kept, replaces="s", run="second")
    store.delete(["c"], run="second")
    store.put(None, statements_table([statement("new", "p", "x")]), run="third")
    assert touched(store, revision) == {"a", "b", "c", "new"}
    assert touched(store, store.revision()) == set()


def test_a_store_tells_nothing_of_a_revision_that_it_never_had(store):
    store.put(items_table([Item("a")]), None)
    for revision in ("", "another", "journal version 0, 0123456789abcdef", "journal version -1"):
        assert touched(store, revision) is None


def test_statements_without_their_items_tell_nothing(store, monkeypatch):
    store.put(items_table([Item("a")]), statements_table([fact := statement("a", "p", "x")]))
    revision = store.revision()
    store.retract([fact.id])
    if isinstance(store, MemoryStore):
        assert touched(store, revision) == {"a"}
        return
    with pytest.raises(LookupError, match="version 1 names statements without their items"):
        touched(store, revision)
