"""CSV and TSV: DuckDB and the line-by-line parser, which must agree."""

import csv
import random

import pytest

from kg.ingest.files import SourceFile
from kg.ingest.readers.delimited import READER, read_delimited
from kg.ingest.readers.delimited_lines import Dialect, read_lines
from kg.ingest.rows import TextRow
from schema.errors import DataError
from schema.mapping import Mapping
from tests.contracts.reader_contract import COLUMNS, ReaderContract
from tests.kg.ingest.readers.reading import read_source, rows_and_rejects, write


class TestCsv(ReaderContract):
    reader = READER
    file_name = "items.csv"
    broken = b"\xff\xfei\x00d\x00"

    def write(self, path, rows):
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            for row in rows:
                writer.writerow(["bad"] if row is None else [row.get(name) for name in COLUMNS])

    def lines(self, rows):
        lines = []
        line = 2
        for row in rows:
            lines.append(line)
            line += 1 + sum(text.count("\n") for text in (row or {}).values())
        return lines


def test_rows_have_the_lines_of_the_file(tmp_path):
    path = write(tmp_path, 'id,t\n1,"two\nlines"\n\n2,b\n')
    assert read_source(path) == ([(2, "1", "two\nlines"), (5, "2", "b")], [])


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
def test_a_bad_row_does_not_cost_another(tmp_path, bad, reason):
    path = write(tmp_path, b"id,t\n1,a\n" + bad + b"\n3,c\n4,d\n")
    assert read_source(path) == ([(2, "1", "a"), (4, "3", "c"), (5, "4", "d")], [(3, reason)])


ROWS = [
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
BROKEN_QUOTES = [b'9,"open,z', b'9,"x"y,z']


@pytest.mark.parametrize("seed", range(8))
def test_duckdb_and_the_line_by_line_parser_agree(tmp_path, seed):
    rng = random.Random(seed)
    dialect = Dialect(("id", "title", "c"))
    for _ in range(10):
        newline = rng.choice([b"\n", b"\r\n"])
        byte_order_mark = rng.choice([b"", b"\xef\xbb\xbf"])
        rows = [
            rng.choice(ROWS if rng.random() < 0.95 else BROKEN_QUOTES).replace(b"\n", newline)
            for _ in range(rng.randint(0, 12))
        ]
        text = newline.join([b"id,title,c", *rows]) + rng.choice([b"", newline])
        path = write(tmp_path, byte_order_mark + text, "a[1]*.csv")

        file = SourceFile.of(path)
        good, rejects = rows_and_rejects(read_delimited(file, dialect, 5))
        by_line = list(read_lines(file, dialect))
        assert good == [(row.line, *row.cells) for row in by_line if isinstance(row, TextRow)]
        assert sorted(rejects) == [
            (row.line, row.reason) for row in by_line if not isinstance(row, TextRow)
        ]


def test_an_unclosed_quote_does_not_swallow_the_file(tmp_path):
    lines = [f"{number},t" for number in range(5000)]
    lines[10] = '10,"open'
    rows, rejects = read_source(write(tmp_path, "id,t\n" + "\n".join(lines)))
    assert (len(rows), rejects) == (4999, [(12, "a quote is opened and never closed")])


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.csv", "id;t\n1;a,b\n"), ("a.tsv", "id\tt\n1\ta,b\n"), ("a.csv", "id|t\n1|a,b\n")],
)
def test_the_delimiter_is_detected(tmp_path, name, text):
    assert read_source(write(tmp_path, text, name)) == ([(2, "1", "a,b")], [])


def test_a_file_without_header_has_the_columns_of_the_mapping(tmp_path):
    mapping = Mapping("k", id=("id",), header=False, columns=("id", "t"), delimiter="\t", quote="")
    assert read_source(write(tmp_path, '1\t"a\n2\tb\n', "a.tsv"), mapping) == (
        [(1, "1", '"a'), (2, "2", "b")],
        [],
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"", "is empty"), (b"\xff\xfei\x00", "UTF-16"), (b"id\r1\r", "carriage return")],
)
def test_a_file_that_is_not_a_table_names_the_problem(tmp_path, data, message):
    with pytest.raises(DataError, match=message):
        read_source(write(tmp_path, data))
