"""What the home keeps of each source that was read."""

from __future__ import annotations

import gzip
import hashlib
import json
import zipfile
from pathlib import Path

import pytest

from kg.home import Home
from kg.ingest.files import SourceFile
from kg.ingest.pipeline import ingest
from kg.sources import (
    CONTENT,
    KEPT_RUNS,
    READING,
    KeptFile,
    KeptSource,
    KeptSources,
    SourceCopy,
)
from kg.stores.memory import MemoryStore
from schema.errors import DataError

TABLE = "id,title,colour\n" + "".join(f"{n},Mug {n},red\n" for n in range(3000))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    store = MemoryStore()
    monkeypatch.setattr(Home, "store", lambda self, read_only=False: store)
    return Home.open(tmp_path / "home", create=True)


def write(folder: Path, text: str | bytes, name: str = "items.csv") -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def kept(home: Home, source: str = "items.csv") -> KeptSource:
    """Return the only file of a source's newest run."""
    (found,) = KeptSources(home.sources).newest()[source]
    return found


def content(one: KeptSource) -> bytes:
    with one.file.open() as stream:
        return stream.read()


def test_the_bytes_the_mapping_and_the_dialect_are_kept(home: Home, tmp_path: Path) -> None:
    data = TABLE.replace(",", ";").encode("cp1252")
    report = ingest(home, [write(tmp_path, data)])
    one = kept(home)
    one.check()
    assert content(one) == data
    assert (one.run, one.size) == (report.run, len(data))
    assert one.sha256 == hashlib.sha256(data).hexdigest()
    assert one.location == str(tmp_path / "items.csv")
    assert one.reading["dialect"]["delimiter"] == ";"
    assert one.reading["columns"] == ["id", "title", "colour"]
    assert one.load_mapping().id == ("id",)
    assert {path.name for path in one.folder.iterdir()} == {
        "content.zst",
        "mapping.toml",
        "reading.json",
        "rows.arrow",
        "manifest.json",
    }


def test_packed_files_and_members_are_kept_as_they_are_read(home: Home, tmp_path: Path) -> None:
    write(tmp_path, gzip.compress(TABLE.encode()), "items.csv.gz")
    with zipfile.ZipFile(tmp_path / "feed.zip", "w") as archive:
        archive.writestr("a.csv", TABLE)
        archive.writestr("b.csv", TABLE.replace("red", "blue"))
    ingest(home, [tmp_path / "items.csv.gz", tmp_path / "feed.zip"])
    assert content(kept(home, "items.csv.gz")) == TABLE.encode()
    assert content(kept(home, "feed.zip/b.csv")) == TABLE.replace("red", "blue").encode()
    assert kept(home, "items.csv.gz").file.suffix == ".csv"


def test_two_files_of_one_source_are_both_kept(home: Home, tmp_path: Path) -> None:
    first = write(tmp_path / "a", TABLE)
    second = write(tmp_path / "b", TABLE.replace("Mug", "Cup"))
    ingest(home, [first, second])
    files = KeptSources(home.sources).newest()["items.csv"]
    assert [each.location for each in files] == [str(first), str(second)]
    assert [each.number for each in files] == [1, 2]


def test_any_name_of_a_source_is_a_safe_folder(home: Home, tmp_path: Path) -> None:
    names = ["ü:b er?.csv", "ü;b er?.csv", "x" * 200 + ".csv", "...csv"]
    for name in names:
        ingest(home, [write(tmp_path, TABLE, name)])
    assert set(KeptSources(home.sources).newest()) == set(names)
    assert all(path.name.isascii() and len(path.name) < 100 for path in home.sources.iterdir())


def test_the_newest_runs_are_kept_and_undone_ones_are_passed_over(
    home: Home, tmp_path: Path
) -> None:
    runs = []
    for number in range(KEPT_RUNS + 2):
        runs.append(ingest(home, [write(tmp_path, TABLE + f"x{number},Jug,\n")]).run)
    sources = KeptSources(home.sources)
    assert sorted(each.run for each in sources.all()) == sorted(runs[-KEPT_RUNS:])
    assert kept(home).run == runs[-1]
    (older,) = sources.newest(undone=runs[-1:])["items.csv"]
    assert older.run == runs[-2]


def test_a_run_of_which_a_file_is_missing_is_passed_over(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def files(words: str) -> list[Path]:
        return [write(tmp_path / name, TABLE + f"{name},{words},\n") for name in ("a", "b")]

    first = ingest(home, files("Jug")).run
    sources = KeptSources(home.sources)
    keep = KeptSources.keep
    for _ in range(KEPT_RUNS + 1):
        calls: list[int] = []

        def fail(self: KeptSources, *arguments: object, calls: list[int] = calls) -> None:
            calls.append(1)
            if len(calls) == 2:
                raise KeyboardInterrupt
            keep(self, *arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(KeptSources, "keep", fail)
        with pytest.raises(KeyboardInterrupt):
            ingest(home, files("Can"))
        assert {each.run for each in sources.newest()["items.csv"]} == {first}
    # Those that were not complete do not pile up.
    assert len(sources.all()) == 3
    monkeypatch.setattr(KeptSources, "keep", keep)
    last = ingest(home, files("Pot")).run
    assert [each.run for each in sources.newest()["items.csv"]] == [last, last]
    assert {each.run for each in sources.all()} == {first, last}


def test_files_that_an_earlier_version_has_kept_are_complete(home: Home, tmp_path: Path) -> None:
    ingest(home, [write(tmp_path, TABLE)])
    path = kept(home).folder / READING
    document = json.loads(path.read_text())
    assert document.pop("files") == 1
    path.write_text(json.dumps(document))
    assert kept(home).files == 0


def test_a_copy_that_a_killed_process_was_writing_is_removed(home: Home, tmp_path: Path) -> None:
    left = home.sources / ".writing.abcd_123"
    left.mkdir(parents=True)
    (left / CONTENT).touch()
    beside = KeptSources(home.sources).begin()
    ingest(home, [write(tmp_path, TABLE)])
    assert not left.exists()
    assert beside.folder.exists()
    beside.discard()
    assert len(list(home.sources.iterdir())) == 1


def test_a_file_that_has_not_changed_takes_no_room_twice(home: Home, tmp_path: Path) -> None:
    path = write(tmp_path, TABLE)
    ingest(home, [path])
    ingest(home, [path])
    one, other = KeptSources(home.sources).all()
    assert (one.folder / CONTENT).stat().st_ino == (other.folder / CONTENT).stat().st_ino
    one.check()
    other.check()


def test_the_file_is_read_once_as_a_whole(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, TABLE)
    finished = []
    original = SourceCopy.finish

    def finish(self: SourceCopy, file: object) -> None:
        finished.append((self.size, self._is_complete))
        original(self, file)  # type: ignore[arg-type]

    monkeypatch.setattr(SourceCopy, "finish", finish)
    ingest(home, [path])
    assert finished == [(path.stat().st_size, True)]


def test_a_dry_run_and_a_failed_one_keep_nothing(home: Home, tmp_path: Path) -> None:
    ingest(home, [write(tmp_path, TABLE)], dry_run=True)
    assert not home.sources.exists()
    bad = write(tmp_path, '[{"id": 1, "title": "a", "b": "c"}, {"id": 2,', "items.json")
    with pytest.raises(DataError):
        ingest(home, [bad])
    assert list(home.sources.iterdir()) == []


def test_damage_is_found(home: Home, tmp_path: Path) -> None:
    ingest(home, [write(tmp_path, TABLE)])
    one = kept(home)
    path = one.folder / CONTENT
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"damaged.*--template"):
        one.check()
    assert len(KeptSources(home.sources).problems()) == 1


def test_a_folder_without_a_reading_is_passed_over(home: Home, tmp_path: Path) -> None:
    ingest(home, [write(tmp_path, TABLE)])
    (kept(home).folder / READING).write_text(json.dumps({"source": "x"}))
    assert KeptSources(home.sources).newest() == {}


def test_a_disk_that_is_full_costs_the_copy_and_not_the_ingest(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: SourceCopy, data: bytes) -> None:
        self.failure = OSError(28, "No space left on device")

    monkeypatch.setattr(SourceCopy, "_write", fail)
    report = ingest(home, [write(tmp_path, TABLE)])
    assert report.items == 3000
    assert any("not kept in the home (No space left" in note for note in report.notes)
    assert list(home.sources.iterdir()) == []


def test_what_compresses_well_is_no_bomb(tmp_path: Path) -> None:
    block = b"1,Mug,red\n" * 100_000
    copy = KeptSources(tmp_path).begin()
    for number in range(300):
        copy.record(number * len(block), block)
    copy.record(300 * len(block), b"")
    path = copy.folder / CONTENT
    copy.finish(SourceFile.of(path))
    with KeptFile(path, None, "items.csv", ".csv").open() as stream:
        size = sum(map(len, iter(lambda: stream.read(1 << 20), b"")))
    assert size == 300 * len(block)
