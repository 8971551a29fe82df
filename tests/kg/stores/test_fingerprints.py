"""Fingerprints: whatever differs between two contents changes them."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kg.stores import fingerprints
from kg.stores.fingerprints import RECORD, Difference, Fingerprints, Partitions, Total, newest
from kg.stores.tables import ITEM_SCHEMA, STATEMENT_SCHEMA, items_table, statements_table
from schema.terms import Item, Provenance
from tests.contracts.rows import statement

CHANGES = {
    "id": "other",
    "item": "b",
    "property": "size",
    "value": "rad",
    "rank": "predicted",
    "source": "t",
    "batch": "b2",
    "row": 8,
    "model": "n",
    "confidence": math.nextafter(0.5, 1),
    "evidence": "f",
    "reviewer": "jo",
    "time": "2027",
    "language": "de",
    "references": '[{"rank":"asserted"},{"rank":"asserted"}]',
}
OTHER_ITEMS = [
    Item("b", "t", "c", ("1",)),
    Item("a", None, "c", ("1",)),
    Item("a", "t", "d", ("1",)),
    Item("a", "t", "c", ("1",), "d"),
    Item("a", "t", "c", ("2",)),
    Item("a", "t", "c", ("1", "1")),
    Item("a", "c", "t", ("1",)),
    Item("a", "t", "c", ("1",), provenance=Provenance("s")),
    Item("a", "t", "c", ("1",), provenance=Provenance("", batch="b")),
    Item("a", "t", "c", ("1",), provenance=Provenance("", row=1, batch="b")),
    Item("a", "t", "c", ("1",), provenance=Provenance("", evidence="e")),
    Item("a", "t", "c", ("1",), provenance=Provenance("", time="2026")),
]
FULL = statement(
    row=7, batch="b1", model="m", confidence=0.5, evidence="e", reviewer="mo", time="2026"
)


@pytest.fixture(scope="module")
def prints():
    with Fingerprints() as opened:
        yield opened


def total(*batches):
    result = Total()
    for records in batches:
        result.add(records)
    return result


@pytest.mark.parametrize("column", STATEMENT_SCHEMA.names)
def test_every_column_of_a_statement_counts(prints, column):
    (row,) = statements_table([FULL]).to_pylist()
    changed = pa.Table.from_pylist([{**row, column: CHANGES[column]}], schema=STATEMENT_SCHEMA)
    assert total(prints.statements(statements_table([FULL]))) != total(prints.statements(changed))


@pytest.mark.parametrize("other", OTHER_ITEMS)
def test_every_column_of_an_item_counts(prints, other):
    item = Item("a", "t", "c", ("1",))
    assert total(prints.items(items_table([item]))) != total(prints.items(items_table([other])))


def test_what_stores_keep_differently_counts_as_the_same(prints):
    row = {"id": "a", "title": None, "category": None}
    no_images: tuple[list[str] | None, ...] = (None, [])
    tables = [
        pa.Table.from_pylist([{**row, "images": images}], schema=ITEM_SCHEMA)
        for images in no_images
    ]
    assert total(*map(prints.items, tables[:1])) == total(*map(prints.items, tables[1:]))
    rows = statements_table([statement()]).to_pylist()
    bare = pa.Table.from_pylist([{**rows[0], "batch": None, "time": None}], schema=STATEMENT_SCHEMA)
    assert total(prints.statements(statements_table([statement()]))) == total(
        prints.statements(bare)
    )


def test_the_order_and_the_batches_do_not_count(prints):
    statements = [statement(str(number)) for number in range(50)]
    whole = prints.statements(statements_table(statements))
    parts = [
        prints.statements(statements_table(part)) for part in (statements[30:], statements[:30])
    ]
    assert total(whole) == total(*parts) != total(whole[1:])
    assert total(whole, whole[:1]) != total(whole)


def record(key, digest, check=0):
    return np.array([(key, check, digest)], RECORD)


def test_values_of_two_rows_cannot_be_exchanged():
    assert total(record(1, 8), record(2, 9)) != total(record(1, 9), record(2, 8))


keys = st.integers(0, 6)
digests = st.integers(0, 3)
contents = st.lists(st.tuples(keys, st.integers(0, 1), digests), max_size=30)


def as_records(rows):
    records = np.array(rows, RECORD) if rows else np.empty(0, RECORD)
    records["key"] = records["key"] << np.uint64(61)
    return records


@settings(deadline=None)
@given(contents)
def test_the_newest_record_of_each_id_is_kept(rows):
    expected = {}
    for key, check, digest in rows:
        expected[key, check] = digest
    found = newest(as_records(rows))
    assert {(int(key) >> 61, int(check)): int(digest) for key, check, digest in found} == {
        id: digest for id, digest in expected.items() if digest
    }
    assert len(found) == sum(digest != 0 for digest in expected.values())


@settings(deadline=None)
@given(contents, contents)
def test_differences_are_those_of_two_dictionaries(before, after):
    expected = newest(as_records(before))
    whole = {(int(key), int(check)): int(digest) for key, check, digest in expected}
    found: dict[tuple[int, int], int] = {}
    repeated = set()
    for key, check, digest in as_records(after):
        if (int(key), int(check)) in found:
            repeated.add(int(key))
        found.setdefault((int(key), int(check)), int(digest))
    difference = Difference.of(expected, as_records(after))

    def keys_of(ids):
        return sorted(key for key, _ in ids)

    assert sorted(difference.missing.tolist()) == keys_of(whole.keys() - found.keys())
    assert sorted(difference.extra.tolist()) == keys_of(found.keys() - whole.keys())
    changed = [id for id in whole.keys() & found.keys() if whole[id] != found[id]]
    assert sorted(difference.changed.tolist()) == keys_of(changed)
    assert set(difference.repeated.tolist()) == repeated


@pytest.mark.parametrize("in_memory", [5, 1000])
@settings(max_examples=20, deadline=None)
@given(st.data())
def test_partitions_keep_the_order_of_an_ids_records(in_memory, data):
    batches = [as_records(rows) for rows in data.draw(st.lists(contents, max_size=5))]
    limit = fingerprints.RECORDS_IN_MEMORY
    fingerprints.RECORDS_IN_MEMORY = in_memory
    try:
        with Partitions() as partitions:
            for batch in batches:
                partitions.add(batch)
            parts = list(partitions.parts())
    finally:
        fingerprints.RECORDS_IN_MEMORY = limit
    whole = np.concatenate([np.empty(0, RECORD), *batches])
    assert len(parts) == fingerprints.PARTITIONS
    for key in np.unique(whole["key"]):
        holding = [part for part in parts if key in part["key"]]
        assert len(holding) == 1
        assert (holding[0][holding[0]["key"] == key] == whole[whole["key"] == key]).all()
