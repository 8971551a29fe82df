"""Parquet."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kg.ingest.readers.parquet import READER
from schema.errors import DataError
from tests.contracts.reader_contract import COLUMNS, ReaderContract
from tests.kg.ingest.readers.reading import read_source, write


def unchecked_text(cells):
    """Return a column of text from bytes, which need not be valid UTF-8."""
    array = pa.array(cells, pa.binary())
    _, offsets, data = array.buffers()
    return pa.StringArray.from_buffers(len(array), offsets, data, array.buffers()[0])


class TestParquet(ReaderContract):
    reader = READER
    file_name = "items.parquet"
    broken = b"PAR1 and no more"

    def write(self, path, rows):
        bad = {"id": b"\xff"}
        encoded = [
            bad if row is None else {name: text.encode() for name, text in row.items()}
            for row in rows
        ]
        columns = {name: unchecked_text([row.get(name) for row in encoded]) for name in COLUMNS}
        pq.write_table(pa.table(columns), path)


def test_columns_of_any_type_become_text(tmp_path):
    table = pa.table(
        {
            "id": [1, 2],
            "t": [["a", "b"], None],
            "n": [2.0, 0.5],
            "s": [{"x": "y"}, {"x": None}],
            "d": pa.array(["q", "q"]).dictionary_encode(),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    assert read_source(tmp_path / "a.parquet")[0] == [
        (1, "1", "a\x1fb", "2", "y", "q"),
        (2, "2", None, "0.5", None, "q"),
    ]


def test_invalid_text_in_a_list_is_rejected(tmp_path):
    lists = pa.ListArray.from_arrays([0, 1, 2], unchecked_text([b"\xff", b"b"]))
    pq.write_table(pa.table({"id": ["1", "2"], "t": lists}), tmp_path / "a.parquet")
    assert read_source(tmp_path / "a.parquet") == ([(2, "2", "b")], [(1, "not valid UTF-8")])


def test_a_damaged_file_names_the_problem(tmp_path):
    with pytest.raises(DataError, match="not a readable Parquet"):
        read_source(write(tmp_path, b"PAR1", "a.parquet"))
    pq.write_table(pa.table({"id": [str(n) for n in range(1000)]}), tmp_path / "b.parquet")
    data = bytearray((tmp_path / "b.parquet").read_bytes())
    data[4:40] = b"\xff" * 36
    with pytest.raises(DataError, match="not a readable Parquet"):
        read_source(write(tmp_path, bytes(data), "b.parquet"))
