import tempfile
from pathlib import Path
from unittest.mock import patch

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kg.stores import ladybug_graph
from kg.stores.graph_scan import Content
from kg.stores.ladybug_columns import COLUMNS, HAS, ITEM, CompactRows, LeftOutColumns
from kg.stores.ladybug_scan import LadybugScan
from kg.stores.open import open_store
from kg.stores.property_graph import ITEM_PROPERTIES, RELATIONSHIP_PROPERTIES
from kg.stores.tables import ITEM_SCHEMA, STATEMENT_SCHEMA, items_table, statements_table
from schema.terms import Item, Provenance, Rank
from tests.contracts.rows import statement

texts = st.sampled_from(["s", "o", "it's", "a\\", 'say "so"', "line\nbreak", "ü ☃"]) | st.none()
provenances = st.builds(
    Provenance,
    source=texts,
    batch=st.sampled_from(["run-1", "run-2"]),
    row=st.integers(1, 3) | st.none(),
    model=texts,
    confidence=st.sampled_from([0.25, 0.5]) | st.none(),
    time=st.sampled_from(["2026-11-26T11:11:11Z", None]),
)
"""Where a batch's rows come from: all of them, or each on its own."""


@st.composite
def batches(draw):
    """Return tables of new items and statements, which are alike in some columns."""
    numbers = iter(range(100))
    parts = []
    for _ in range(draw(st.integers(1, 4))):
        shared = draw(st.none() | provenances)
        items = []
        statements = []
        for number in [next(numbers) for _ in range(draw(st.integers(1, 3)))]:
            of_item = shared or draw(provenances)
            where = Provenance(of_item.source, of_item.batch, of_item.row)
            items.append(Item(f"{number}", draw(texts), provenance=where))
            for value in range(draw(st.integers(0, 2))):
                made = vars_of(shared or draw(provenances))
                rank = draw(st.sampled_from([Rank.ASSERTED, Rank.ASSERTED, Rank.ACCEPTED]))
                statements.append(statement(f"{number}", value=f"{value}", rank=rank, **made))
        parts.append((items_table(items), statements_table(statements)))
    return parts


def vars_of(provenance):
    names = ("source", "batch", "row", "model", "confidence", "time")
    return {name: getattr(provenance, name) for name in names}


@settings(max_examples=12, deadline=None)
@given(batches(), st.sampled_from([0, 4, 100]))
def test_rows_are_whole_whatever_columns_were_left_out_while_they_were_loaded(parts, created):
    with tempfile.TemporaryDirectory() as folder:
        url = f"ladybug:{folder}/g"
        # Each batch is loaded on its own, and nothing is read in between.
        with (
            patch.object(ladybug_graph, "COPIED_BYTES", 600),
            patch.object(ladybug_graph, "COPIED_ROWS", 0),
            patch.object(ladybug_graph, "CREATED_ROWS", created),
            patch.object(ladybug_graph, "MERGED_ROWS", 0),
            open_store("memory:") as expected,
            open_store(url) as store,
        ):
            for items, statements in parts:
                for each in (expected, store):
                    each.put(items, statements)
            store.close()
            with open_store(url) as again:
                assert again.content_hash() == expected.content_hash()
                assert rows_of(folder, Content.STATEMENTS) == rows_of(folder, Content.SECOND_COPY)
                # A later row has nothing of what fills the columns of the first ones.
                for each in (expected, again):
                    each.put(items_table([Item("later")]), statements_table([statement("later")]))
                assert again.content_hash() == expected.content_hash()


def rows_of(folder, content):
    """Return the rows of a content, in the order of their ids."""
    scan = LadybugScan(Path(folder) / "g" / "graph.lbug")
    tables = [table for part in scan.parts(content) for table in scan.read(part)]
    scan.close()
    return pa.concat_tables([STATEMENT_SCHEMA.empty_table(), *tables]).sort_by("id").to_pylist()


def test_tables_have_the_columns_of_the_property_graph():
    assert set(COLUMNS[ITEM]) == set(ITEM_PROPERTIES)
    assert set(COLUMNS[HAS]) == set(RELATIONSHIP_PROPERTIES)


def rows_with(**columns):
    """Return two items, with some columns."""
    table = pa.Table.from_pylist([{"id": "a"}, {"id": "b"}], schema=ITEM_SCHEMA)
    table = table.append_column("image", pa.nulls(2, pa.string()))
    for name, values in columns.items():
        place = table.schema.get_field_index(name)
        table = table.set_column(place, table.schema.field(name), pa.array(values, pa.string()))
    return CompactRows.of(table)


def test_a_column_is_added_when_its_rows_are_no_longer_alike():
    left_out = LeftOutColumns.of_new_table(ITEM)
    some = rows_with(source=["s", "s"])
    assert list(left_out.add_for([rows_with(source=["s", "s"], time=["1", "2"])])) == [
        "ALTER TABLE Item ADD IF NOT EXISTS time STRING"
    ]
    assert list(left_out.add_for([])) == []
    assert list(left_out.add_for([some, CompactRows.of(ITEM_SCHEMA.empty_table())])) == []
    assert list(left_out.add_for([some, rows_with(source=["o", "o"])])) == [
        "ALTER TABLE Item ADD IF NOT EXISTS source STRING DEFAULT 's'"
    ]
    assert "ALTER TABLE Item ADD IF NOT EXISTS category STRING" in list(left_out.add_all())
    assert left_out.names == list(left_out.add_all()) == []


def test_compact_rows_have_the_columns_of_the_table():
    table = pa.table(
        {
            "none": pa.nulls(3, pa.string()),
            "same": ["x", "x", "x"],
            "some": ["x", None, "x"],
            "rows": [1, 1, 1],
            "lists": [["x"], ["x"], ["x"]],
        }
    )
    for part in (table, table.slice(1), table.slice(0, 0)):
        rows = CompactRows.of(part)
        assert rows.table(table.column_names).equals(part)
        assert rows.table(["same"]).equals(part.select(["same"]))
    assert CompactRows.of(table).alike == {"none": None, "same": "x"}


@pytest.mark.parametrize("text", ["it's", "a\\", "line\nbreak", "\x00"])
def test_a_text_that_would_have_to_be_escaped_is_loaded(text):
    left_out = LeftOutColumns.of_new_table(ITEM)
    added = list(left_out.add_for([rows_with(source=[text, text])]))
    assert added == ["ALTER TABLE Item ADD IF NOT EXISTS source STRING"]
