import duckdb
import pyarrow as pa
import pytest

from kg.stores.sorting import sorted_batches
from schema.errors import StoreUnavailableError

SCHEMA = pa.schema([("id", pa.string()), ("item", pa.string())])
ROWS = [("c", "1"), ("a", "é"), ("b", "Z"), ("d", "1"), ("e", "z")]


def sorted_ids(batches, by):
    """Sort batches of (id, item) rows; return the ids."""
    record_batches = [
        pa.RecordBatch.from_pylist([{"id": id, "item": item} for id, item in batch], schema=SCHEMA)
        for batch in batches
    ]
    result = sorted_batches(iter(record_batches), SCHEMA, by)
    return [id for batch in result for id in batch["id"].to_pylist()]


@pytest.mark.parametrize("batches", [[ROWS], [ROWS[:2], ROWS[2:]], [[row] for row in ROWS]])
def test_batches_are_sorted_by_the_bytes_of_some_columns(batches):
    assert sorted_ids(batches, ("id",)) == ["a", "b", "c", "d", "e"]
    assert sorted_ids(batches, ("item", "id")) == ["c", "d", "b", "e", "a"]


def test_no_batches_give_none():
    assert sorted_ids([], ("id",)) == []


def test_a_full_temporary_folder_is_named(monkeypatch):
    def fail(*arguments, **options):
        raise duckdb.IOException("Could not write all bytes: No space left on device")

    monkeypatch.setattr(duckdb, "connect", fail)
    with pytest.raises(StoreUnavailableError, match=r"No space left.*TMPDIR"):
        sorted_ids([ROWS[:2], ROWS[2:]], ("id",))
