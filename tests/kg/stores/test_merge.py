"""What a put changes: for items that a store has none of, it is found in columns."""

from hypothesis import given
from hypothesis import strategies as st

from kg.stores.journal import JOURNAL_SCHEMA, changes_table, new_rows_table
from kg.stores.merge import PutBatch, PutTables, StoredRows, changes_of
from kg.stores.tables import items_table, statements_table
from schema.terms import Item, Provenance, Statement

names = st.sampled_from(["a", "b", "c", "d"])
items = st.builds(
    Item,
    id=names,
    title=st.none() | st.just("t"),
    images=st.sampled_from([(), ("x",), ("x", "y")]),
)
statements = st.builds(
    Statement,
    item=names,
    property=st.just("p"),
    value=st.sampled_from(["x", "y"]),
    language=st.none() | st.just("de"),
    provenance=st.builds(Provenance, source=st.just("s"), row=st.none() | st.integers(0, 3)),
)


@given(st.lists(items, max_size=5), st.lists(statements, max_size=6), st.booleans())
def test_new_items_are_written_as_row_by_row(some_items, some_statements, has_nulls):
    table = items_table(some_items)
    if has_nulls:
        # A put may leave columns out, and so all images.
        table = table.drop_columns(["images"])
    given_tables = table, statements_table(some_statements)
    by_row = changes_of(PutBatch.from_tables(*given_tables), StoredRows())
    tables = PutTables.checked(*given_tables).as_new()

    found = new_rows_table(tables.items, tables.statements)

    assert found.to_pylist() == changes_table(by_row).to_pylist()
    assert found.schema == JOURNAL_SCHEMA
