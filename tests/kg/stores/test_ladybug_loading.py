import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kg.stores.journal import JournalBatch, changes_table, new_rows_table
from kg.stores.ladybug_loading import (
    AddedItems,
    Loading,
    NewRows,
    WaitingRows,
    is_whole,
    parts,
    together,
)
from kg.stores.merge import Changes
from kg.stores.property_graph import first_image, with_image
from kg.stores.tables import ITEM_SCHEMA, items_table, statements_table
from schema.terms import Item
from tests.contracts.rows import statement


def batch_of(items, statements):
    return JournalBatch.from_table(
        new_rows_table(items_table(Item(id) for id in items), statements_table(statements))
    )


def test_batch_is_whole_if_it_has_the_item_of_each_statement():
    assert is_whole(batch_of(["a", "b"], [statement("a")]))
    assert is_whole(batch_of(["a"], []))
    assert not is_whole(batch_of(["a"], [statement("a"), statement("b")]))
    assert not is_whole(JournalBatch.from_table(changes_table(Changes(deleted=["a"]))))
    assert not is_whole(JournalBatch.from_table(changes_table(Changes(retracted={"1": None}))))


def test_waiting_rows_keep_their_order_and_newest_version():
    waiting = WaitingRows()
    assert not waiting
    for version, id in enumerate(["b", "a"]):
        waiting.add(version, NewRows.of(batch_of([id], [statement(id)])))
    assert waiting
    assert waiting.version == 1
    assert together(waiting.items, ["id", "image"])["id"].to_pylist() == ["b", "a"]
    assert together(waiting.statements, ["item"])["item"].to_pylist() == ["b", "a"]


@given(
    st.lists(st.lists(st.text(max_size=2), max_size=5), max_size=8), st.lists(st.text(max_size=2))
)
def test_added_items_are_known(parts, others):
    added = AddedItems()
    for ids in parts:
        added.add(ids)
    known = {id for ids in parts for id in ids}
    assert added.may_have_any(others) == (not known.isdisjoint(others))
    assert all(added.may_have_any([id]) for id in known)


def test_load_in_a_thread_passes_its_error_on_each_time():
    def fail(rows):
        raise ValueError(str(rows.version))

    loading = Loading(WaitingRows(7), fail)
    loading.end()
    for _ in range(2):
        with pytest.raises(ValueError, match="7"):
            loading.finish()


@pytest.mark.parametrize("most", [1, 50, 10**9])
def test_parts_are_the_whole_table(most):
    table = pa.table({"text": ["x" * number for number in range(20)]})
    together = list(parts(table, most))
    assert pa.concat_tables(together).equals(table)
    assert list(parts(table.slice(0, 0), most)) == []


@given(st.lists(st.none() | st.lists(st.text(max_size=3), max_size=3)), st.integers(0, 3))
def test_main_image_is_the_first_one(images, start):
    rows = [{"id": f"{number}", "images": each} for number, each in enumerate(images)]
    items = pa.Table.from_pylist(rows, schema=ITEM_SCHEMA).slice(start)
    expected = [first_image(each) for each in images[start:]]
    assert with_image(items)["image"].to_pylist() == expected
