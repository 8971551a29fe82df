"""What the user names becomes files: compressed ones, members of archives, standard input."""

import bz2
import gzip
import io
import lzma
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from backports import zstd

from kg.ingest import files, unpacking
from kg.ingest.files import SourceFile, archive_members
from kg.ingest.source import open_source, open_sources
from schema.errors import DataError, SourceNotFoundError
from schema.mapping import Mapping
from tests.kg.ingest.readers.reading import read_source, write

TABLE = b"id,title\n1,a\n2,b\n"
ROWS = [(2, "1", "a"), (3, "2", "b")]
ROOT = Path(__file__).parents[3]


def write_zip(path, members, **options):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content, **options)
    return path


def notes(path):
    opened = open_sources(path)
    assert opened.passed_over is not None
    return [source.name for source in opened.sources], list(opened.passed_over.lines())


@pytest.mark.parametrize(
    ("name", "compress"),
    [
        ("a.csv.gz", gzip.compress),
        ("a.CSV.GZ", gzip.compress),
        ("a.csv.bz2", bz2.compress),
        ("a.csv.xz", lzma.compress),
        ("a.csv.zst", zstd.compress),
    ],
)
def test_a_compressed_file_is_read_like_any_other(tmp_path, name, compress):
    path = write(tmp_path, compress(TABLE), name)
    assert read_source(path) == (ROWS, [])
    source = open_source(path)
    assert (source.file.suffix, source.name) == (".csv", name)
    assert source.remarks == (f"{name}: comma-separated, UTF-8, header in line 1",)


@pytest.mark.parametrize("name", ["a.csv", "a", "a.dat"])
def test_compression_is_known_by_content(tmp_path, name):
    source = open_source(write(tmp_path, gzip.compress(TABLE), name))
    assert next(source.batches(Mapping("m", id=("id",)))).rows_read == 2
    assert "compressed by gzip although" in source.remarks[0]


def test_a_name_that_says_compressed_may_lie(tmp_path):
    source = open_source(write(tmp_path, TABLE, "a.csv.gz"))
    assert source.file.suffix == ".csv"
    assert "not compressed although" in source.remarks[0]


def test_a_file_compressed_twice_is_refused(tmp_path):
    path = write(tmp_path, gzip.compress(gzip.compress(TABLE)), "a.csv.gz")
    with pytest.raises(DataError, match="compressed twice"):
        open_source(path)


def test_each_table_of_an_archive_is_a_source(tmp_path):
    path = write_zip(
        tmp_path / "a.zip",
        {
            "b/items.csv": TABLE,
            "more.tsv": TABLE.replace(b",", b"\t"),
            "readme.txt": b"read me",
            "logo.png": b"\x89PNG",
            "__MACOSX/._items.csv": b"x",
            "inner.zip": b"PK\x03\x04",
            "packed.csv.gz": gzip.compress(TABLE),
            "empty.csv": b"",
        },
    )
    names, lines = notes(path)
    assert names == ["a.zip/b/items.csv", "a.zip/more.tsv"]
    said = "\n".join(lines)
    for word in ("readme.txt", "logo.png", "inner.zip", "packed.csv.gz", "empty.csv"):
        assert said.count(word) == 1
    assert "MACOSX" not in said
    source = open_sources(path).sources[0]
    assert source.location == f"{path}/b/items.csv"
    assert [len(batch.lines) for batch in source.batches(Mapping("m", id=("id",)))] == [2]


def test_names_in_archives_are_only_names(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"../../up.csv": TABLE, "/etc/abs.csv": TABLE})
    assert notes(path)[0] == ["a.zip/../../up.csv", "a.zip//etc/abs.csv"]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.zip"]


def test_an_encrypted_archive_is_refused(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"a.csv": TABLE})
    data = bytearray(path.read_bytes())
    data[6] |= 1
    directory = data.index(b"PK\x01\x02")
    data[directory + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match="encrypted"):
        open_source(path)


def test_an_archive_bomb_is_refused_by_its_directory(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "UNCHECKED_BYTES", 1 << 20)
    path = write_zip(tmp_path / "a.zip", {"a.csv": bytes(4 << 20)})
    with pytest.raises(DataError, match="200 times its size"):
        open_source(path)


def test_an_archive_of_too_many_files_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_MEMBERS", 5)
    path = write_zip(tmp_path / "a.zip", {f"{number}.csv": TABLE for number in range(6)})
    with pytest.raises(DataError, match="more than 5 files"):
        open_source(path)


@pytest.mark.parametrize("keep", [10, 40, 150])
def test_an_archive_that_is_cut_off_is_an_error(tmp_path, keep):
    path = write_zip(tmp_path / "a.zip", {"a.csv": os.urandom(500)})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match="cut off") as caught:
        open_source(path)
    assert "\n" not in str(caught.value)


def test_a_damaged_member_is_an_error(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"a.csv": os.urandom(1000)})
    data = bytearray(path.read_bytes())
    data[300] ^= 0xFF
    path.write_bytes(data)
    (member,) = archive_members(SourceFile.of(path))
    with pytest.raises(DataError, match="damaged"):
        member.check()


def test_a_folder_stands_for_every_table_in_it(tmp_path):
    write(tmp_path, TABLE, "items.csv")
    write(tmp_path, b"sku,price\n1,2\n", "prices.csv")
    write(tmp_path, b"query,item,clicks\nx,1,2\n", "queries.csv")
    write(tmp_path, b"item,property,value,kind\n1,c,d,hidden\n", "truth.csv")
    write(tmp_path, b"left,right,label\n1,2,0\n", "pairs.csv")
    write(tmp_path, b"%PDF", "data.pdf")
    write(tmp_path, b"", "none.csv")
    write(tmp_path, b"x", ".hidden.csv")
    (tmp_path / "images").mkdir()
    write(tmp_path / "images", b"x", "1.jpg")
    (tmp_path / "old").mkdir()
    write(tmp_path / "old", TABLE, "items.csv")
    names, lines = notes(tmp_path)
    assert names == ["items.csv", "prices.csv"]
    said = "\n".join(lines)
    tables = ("queries.csv (a query log", "truth.csv (the true values", "pairs.csv (pairs of items")
    for words in (*tables, "data.pdf", "none.csv"):
        assert words in said
    assert "old/ (a folder" in said
    assert "hidden" not in said.replace("hidden values", "")
    assert "images" not in said


def test_a_folder_of_unreadable_tables_says_why(tmp_path):
    write(tmp_path, b"", "none.csv")
    with pytest.raises(DataError, match=r"none\.csv is empty"):
        open_sources(tmp_path)


def test_a_pipe_is_read_once_and_opened_often(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    command = f"open({str(path)!r}, 'wb').write({TABLE!r})"
    with subprocess.Popen([sys.executable, "-c", command]):
        source = open_source(path)
    assert source.location == str(path)
    assert [len(batch.lines) for batch in source.batches(Mapping("m", id=("id",)))] == [2]
    assert open_source(path).file == source.file


@pytest.mark.parametrize(
    "data",
    [TABLE, gzip.compress(TABLE), b'[{"id": 1}, {"id": 2}]'],
    # Not the bytes, which hold the time: two test processes have to collect the same names.
    ids=["table", "packed", "json"],
)
def test_standard_input_is_a_source(tmp_path, data):
    script = (
        "from kg.ingest.source import open_source; from schema.mapping import Mapping; "
        "source = open_source('-'); again = open_source('-'); "
        "rows = sum(b.rows_read for b in again.batches(Mapping('m', id=('id',)))); "
        "print(source.location, rows, source.file.path)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], input=data, capture_output=True, check=True, cwd=ROOT
    )
    *name, rows, path = done.stdout.decode().split()
    assert (" ".join(name), rows) == ("standard input", "2")
    assert not Path(path).exists()


def test_a_kill_leaves_no_copy_of_standard_input(tmp_path):
    script = (
        "import os; from kg.ingest.source import open_source; from kg.ingest import files; "
        "open_source('-'); print(len(os.listdir(os.environ['TMPDIR'])), flush=True); "
        "os.kill(os.getpid(), 9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=TABLE,
        capture_output=True,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert (done.returncode, done.stdout) == (-9, b"0\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "/nowhere/a.csv"])
def test_devices_are_no_files(path):
    with pytest.raises(SourceNotFoundError, match="check the path"):
        open_sources(path)


def test_a_file_that_cannot_be_read_is_one_line(tmp_path, monkeypatch):
    path = write(tmp_path, TABLE)

    def refuse(*_: object) -> io.BytesIO:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(SourceNotFoundError, match="check its permissions"):
        open_sources(path)
