"""CSV, TSV and other delimited text: every row is read or rejected, whatever is broken in it."""

import csv
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kg.ingest.files import SourceFile
from kg.ingest.readers.delimited import READER
from kg.ingest.source import open_source
from schema.errors import DataError
from schema.mapping import Mapping
from tests.contracts.reader_contract import COLUMNS, ReaderContract
from tests.kg.ingest.readers.reading import read_source, rows_and_rejects, write
from tests.real_data import DATA


class TestCsv(ReaderContract):
    reader = READER
    file_name = "items.csv"
    broken = b"PK\x03\x04 and no more"

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


QUOTED = b'id,t\n1,"a, b"\n2,"c, ""d"""\n'


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"3", "1 columns where 2 are expected"),
        (b"3,b,c", "3 columns where 2 are expected"),
        (b"3,caf\xff", "not valid UTF-8"),
        (b"3,\xed\xa0\x80", "not valid UTF-8"),
        (b'3,"open', "a quote is opened and never closed"),
        (b'3,"x"y', "text after a closing quote"),
        (b"3,\0", "a NUL character"),
        ('3,"\u2028",x\u2028y'.encode(), "3 columns where 2 are expected"),
    ],
)
def test_a_bad_row_does_not_cost_another(tmp_path, bad, reason):
    path = write(tmp_path, QUOTED + bad + b"\n4,c\n5,d\n")
    assert read_source(path) == (
        [(2, "1", "a, b"), (3, "2", 'c, "d"'), (5, "4", "c"), (6, "5", "d")],
        [(4, reason)],
    )


def test_an_unclosed_quote_does_not_swallow_the_file(tmp_path):
    lines = [f'{number},"a, {number}"' for number in range(5000)]
    lines[10] = '10,"open'
    rows, rejects = read_source(write(tmp_path, "id,t\n" + "\n".join(lines)))
    assert (len(rows), len(rejects)) == (4999, 1)
    assert rejects[0][0] == 12


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_a_quote_in_a_title_swallows_no_row(tmp_path, name):
    lines = [f"{number}\tChair {number}\tred" for number in range(5000)]
    lines[10] = '10\t"Retro” lamp\tred'
    lines[4500] = '4500\tMonitor 24"\tred'
    rows, rejects = read_source(write(tmp_path, "id\ttitle\tcolor\n" + "\n".join(lines), name))
    assert (len(rows), rejects) == (5000, [])


def test_swallowed_rows_are_read_where_quotes_are_used(tmp_path):
    lines = [f'{number},"Chair, {number}",red' for number in range(3000)]
    lines[10] = '10,"Retro lamp,red'
    lines[11:2000] = [f"{number},Chair,red" for number in range(11, 2000)]
    lines[2000] = '2000,Monitor 24",red'
    rows, rejects = read_source(write(tmp_path, "id,title,color\n" + "\n".join(lines)))
    assert len(rows) == 2999
    assert [line for line, _ in rejects] == [12]
    assert "quote" in rejects[0][1]


def test_a_file_without_header_has_the_columns_of_the_mapping(tmp_path):
    mapping = Mapping("k", id=("id",), header=False, columns=("id", "t"), delimiter="\t", quote="")
    source = open_source(write(tmp_path, '1\t"a\n2\tb\n', "a.tsv"), mapping)
    assert rows_and_rejects(source.batches(mapping)) == ([(1, "1", '"a'), (2, "2", "b")], [])


def test_a_file_without_header_needs_names_for_its_columns(tmp_path):
    source = open_source(write(tmp_path, "C1,a\nC2,b\n"))
    with pytest.raises(DataError, match="no columns: name them"):
        list(source.batches(Mapping("k", id=("id",))))


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_files_that_were_joined_have_their_header_again(tmp_path, mark):
    part = mark + "id,title\n1,a\n2,b\n"
    source = open_source(write(tmp_path, part + part.replace("1,a", "3,c").replace("2,", "4,")))
    (batch,) = source.batches(Mapping("plain", id=("id",)))
    assert batch.table["id"].to_pylist() == ["1", "2", "3", "4"]
    assert [(line.line, line.what) for line in batch.skipped] == [(4, "repeated header")]


@pytest.mark.parametrize(
    ("last", "skipped"),
    [
        ("Total,,14.40", True),
        ("Summe:,,14.40", True),
        ("C3,Total,14.40", False),
        ("Total,Gift box,14.40", False),
        ("Total,,", False),
    ],
)
def test_a_line_of_totals_at_the_end_is_no_row(tmp_path, last, skipped):
    path = write(tmp_path, f"sku,name,price\nC1,Cup,9.90\nC2,Can,4.50\n,,\n{last}\n")
    for batch_rows in (1, 2, 3, 100):
        batches = list(open_source(path).batches(Mapping("plain", id=("sku",)), batch_rows))
        assert sum(len(batch.skipped) for batch in batches) == skipped
        assert sum(batch.rows_read for batch in batches) == 3 - skipped


def test_undecodable_rows_after_the_head_are_rejected_until_there_are_many(tmp_path):
    good = "".join(f"{number},é {number}\n" for number in range(100_000)).encode()
    rows, rejects = read_source(write(tmp_path, b"id,t\n" + good + b"x,\xe9\n" * 5))
    assert (len(rows), len(rejects)) == (100_000, 5)
    assert {reason for _, reason in rejects} == {"not valid UTF-8"}
    path = write(tmp_path, b"id,t\n" + good + b"x,\xe9\n" * 30_000)
    with pytest.raises(DataError, match=r"a\.csv: .* rows are not valid UTF-8.*encoding = "):
        read_source(path)


def test_a_long_cell_is_read(tmp_path):
    cell = "lorem ipsum, so on " * 160_000
    path = write(tmp_path, f'id,t\n1,a\n2,"{cell}"\n3,b\n')
    rows, rejects = read_source(path)
    assert ([len(row[2]) for row in rows], rejects) == ([1, len(cell), 1], [])


def test_wide_rows_are_read(tmp_path):
    names = ",".join(f"attr_{number}" for number in range(3000))
    values = ",".join(f"v{number}" for number in range(3000))
    rows, rejects = read_source(write(tmp_path, f"sku,{names}\nW1,{values}\nW2,{values}\n"))
    assert ([len(row) for row in rows], rejects) == ([3002, 3002], [])


PEAK_OF_READING = """
import re
import sys
from pathlib import Path
# Right after the start, the peak is that of the process that started this one.
Path("/proc/self/clear_refs").write_text("5")
from kg.ingest.files import SourceFile
from kg.ingest.readers.delimited import READER
from schema.mapping import Mapping
from tests.kg.ingest.readers.test_delimited import MadeFile
file = MadeFile(Path(sys.argv[1]), None, sys.argv[2], ".csv")
read = rejected = 0
for batch in READER.batches(file, READER.head(file), Mapping("m", id=("id",)), 50_000):
    read += batch.table.num_rows
    rejected += len(batch.rejects)
status = Path("/proc/self/status").read_text()
print(read, rejected, int(re.search(r"VmHWM:\\s+(\\d+)", status)[1]) >> 10)
"""


class MadeFile(SourceFile):
    """A file whose bytes are made while they are read: its path says which, its name how many."""

    def open(self):
        return MadeStream(str(self.path), int(self.name))


class MadeStream:
    """Rows, or one line without an end, or rows in which a quote is never closed."""

    def __init__(self, kind, megabytes):
        self._chunks: Iterator[bytes] = self._make(kind, megabytes)
        self._rest = b""

    @staticmethod
    def _make(kind, megabytes):
        yield b'id,title,note\n1,"a, b",c\n'
        if kind == "line":
            yield b"2,x,"
        row = b"x" * 99 + b"\n" if kind == "quote" else b'17,"Chair, large",some text of it\n'
        if kind == "quote":
            yield b'2,"never closed,'
        row = b"0" * 100 if kind == "line" else row
        chunk = row * ((1 << 20) // len(row))
        for _ in range(megabytes):
            yield chunk
        if kind == "line":
            yield b'\n3,"a, b",c\n'

    def read(self, size):
        while len(self._rest) < size:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            self._rest += chunk
        data = self._rest[:size]
        self._rest = self._rest[size:]
        return data

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass


@pytest.mark.parametrize(
    ("kind", "megabytes", "read", "rejected"),
    [("rows", 50, 50 * 30_840 + 1, 0), ("line", 120, 2, 1)],
)
def test_memory_is_flat(kind, megabytes, read, rejected):
    done = subprocess.run(
        [sys.executable, "-c", PEAK_OF_READING, kind, str(megabytes)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[4],
    )
    found = [int(number) for number in done.stdout.split()]
    assert found[1] == rejected
    assert found[0] == read
    assert found[2] < 450


@pytest.mark.parametrize("seed", range(6))
def test_damaged_bytes_lose_no_line(tmp_path, seed):
    """With some bytes changed, all rows without a changed byte are read as they are."""
    rng = random.Random(seed)
    rows = [[f"A{n}", f"Chair, {n}", f'{n}" wide', str(n * 10)] for n in range(300)]
    path = tmp_path / "a.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["id", "title", "size", "price"], *rows])
    data = bytearray(path.read_bytes())
    start = data.index(b"\n") + 1
    lines = set()
    for _ in range(5):
        at = rng.randrange(start, len(data))
        # A changed end of a line is two changed rows.
        lines |= {data.count(b"\n", 0, at) - 1 + step for step in (0, 1)}
        data[at] = rng.randrange(32, 256)
    path.write_bytes(data)
    read, rejects = read_source(path)
    found = {row[1]: list(row[1:]) for row in read}
    intact = [row for number, row in enumerate(rows) if number not in lines]
    assert [row for row in intact if found.get(row[0]) != row] == []
    assert len(read) + len(rejects) >= len(rows) - len(lines)


CASES = DATA.parent / "cases" / "ingest"


@pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not here")
@pytest.mark.parametrize(
    ("name", "read", "rejected"),
    [
        ("03-google-merchant.tsv", 3, 0),
        ("06-amazon-flat-file.txt", 3, 0),
        ("07-open-food-facts.csv", 3, 1),
        ("17-european-cp1252.csv", 3, 0),
        ("17b-european-cp1252-id.csv", 3, 0),
        ("17c-european-utf8.csv", 4, 0),
        ("19-utf16.csv", 2, 0),
        ("23-duplicate-headers.csv", 2, 0),
        ("24-excel-sep-line.csv", 2, 0),
        ("24b-report-title.csv", 2, 0),
        ("24c-report-title-with-id.csv", 2, 0),
        ("26-header-only.csv", 0, 0),
        ("27-backslash-quotes.csv", 4, 0),
        ("28-newlines-bom-crlf.csv", 3, 0),
        ("37f-pandas-index.csv", 2, 0),
        ("39-delimiter-header-commas.csv", 2, 0),
        ("39b-pipe.txt", 2, 0),
        ("39c-comma-named.tsv", 2, 0),
        ("39d-unquoted-decimal-comma.csv", 2, 0),
        ("48-mac-cr.csv", 2, 0),
        ("53-excel-trailing-rows.csv", 2, 0),
        ("55-tsv-stray-quote-swallows.tsv", 5, 0),
        ("55b-csv-inch-leading.csv", 4, 0),
        ("56-ragged-unquoted-comma.csv", 2, 2),
        ("57-openfoodfacts-nul.csv", 3, 1),
    ],
)
def test_the_rows_of_the_shared_cases_are_those_that_a_person_counts(name, read, rejected):
    rows, rejects = read_source(CASES / name)
    assert (len(rows), len(rejects)) == (read, rejected)


@pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not here")
def test_the_rows_of_plain_shared_cases_are_those_of_the_csv_module():
    """Of the cases that are plain CSV with commas, which is all that the csv module knows."""
    counted = 0
    for path in sorted(CASES.glob("*.csv")):
        data = path.read_bytes()
        if data[:2] in (b"\xff\xfe", b"") or path.name[:2] in ("24", "25", "27", "53", "55", "56"):
            continue
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            table = [row for row in csv.reader(file) if any(row)]
        if len(table[0]) < 2 or "\t" in table[0][0] or ";" in table[0][0]:
            continue
        rows, rejects = read_source(path)
        assert [row[1:] for row in rows] == [
            tuple(cell or None for cell in row) for row in table[1:]
        ], path.name
        assert rejects == []
        counted += 1
    assert counted > 20


def test_swallowed_rows_are_known_by_handles_too(tmp_path):
    rows = [f'chair-{number},"Chair, oak",plain' for number in range(100)]
    rows[10] = 'chair-ten,"Retro lamp,plain'
    rows[11:20] = ["stool-x,Stool,plain"] * 9
    rows[20] = 'chair-y,Monitor 24",plain'
    read, rejects = read_source(write(tmp_path, "handle,title,style\n" + "\n".join(rows)))
    assert (len(read), [line for line, _ in rejects]) == (99, [12])


@pytest.mark.parametrize("columns", [2, 3, 4])
def test_descriptions_of_many_lines_are_read_whole(tmp_path, columns):
    rng = random.Random(columns)
    words = [
        "wash, cold",
        "dry",
        "no bleach, ever",
        "iron, low, dry",
        "",
        "5 cm, 3 kg",
        "Berlin, 12",
    ]
    rows = [
        [f"item-{n}", *("x" for _ in range(columns - 2)), "\n".join(rng.choices(words, k=6))]
        for n in range(400)
    ]
    path = tmp_path / "a.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        names = ["handle", "title", "color", "description"]
        csv.writer(file).writerows([[*names[: columns - 1], "description"], *rows])
    read, rejects = read_source(path)
    assert rejects == []
    assert [list(row[1:]) for row in read] == rows
