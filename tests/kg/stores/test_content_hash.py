"""The content hash: every column counts, and how the rows are divided does not."""

import math

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kg.stores import content_hash
from kg.stores.content_hash import graph_hash
from kg.stores.tables import ITEM_SCHEMA, STATEMENT_SCHEMA

texts = st.sampled_from([None, "", "a", "ab", "b", "ü"])
item_rows = st.fixed_dictionaries(
    {
        "id": texts,
        "title": texts,
        "category": texts,
        "images": st.lists(st.sampled_from(["a", "", "bc"]), max_size=2),
    }
)
statement_rows = st.fixed_dictionaries(
    {
        name: texts
        if kind == pa.string()
        else st.sampled_from([None, 0, 7])
        if kind == pa.int64()
        else st.sampled_from([None, 0.0, 0.5, math.nan])
        for name, kind in zip(STATEMENT_SCHEMA.names, STATEMENT_SCHEMA.types, strict=True)
    }
)


def batches(rows, schema, size=100):
    return pa.Table.from_pylist(rows, schema=schema).to_batches(max_chunksize=size)


def hash_of(items=(), statements=(), size=100):
    return graph_hash(
        batches(list(items), ITEM_SCHEMA, size), batches(list(statements), STATEMENT_SCHEMA, size)
    )


def meaning(row):
    """Return a row in the form in which all stores have it."""
    nothing = content_hash.EMPTY_IS_NOTHING
    # The order of the columns does not count.
    return repr(
        sorted((key, (value or "") if key in nothing else value) for key, value in row.items())
    )


@settings(deadline=None)
@given(st.lists(item_rows, max_size=4), st.lists(item_rows, max_size=4))
def test_items_have_the_same_hash_only_if_they_are_the_same(one, other):
    same = list(map(meaning, one)) == list(map(meaning, other))
    assert (hash_of(one) == hash_of(other)) == same


@settings(deadline=None)
@given(st.lists(statement_rows, max_size=3), st.lists(statement_rows, max_size=3))
def test_statements_have_the_same_hash_only_if_they_are_the_same(one, other):
    same = list(map(meaning, one)) == list(map(meaning, other))
    assert (hash_of(statements=one) == hash_of(statements=other)) == same


@settings(deadline=None)
@given(statement_rows, st.sampled_from(STATEMENT_SCHEMA.names), st.data())
def test_every_column_of_a_statement_counts(row, column, data):
    (other,) = [data.draw(statement_rows)]
    changed = {**row, column: other[column]}
    assert (hash_of(statements=[row]) == hash_of(statements=[changed])) == (
        meaning(row) == meaning(changed)
    )


@pytest.mark.parametrize("block", [1, 3, 100])
@settings(deadline=None)
@given(st.lists(item_rows, max_size=8), st.integers(1, 9))
def test_the_division_into_batches_does_not_count(block, rows, size):
    before = content_hash.BLOCK_ROWS
    content_hash.BLOCK_ROWS = block
    try:
        assert hash_of(rows, size=size) == hash_of(rows)
    finally:
        content_hash.BLOCK_ROWS = before


def test_sliced_columns_and_no_images_count_as_they_read():
    rows = [{"id": name, "title": name * 3} for name in "abcd"]
    whole = pa.Table.from_pylist(rows, schema=ITEM_SCHEMA)
    sliced = whole.slice(1, 2).to_batches()
    empty = [{**row, "images": []} for row in rows[1:3]]
    assert graph_hash(sliced, []) == hash_of(empty)


def test_nothing_of_an_item_counts_as_a_statement():
    assert hash_of() != hash_of([{"id": ""}]) != hash_of(statements=[{"id": ""}])
