"""Counting what a journal leaves."""

from hypothesis import given, settings
from hypothesis import strategies as st

from kg.stores.journal import JournalBatch, changes_table
from kg.stores.memory import MemoryStore
from kg.stores.tables import items_table, statements_table
from kg.stores.tally import Tally
from schema.terms import Item, Statement

NAMES = st.sampled_from("abc")
BATCHES = st.lists(
    st.tuples(
        st.lists(NAMES, max_size=3), st.lists(NAMES, max_size=3), st.lists(NAMES, max_size=2)
    ),
    max_size=5,
)


@given(BATCHES)
@settings(max_examples=25, deadline=None)
def test_counts_are_those_of_the_replayed_store(batches):
    store = MemoryStore()
    with Tally() as tally:
        for version, (items, put, retracted) in enumerate(batches):
            rows = [Statement(name, "colour", "red") for name in put]
            # Every batch of a journal names the items of its statements.
            changes = changes_table(
                items_table([Item(name) for name in {*items, *put}]).to_pylist(),
                statements_table(rows).to_pylist(),
                [Statement(name, "colour", "red").id for name in retracted],
            )
            tally.add(version, changes)
            batch = JournalBatch.from_table(changes)
            store.put(batch.items, batch.statements)
            store.retract(batch.retracted)
        counts = store.counts()
        assert tally.counts() == (counts.items, counts.statements)
