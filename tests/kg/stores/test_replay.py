"""The replay of a journal adds up to what the reference store holds."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kg.stores import replay as replay_module
from kg.stores.fingerprints import Fingerprints, Total
from kg.stores.graph_scan import Content
from kg.stores.journal import changes_table
from kg.stores.memory import MemoryStore
from kg.stores.merge import Changes
from kg.stores.replay import Replay, misnamed
from kg.stores.tables import ITEM_SCHEMA, STATEMENT_SCHEMA, items_table, statements_table
from tests.contracts.rows import statement
from tests.contracts.store_machine import items, statements

steps = st.lists(
    st.tuples(
        st.lists(items, max_size=3),
        st.lists(statements, max_size=4),
        st.lists(statements, max_size=2),
    ),
    max_size=6,
)


def journal_of(steps):
    """Carry out steps on the reference store; return it, and the batches a journal would have."""
    store = MemoryStore()
    for new_items, new_statements, taken_back in steps:
        tables = items_table(new_items), statements_table(new_statements)
        store.put(*tables, replaces="s")
        store.retract([each.id for each in taken_back])
        store.retire("t", [each.item for each in taken_back])
    return store, [each.changes for each in store.changes()]


@pytest.mark.parametrize("at_once", [1, 1000])
@settings(max_examples=40, deadline=None)
@given(steps)
def test_a_replay_has_the_totals_of_the_reference_store(at_once, steps):
    store, batches = journal_of(steps)
    before = replay_module.ROWS_AT_ONCE
    replay_module.ROWS_AT_ONCE = at_once
    try:
        with Replay(only_count=True) as replay:
            for batch in batches:
                replay.add(batch.select(replay_module.COUNTED_COLUMNS))
            counts = store.counts()
            assert replay.total(Content.ITEMS).count == counts.items
            assert replay.total(Content.STATEMENTS).count == counts.statements
        with Replay() as replay, Fingerprints() as prints:
            for batch in batches:
                replay.add(batch)
            expected = Total()
            expected.add(prints.items(pa.Table.from_batches(store.items(), ITEM_SCHEMA)))
            assert replay.total(Content.ITEMS) == expected
            expected = Total()
            expected.add(prints.statements(pa.Table.from_batches(store.scan(), STATEMENT_SCHEMA)))
            assert replay.total(Content.STATEMENTS) == expected
            assert replay.misnamed.count == 0
            values = sum(len(records) for records in replay.parts(Content.VALUES))
            assert values >= store.counts().values
    finally:
        replay_module.ROWS_AT_ONCE = before


def test_a_wrong_id_is_found():
    (row,) = statements_table([statement()]).to_pylist()
    wrong = [{**row, "value": "rad"}, {**row, "item": "b"}, row]
    table = pa.Table.from_pylist(wrong, schema=STATEMENT_SCHEMA)
    assert misnamed(table) == [row["id"], row["id"]]
    assert misnamed(table.slice(2)) == []
    with Replay() as replay:
        replay.add(changes_table(Changes(new_statements=wrong)))
        assert replay.misnamed.count == 2
