"""Arrow IPC and Feather."""

import pyarrow as pa
import pyarrow.feather
import pytest

from kg.ingest.files import SourceFile
from kg.ingest.readers.arrow import READER
from kg.ingest.rows import Record
from schema.errors import DataError
from tests.contracts.reader_contract import COLUMNS, ReaderContract
from tests.kg.ingest.readers.reading import read_source, write
from tests.kg.ingest.readers.test_parquet import unchecked_text


class TestArrow(ReaderContract):
    reader = READER
    file_name = "items.arrow"
    broken = b"ARROW1 and no more"

    def write(self, path, rows):
        encoded = [
            {"id": b"\xff"} if row is None else {name: text.encode() for name, text in row.items()}
            for row in rows
        ]
        columns = {name: unchecked_text([row.get(name) for row in encoded]) for name in COLUMNS}
        table = pa.table(columns)
        with pa.ipc.new_file(str(path), table.schema) as file:
            file.write_table(table, max_chunksize=5)


TABLE = pa.table({"id": ["1", "2"], "sizes": [["S", "M"], None], "spec": [{"a": 1}, {"a": None}]})
ROWS = [(1, "1", "S\x1fM", "1"), (2, "2", None, None)]


@pytest.mark.parametrize("compression", ["uncompressed", "lz4", "zstd"])
def test_feather_is_read(tmp_path, compression):
    pyarrow.feather.write_feather(TABLE, str(tmp_path / "a.feather"), compression)
    assert read_source(tmp_path / "a.feather")[0] == ROWS


def test_a_stream_is_read(tmp_path):
    with pa.ipc.new_stream(str(tmp_path / "a.ipc"), TABLE.schema) as stream:
        stream.write_table(TABLE)
    assert read_source(tmp_path / "a.ipc")[0] == ROWS
    records = list(READER.records(SourceFile.of(tmp_path / "a.ipc")))
    assert records[0] == Record(1, {"id": "1", "sizes": ["S", "M"], "spec": {"a": 1}})


def test_the_obsolete_version_is_named(tmp_path):
    with pytest.raises(DataError, match="obsolete"):
        read_source(write(tmp_path, b"FEA1" + bytes(100) + b"FEA1", "a.feather"))


def test_damage_is_one_line(tmp_path):
    pyarrow.feather.write_feather(TABLE, str(tmp_path / "b.feather"), "zstd")
    data = (tmp_path / "b.feather").read_bytes()
    for size in range(8, len(data), 97):
        path = write(tmp_path, data[:size], "a.feather")
        with pytest.raises(DataError, match="not a readable Arrow file") as caught:
            read_source(path)
        assert "\n" not in str(caught.value)
