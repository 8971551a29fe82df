"""A state machine that does the same to a store and to the memory store, and compares them."""

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from kg.stores.open import open_store
from kg.stores.references import INHERITED_ORIGIN, SourceOrder
from kg.stores.tables import items_table, statements_table
from schema.terms import Item, Provenance, Rank
from tests.contracts.rows import statement

names = st.sampled_from(["a", "b", "ä/ß %:#?"])
images = st.sampled_from([(), ("1.jpg",), ("2.jpg", "1.jpg")])
sources = st.sampled_from(["s", "t"])
item_provenance = st.builds(
    Provenance,
    sources,
    st.sampled_from(["", "run"]),
    st.sampled_from([None, 3]),
    evidence=st.sampled_from([None, "inherited from a"]),
    time=st.sampled_from(["", "2026-01-02T03:04:05+00:00"]),
)
items = st.builds(
    Item,
    names,
    st.sampled_from([None, "t", "u"]),
    st.sampled_from([None, "c > d"]),
    images,
    st.sampled_from([None, "d\ne"]),
    st.none() | item_provenance,
)
statements = st.builds(
    statement,
    names,
    st.sampled_from(["p", "q"]),
    st.sampled_from(["x", "y"]),
    st.sampled_from(list(Rank)),
    st.sampled_from([None, "de", "zh-Hant"]),
    source=sources,
    row=st.sampled_from([None, 3]),
    confidence=st.sampled_from([None, 0.25, 1e-9]),
    evidence=st.sampled_from([None, '{"a": 1}', "inherited from b"]),
    time=st.sampled_from(["", "2026-01-02T03:04:05+00:00", "2026-01-02"]),
)
SETTINGS = settings(
    max_examples=5, stateful_step_count=8, deadline=None, suppress_health_check=list(HealthCheck)
)


class StoreMachine(RuleBasedStateMachine):
    """A run on the empty store at ``url``; a ``persistent`` one is also closed and reopened."""

    def __init__(self, url, persistent):
        super().__init__()
        self.url = url
        self.persistent = persistent
        self.store = open_store(url)
        self.memory = open_store("memory:")

    def teardown(self):
        self.store.close()

    @rule(
        statements=st.lists(statements, max_size=5),
        items=st.lists(items, max_size=3),
        replaces=st.none() | sources,
        order=st.sampled_from([(), ("s",), ("t", "s")]),
    )
    def put(self, statements, items, replaces, order):
        for store in (self.store, self.memory):
            store.order = SourceOrder(order)
        report, expected = (
            store.put(items_table(items), statements_table(statements), replaces=replaces)
            for store in (self.store, self.memory)
        )
        assert report == expected

    @rule(source=sources, ids=st.lists(names, max_size=2))
    def retire(self, source, ids):
        assert self.store.retire(source, ids) == self.memory.retire(source, ids)

    @rule(ids=st.lists(names, max_size=2))
    def delete(self, ids):
        assert self.store.delete(ids) == self.memory.delete(ids)

    @rule(statements=st.lists(statements, max_size=3))
    def withdraw(self, statements):
        items = {each.id: each.item for each in statements}
        report, expected = (
            store.withdraw(items, INHERITED_ORIGIN) for store in (self.store, self.memory)
        )
        assert report == expected

    @rule(statements=st.lists(statements, max_size=3))
    def retract(self, statements):
        ids = [each.id for each in statements]
        assert self.store.retract(ids) == self.memory.retract(ids)

    @rule()
    def reopen(self):
        if self.persistent:
            self.store.close()
            self.store = open_store(self.url)

    @invariant()
    def same_content(self):
        assert all_rows(self.store) == all_rows(self.memory)
        assert self.store.counts() == self.memory.counts()

    @rule()
    def same_history(self):
        with open_store("memory:") as copy:
            for batch in self.store.changes():
                copy.append(batch.changes)
            assert all_rows(copy) == all_rows(self.memory)


def all_rows(store):
    """Return all rows of a store, items first."""
    batches = [*store.items(), *store.scan()]
    return [row for batch in batches for row in batch.to_pylist()]


def check_store(empty_url, persistent):
    """Run the machine; ``empty_url`` returns the URL of an empty store each time it is called."""

    def new_machine() -> Any:
        return StoreMachine(empty_url(), persistent)

    machine: Any = new_machine
    run_state_machine_as_test(machine, settings=SETTINGS)
