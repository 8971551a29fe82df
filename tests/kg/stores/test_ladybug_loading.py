import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kg.stores.journal import JournalBatch, changes_table, new_rows_table
from kg.stores.ladybug_loading import WaitingRows, is_whole, parts
from kg.stores.merge import Changes
from kg.stores.property_graph import first_image, with_image
from kg.stores.tables import ITEM_SCHEMA, items_table, statements_table
from schema.terms import Item
from tests.contracts.store_contract import statement


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
        waiting.add(version, batch_of([id], [statement(id)]))
    assert waiting
    assert (waiting.version, waiting.item_ids) == (1, {"a", "b"})
    assert waiting.items()["id"].to_pylist() == ["b", "a"]
    assert waiting.statements()["item"].to_pylist() == ["b", "a"]
    assert waiting.nbytes > 0


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
