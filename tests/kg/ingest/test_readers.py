"""Readers: every row of a file is a row with its line, or a reject with its line."""

import json
import random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kg.ingest.delimited import Dialect, read_delimited, read_lines
from kg.ingest.readers import open_source, read, unique_names
from schema.errors import DataError, SourceNotFoundError
from schema.mapping import Mapping

PLAIN = Mapping("plain", id=("id",))


def rows_of(path, mapping=PLAIN, batch=1000):
    rows: list[Any] = []
    rejects: list[tuple[int, str]] = []
    for got in read(open_source(path), mapping, batch):
        rows += zip(
            got.lines.tolist(), *(column.to_pylist() for column in got.table.columns), strict=True
        )
        rejects += [(reject.line, reject.reason) for reject in got.rejects]
    return rows, rejects


def write(folder, data, name="a.csv"):
    (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    return folder / name


def test_rows_bear_the_lines_of_the_file(tmp_path):
    path = write(tmp_path, 'id,t\n1,"two\nlines"\n\n2,b\n')
    assert rows_of(path) == ([(2, "1", "two\nlines"), (5, "2", "b")], [])


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"2", "1 columns where 2 are expected"),
        (b"2,b,c", "3 columns where 2 are expected"),
        (b"2,caf\xff", "not valid UTF-8"),
        (b"2,\xed\xa0\x80", "not valid UTF-8"),
        (b'2,"open', "a quote is opened and never closed"),
        (b'2,"x"y', "text after a closing quote"),
        ('2,"\u2028",x\u2028y'.encode(), "3 columns where 2 are expected"),
    ],
)
def test_a_bad_row_costs_no_other(tmp_path, bad, reason):
    path = write(tmp_path, b"id,t\n1,a\n" + bad + b"\n3,c\n4,d\n")
    assert rows_of(path) == ([(2, "1", "a"), (4, "3", "c"), (5, "4", "d")], [(3, reason)])


PIECES = [
    b"1,a,b",
    b'2,"x\ny",b',
    b'2,"x\n\ny",b',
    b"2,bad",
    b"3,a,b,c,d",
    b"4",
    b"",
    b"5,caf\xff,z",
    b'6,"q""q",z',
    b'7,27" m,z',
    b" ",
    b",,",
]
TORN = [b'9,"open,z', b'9,"x"y,z']


@pytest.mark.parametrize("seed", range(8))
def test_duckdb_and_the_reader_by_lines_agree(tmp_path, seed):
    rng = random.Random(seed)
    dialect = Dialect(("id", "title", "c"))
    for _ in range(10):
        newline = rng.choice([b"\n", b"\r\n"])
        mark = rng.choice([b"", b"\xef\xbb\xbf"])
        body = [
            rng.choice(PIECES if rng.random() < 0.95 else TORN).replace(b"\n", newline)
            for _ in range(rng.randint(0, 12))
        ]
        path = write(
            tmp_path,
            mark + newline.join([b"id,title,c", *body]) + rng.choice([b"", newline]),
            "a[1]*.csv",
        )
        careful = list(read_lines(path, dialect))
        rows: list[Any] = []
        rejects: list[tuple[int, str]] = []
        for got in read_delimited(path, dialect, 5):
            rows += zip(
                got.lines.tolist(),
                *(column.to_pylist() for column in got.table.columns),
                strict=True,
            )
            rejects += [(reject.line, reject.reason) for reject in got.rejects]
        assert rows == [(line, *cells) for line, cells, _ in careful if isinstance(cells, list)]
        assert sorted(rejects) == [
            (line, cells) for line, cells, _ in careful if isinstance(cells, str)
        ]


def test_an_unclosed_quote_does_not_swallow_the_file(tmp_path):
    lines = [f"{number},t" for number in range(5000)]
    lines[10] = '10,"open'
    rows, rejects = rows_of(write(tmp_path, "id,t\n" + "\n".join(lines)))
    assert (len(rows), rejects) == (4999, [(12, "a quote is opened and never closed")])


def test_batches_are_bounded(tmp_path):
    path = write(tmp_path, "id,t\n" + "\n".join(f"{number},t" for number in range(10)))
    assert max(len(batch.lines) for batch in read(open_source(path), PLAIN, 3)) <= 3


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.csv", "id;t\n1;a,b\n"), ("a.tsv", "id\tt\n1\ta,b\n"), ("a.csv", "id|t\n1|a,b\n")],
)
def test_the_delimiter_is_found(tmp_path, name, text):
    assert rows_of(write(tmp_path, text, name)) == ([(2, "1", "a,b")], [])


def test_a_file_without_header_takes_the_mapping_s_columns(tmp_path):
    mapping = Mapping("k", id=("id",), header=False, columns=("id", "t"), delimiter="\t", quote="")
    assert rows_of(write(tmp_path, '1\t"a\n2\tb\n', "a.tsv"), mapping) == (
        [(1, "1", '"a'), (2, "2", "b")],
        [],
    )


def test_jsonl_cells_are_text_and_bad_lines_are_named(tmp_path):
    lines = [
        '{"id": 1, "t": ["a", "b"], "n": {"x": true, "y": 2.0}, "z": null}',
        "{",
        "[1]",
        '{"id": "\\ud800"}',
        "",
        '{"id": 2, "late": 1.5}',
    ]
    rows, rejects = rows_of(write(tmp_path, "\n".join(lines), "a.jsonl"))
    assert rows == [
        (1, "1", "a\x1fb", "true", "2", None, None),
        (6, "2", None, None, None, None, "1.5"),
    ]
    assert [line for line, _ in rejects] == [2, 3, 4]
    assert "surrogate" in rejects[2][1]


def test_deep_json_is_a_reject(tmp_path):
    path = write(tmp_path, json.dumps({"id": 1}) + "\n" + '{"id":' + "[" * 100_000, "a.jsonl")
    assert len(rows_of(path)[1]) == 1


def test_parquet(tmp_path):
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
    assert rows_of(tmp_path / "a.parquet")[0] == [
        (1, "1", "a\x1fb", "2", "y", "q"),
        (2, "2", None, "0.5", None, "q"),
    ]


def test_parquet_text_that_is_none_is_rejected(tmp_path):
    broken = pa.StringArray.from_buffers(
        2, pa.array([b"\xff", b"b"]).buffers()[1], pa.array([b"\xff", b"b"]).buffers()[2]
    )
    pq.write_table(pa.table({"id": ["1", "2"], "t": broken}), tmp_path / "a.parquet")
    assert rows_of(tmp_path / "a.parquet") == ([(2, "2", "b")], [(1, "not valid UTF-8")])


def test_a_folder_is_its_table(tmp_path):
    write(tmp_path, "id\n1", "items.csv")
    write(tmp_path, "query\n1", "queries.csv")
    assert open_source(tmp_path).path.name == "items.csv"


@pytest.mark.parametrize(
    ("name", "data", "error", "message"),
    [
        ("none.csv", None, SourceNotFoundError, "check the path"),
        ("a.xlsx", b"x", DataError, "suffix '.xlsx'"),
        ("a.csv", b"", DataError, "is empty"),
        ("a.csv", b"\xff\xfei\x00", DataError, "UTF-16"),
        ("a.csv", b"id\r1\r", DataError, "carriage return"),
        ("a.jsonl", b"[]\n", DataError, "no JSON object"),
        ("a.parquet", b"PAR1", DataError, "not a readable Parquet"),
    ],
)
def test_what_is_no_source_is_one_line(tmp_path, name, data, error, message):
    path = tmp_path / name if data is None else write(tmp_path, data, name)
    with pytest.raises(error, match=message) as caught:
        open_source(path)
    assert "\n" not in str(caught.value)


def test_a_folder_without_or_with_many_tables_is_named(tmp_path):
    with pytest.raises(SourceNotFoundError, match="no table"):
        open_source(tmp_path)
    write(tmp_path, "id", "x.csv")
    write(tmp_path, "id", "y.csv")
    with pytest.raises(DataError, match=r"2 tables \(x.csv, y.csv\)"):
        open_source(tmp_path)


def test_column_names_are_made_different():
    assert unique_names(["a", "", " a ", "b"]) == ("a", "column_2", "a_2", "b")
