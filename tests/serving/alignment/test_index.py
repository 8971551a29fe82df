"""What a home keeps for alignment: as if made anew after any changes, kills and damage."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kg.home import Home
from schema.errors import UsageError
from serving.alignment import index
from serving.alignment.counts import CountedRecords
from serving.alignment.index import (
    ALIGNED,
    COUNTS,
    FOLDER,
    counts_of_home,
    read_last_alignment,
    remember_alignment,
)
from serving.alignment.records import Record
from tests.serving.alignment.made_pairs import made_records
from tests.serving.alignment.test_counts import assert_same, without_unused

ROOT = Path(__file__).parents[3]
KILLED = """
import os, signal, sys
import numpy as np
from pathlib import Path
from kg.home import Home
from serving.alignment.index import counts_of_home
from serving.alignment.records import Record

def cut(stream, array, **options):
    stream.write(b"half")
    os.kill(os.getpid(), signal.SIGKILL)

np.lib.format.write_array = cut
counts_of_home(Home.open(Path(sys.argv[1])), [Record("new", "another lamp")])
"""
TITLES = st.sampled_from(["a red kettle", "kettle x-100", "blue lamp", "lamp 12.5", ""])
CHANGES = st.lists(
    st.dictionaries(st.sampled_from("abcde"), st.none() | TITLES, max_size=4),
    min_size=1,
    max_size=4,
)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.open(tmp_path / "home", create=True)


@pytest.fixture
def records() -> list[Record]:
    return made_records(20)[0]


def stored(home: Home) -> bytes:
    return (home.path / FOLDER / COUNTS).read_bytes()


@settings(deadline=None, max_examples=25)
@given(CHANGES)
def test_after_any_changes_it_is_as_made_anew(changes: list[dict[str, str | None]]) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "CHANGED_SHARE", 0)
        home = Home.open(Path(folder) / "home", create=True)
        titles: dict[str, str] = {}
        for change in changes:
            for id, title in change.items():
                titles.pop(id, None)
                if title is not None:
                    titles[id] = title
            records = [Record(id, title) for id, title in sorted(titles.items())]
            found = counts_of_home(home, records)
            assert not found.note
            assert_same(without_unused(found.counted), CountedRecords.of(records))
        anew = Home.open(Path(folder) / "anew", create=True)
        counts_of_home(anew, records)
        with (
            np.load(home.path / FOLDER / COUNTS) as ours,
            np.load(anew.path / FOLDER / COUNTS) as theirs,
        ):
            assert ours.files == theirs.files
            assert all(np.array_equal(ours[name], theirs[name]) for name in ours.files)


def test_only_what_is_new_is_counted_and_little_of_it_is_not_stored(
    home: Home, records: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert counts_of_home(home, records).new == 20
    assert counts_of_home(home, records).new == 0
    before = stored(home)
    changed = [replace(records[0], title="a changed kettle"), *records[1:]]
    monkeypatch.setattr(index, "CHANGED_SHARE", 0.1)
    assert counts_of_home(home, changed).new == 1
    assert stored(home) == before
    # One is new, one is gone and two have changed: 5 of 19 differ from what is stored.
    changed[1] = replace(records[1], title="another changed kettle")
    assert counts_of_home(home, changed[:19]).new == 2
    assert stored(home) != before
    assert counts_of_home(home, changed[:19]).new == 0


def test_a_kill_leaves_what_was_there(home: Home, records: list[Record]) -> None:
    counts_of_home(home, records)
    before = stored(home)
    done = subprocess.run([sys.executable, "-c", KILLED, str(home.path)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert stored(home) == before
    assert counts_of_home(home, records).new == 0
    # What the killed one has left goes with the next one that stores.
    assert counts_of_home(home, records[:10]).new == 0
    assert [path.name for path in (home.path / FOLDER).iterdir()] == [COUNTS]


def test_damage_is_noticed_and_mended(home: Home, records: list[Record]) -> None:
    expected = without_unused(counts_of_home(home, records).counted)
    whole = stored(home)
    path = home.path / FOLDER / COUNTS
    noticed = 0
    for place in range(0, len(whole), len(whole) // 60):
        damaged = bytearray(whole)
        damaged[place] ^= 0x14
        path.write_bytes(damaged)
        found = counts_of_home(home, records)
        assert_same(without_unused(found.counted), expected)
        noticed += "damaged" in found.note
    assert noticed > 40
    path.write_bytes(whole[: len(whole) // 2])
    assert "is made anew" in counts_of_home(home, records).note
    assert counts_of_home(home, records).note == ""


def test_another_version_counts_anew(
    home: Home, records: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    counts_of_home(home, records)
    monkeypatch.setattr(index, "FORMAT", 99)
    found = counts_of_home(home, records)
    assert (found.new, "another version" in found.note) == (20, True)


def test_a_home_that_cannot_be_written_is_no_obstacle(home: Home, records: list[Record]) -> None:
    (home.path / FOLDER).write_text("in the way")
    for _ in range(2):
        found = counts_of_home(home, records)
        assert found.new == 20
        assert "cannot be written" in found.note
    assert "cannot be written" in remember_alignment(home, records, "m")


def test_what_is_new_since_the_last_alignment(home: Home, records: list[Record]) -> None:
    with pytest.raises(UsageError, match="never aligned as a whole"):
        read_last_alignment(home)
    assert remember_alignment(home, records, "first") == ""
    last = read_last_alignment(home)
    assert last.model == "first"
    now = [*records[1:], replace(records[0], title="changed"), Record("new", "a lamp")]
    assert last.new(now).tolist() == [False] * 19 + [True] * 2
    path = home.path / FOLDER / ALIGNED
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UsageError, match=r"damaged.*without --new"):
        read_last_alignment(home)
