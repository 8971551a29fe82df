"""Parquet."""

import datetime
from decimal import Decimal

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from kg.ingest.arrow_rows import text_column
from kg.ingest.files import SourceFile
from kg.ingest.readers.parquet import READER
from kg.ingest.rows import Record
from kg.ingest.source import open_source
from schema.errors import DataError
from tests.contracts.reader_contract import COLUMNS, ReaderContract
from tests.kg.ingest.readers.reading import PLAIN, read_source, values_of, write


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


def written(tmp_path, table, **options):
    """Write a table; return the remarks on it, and its rows as dictionaries of what is there."""
    path = tmp_path / "a.parquet"
    pq.write_table(table, path, **options)
    source = open_source(path)
    rows = [
        {name: text for name, text in row.items() if text is not None}
        for batch in source.batches(PLAIN)
        for row in batch.table.to_pylist()
    ]
    return source.remarks, rows


NOON = datetime.datetime(2024, 1, 2, 12, 30, 5)
VALUES = {
    "date32": (pa.date32(), datetime.date(2024, 1, 2), "2024-01-02"),
    "date64": (pa.date64(), datetime.date(2024, 1, 2), "2024-01-02"),
    "seconds": (pa.timestamp("s"), NOON, "2024-01-02T12:30:05"),
    "nanoseconds": (pa.timestamp("ns"), NOON, "2024-01-02T12:30:05"),
    "zone": (pa.timestamp("us", "Europe/Berlin"), NOON, "2024-01-02T13:30:05+01:00"),
    "offset": (pa.timestamp("us", "+05:30"), NOON, "2024-01-02T18:00:05+05:30"),
    "time": (pa.time64("ns"), datetime.time(9, 30), "09:30"),
    "duration": (pa.duration("ns"), datetime.timedelta(hours=36), "36:00:00"),
    "decimal": (pa.decimal128(9, 2), Decimal("20.00"), "20.00"),
    "decimal256": (pa.decimal256(50, 3), Decimal("-0.500"), "-0.500"),
    "double": (pa.float64(), 4012345000036.0, "4012345000036"),
    "float": (pa.float32(), 0.1, "0.1"),
    "half": (pa.float16(), 0.5, "0.5"),
    "large": (pa.float64(), 1e300, "1e+300"),
    "boolean": (pa.bool_(), True, "true"),
    "unsigned": (pa.uint64(), 2**64 - 1, str(2**64 - 1)),
    "text": (pa.large_string(), "00123", "00123"),
    "view": (pa.string_view(), "a", "a"),
}


@pytest.mark.parametrize("name", VALUES)
def test_values_are_as_people_write_them(tmp_path, name):
    type, value, text = VALUES[name]
    plain = pa.array([value, None], type)
    table = {"id": ["1", "2"], "v": plain}
    # string_view and half floats have no casts for lists.
    if name not in ("view", "half"):
        table["list"] = pa.ListArray.from_arrays([0, 2, 2], plain)
        table["struct"] = pa.StructArray.from_arrays([plain], ["x"])
    remarks, rows = written(tmp_path, pa.table(table))
    assert remarks == ()
    expected = {"id": "1", "v": text, "list": text, "struct.x": text}
    assert rows == [{key: expected[key] for key in rows[0]}, {"id": "2"}]
    assert len(rows[0]) == (2 if name in ("view", "half") else 4)


def test_nested_columns_become_properties(tmp_path):
    pairs = pa.list_(pa.struct([("name", pa.string()), ("value", pa.string())]))
    table = pa.table(
        {
            "id": ["1", "2"],
            "attrs": pa.array(
                [[("color", "red"), ("size", "M")], None], pa.map_("string", "string")
            ),
            "pairs": pa.array([[{"name": "Colour", "value": "red"}], []], pairs),
            "dims": [{"w": 1.0, "box": {"h": [1, 2]}}, None],
            "s": [{"x": "a"}, None],
            "s.x": ["b", "c"],
        }
    )
    assert written(tmp_path, table)[1] == [
        {
            "id": "1",
            "attrs.color": "red",
            "attrs.size": "M",
            "Colour": "red",
            "dims.w": "1",
            "dims.box.h": "1\x1f2",
            "s.x": "a\x1fb",
        },
        {"id": "2", "s.x": "c"},
    ]


@pytest.mark.parametrize("encode", [lambda a: a.dictionary_encode(), pc.run_end_encode])
def test_other_ways_to_store_a_column_do_not_matter(encode):
    assert text_column(pa.chunked_array([encode(pa.array([1.0, 1.0, 2.5]))])).to_pylist() == [
        "1",
        "1",
        "2.5",
    ]


def test_the_index_of_pandas_is_left_out_and_said(tmp_path):
    frame = pd.DataFrame({"id": ["P1", "P2", "P3"]})[1:]
    remarks, rows = written(tmp_path, pa.Table.from_pandas(frame, preserve_index=True))
    assert rows == [{"id": "P2"}, {"id": "P3"}]
    assert "__index_level_0__" in remarks[0]
    # Where it has a name, or text, it is a column of its own.
    named = pd.DataFrame({"t": ["a"]}, index=pd.Index(["x"], name="id"))
    assert written(tmp_path, pa.Table.from_pandas(named))[1] == [{"t": "a", "id": "x"}]
    unnamed = pd.DataFrame({"t": ["a"]}, index=["x"])
    assert written(tmp_path, pa.Table.from_pandas(unnamed))[1][0]["__index_level_0__"] == "x"


def test_bytes_are_left_out_and_said_unless_they_are_text(tmp_path):
    table = pa.table(
        {
            "id": ["1", "2"],
            "thumb": [b"\xff\xd8\xff", b"\0\1"],
            "fixed": pa.array([b"\xff\xfe", None], pa.binary(2)),
            "title": ["café".encode(), None],
            "inner": [{"data": b"\xff", "kind": b"jpeg"}, None],
        }
    )
    remarks, rows = written(tmp_path, table)
    assert [remark.split()[2] for remark in remarks] == ["thumb", "fixed"]
    assert rows == [{"id": "1", "title": "café", "inner.kind": "jpeg"}, {"id": "2"}]


def test_columns_of_one_name_are_all_read(tmp_path):
    table = pa.Table.from_arrays([pa.array(["1"]), pa.array(["a"]), pa.array(["b"])], list("ixx"))
    pq.write_table(table, tmp_path / "a.parquet")
    assert read_source(tmp_path / "a.parquet")[0] == [(1, "1", "a", "b")]


def test_a_time_zone_that_nobody_knows_is_utc(tmp_path):
    column = pa.array([NOON], pa.timestamp("us", "Nowhere/Town"))
    assert text_column(pa.chunked_array([column])).to_pylist() == ["2024-01-02T12:30:05+00:00"]


def test_each_batch_has_the_columns_of_the_head(tmp_path):
    rows = [{"x": "a"}] * 50 + [None] * 50 + [{"y": "b"}] * 50
    type = pa.struct([("x", pa.string()), ("y", pa.string())])
    table = pa.table({"id": [str(n) for n in range(150)], "s": pa.array(rows, type)})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=50)
    source = open_source(tmp_path / "a.parquet")
    for batch in source.batches(PLAIN, 50):
        assert set(source.head.rows[0]) <= set(batch.table.column_names)


def test_rows_as_records_keep_their_shape(tmp_path):
    table = pa.table({"id": [1], "s": [{"x": [datetime.date(2024, 1, 2)]}], "m": [True]})
    pq.write_table(table, tmp_path / "a.parquet")
    records = list(READER.records(SourceFile.of(tmp_path / "a.parquet")))
    assert records == [Record(1, {"id": 1, "s": {"x": ["2024-01-02"]}, "m": True})]


def test_short_floats_are_as_short_in_records(tmp_path):
    floats = pa.array([0.1, 4.35], pa.float32())
    inner = pa.StructArray.from_arrays([floats], ["w"])
    lists = pa.ListArray.from_arrays([0, 1, 2], floats)
    maps = pa.array([[("a", 0.1)], []], pa.map_(pa.string(), pa.float32()))
    table = pa.table({"w": floats, "s": inner, "l": lists, "m": maps})
    pq.write_table(table, tmp_path / "a.parquet")
    records = READER.records(SourceFile.of(tmp_path / "a.parquet"))
    assert values_of(records) == [
        {"w": 0.1, "s": {"w": 0.1}, "l": [0.1], "m": {"a": 0.1}},
        {"w": 4.35, "s": {"w": 4.35}, "l": [4.35], "m": {}},
    ]
