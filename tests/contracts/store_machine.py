"""A store and the memory store, told the same in any order, say the same."""

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from kg.stores.open import open_store
from kg.stores.tables import items_table, statements_table
from schema.terms import Item, Rank
from tests.contracts.store_contract import fact

names = st.sampled_from(["a", "b", "ä/ß %:#?"])
images = st.sampled_from([(), ("1.jpg",), ("2.jpg", "1.jpg")])
items = st.builds(
    Item, names, st.sampled_from([None, "t", "u"]), st.sampled_from([None, "c > d"]), images
)
rows = st.builds(
    fact,
    names,
    st.sampled_from(["p", "q"]),
    st.sampled_from(["x", "y"]),
    st.sampled_from(list(Rank)),
    source=st.sampled_from(["s", "t"]),
    row=st.sampled_from([None, 3]),
    confidence=st.sampled_from([None, 0.25, 1e-9]),
    evidence=st.sampled_from([None, '{"a": 1}']),
    time=st.sampled_from(["", "2026-01-02T03:04:05+00:00", "2026-01-02"]),
)
LIMITS = settings(
    max_examples=5, stateful_step_count=8, deadline=None, suppress_health_check=list(HealthCheck)
)


class StoreMachine(RuleBasedStateMachine):
    """``url`` is of a store that is empty; ``lasting`` says that it is the same when it is opened again."""

    def __init__(self, url, lasting):
        super().__init__()
        self.url = url
        self.lasting = lasting
        self.store = open_store(url)
        self.memory = open_store("memory:")

    def teardown(self):
        self.store.close()

    @rule(rows=st.lists(rows, max_size=5), items=st.lists(items, max_size=3))
    def put(self, rows, items):
        reports = [
            store.put(items_table(items), statements_table(rows))
            for store in (self.store, self.memory)
        ]
        assert reports[0] == reports[1]

    @rule(rows=st.lists(rows, max_size=3))
    def retract(self, rows):
        assert self.store.retract([r.id for r in rows]) == self.memory.retract([r.id for r in rows])

    @rule()
    def reopen(self):
        if self.lasting:
            self.store.close()
            self.store = open_store(self.url)

    @invariant()
    def same(self):
        assert whole(self.store) == whole(self.memory)
        assert self.store.counts() == self.memory.counts()


def whole(store):
    """All that a store holds."""
    return [
        row
        for batches in (store.items(), store.scan())
        for batch in batches
        for row in batch.to_pylist()
    ]


def check_machine(empty, lasting):
    """Run it; ``empty`` gives the URL of an empty store."""
    made: Any = lambda: StoreMachine(empty(), lasting)  # noqa: E731
    run_state_machine_as_test(made, settings=LIMITS)
