"""Folders of arrays that are mapped into memory."""

import json
import os
import pickle
import signal
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kg.mapped_arrays import (
    MANIFEST,
    ArrayWriter,
    FolderWriter,
    MappedTexts,
    numbers_of,
    open_folder,
    open_or_write,
    remove_unused,
)
from kg.sampling.memmap import pickle_memmaps_by_path


def numbers(writer):
    """Write an array of ten numbers, in two parts, and an empty one."""
    array = writer.array("numbers", "<i4")
    array.append(np.arange(4))
    array.append(np.arange(4, 10))
    writer.array("nothing", "<i8")


def forbidden(writer):
    raise AssertionError("it is there, and not to be written again")


def test_what_was_written_is_mapped_and_not_written_again(tmp_path):
    folder = open_or_write(tmp_path / "a", numbers)
    assert folder["numbers"].tolist() == list(range(10))
    assert isinstance(folder["numbers"], np.memmap)
    assert folder["nothing"].tolist() == []
    again = open_or_write(tmp_path / "a", forbidden)
    assert again["numbers"].dtype == np.int32


@pytest.mark.parametrize("damage", ["bit", "cut", "missing", "manifest", "type", "link"])
def test_a_damaged_folder_is_written_again(tmp_path, damage):
    place = tmp_path / "a"
    open_or_write(place, numbers)
    path = place / "numbers"
    if damage == "bit":
        content = bytearray(path.read_bytes())
        content[17] ^= 4
        path.write_bytes(content)
    elif damage == "cut":
        os.truncate(path, 36)
    elif damage == "missing":
        path.unlink()
    elif damage == "manifest":
        os.truncate(place / MANIFEST, 20)
    elif damage == "type":
        manifest = json.loads((place / MANIFEST).read_text())
        manifest["arrays"]["numbers"]["type"] = "O"
        (place / MANIFEST).write_text(json.dumps(manifest))
    else:
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    assert open_folder(place) is None
    assert open_or_write(place, numbers)["numbers"].tolist() == list(range(10))
    assert open_folder(place) is not None


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from kg.mapped_arrays import open_or_write

def write(writer):
    writer.array("numbers", "<i4").append(np.arange(100_000))
    os.kill(os.getpid(), signal.SIGKILL)

open_or_write(Path(sys.argv[1]) / "a", write)
"""


def test_a_process_that_is_killed_while_it_writes_leaves_nothing_that_counts(tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    left = list(tmp_path.iterdir())
    assert len(left) == 1
    assert open_folder(tmp_path / "a") is None
    open_or_write(tmp_path / "a", numbers)
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


def test_a_failure_leaves_nothing(tmp_path):
    def fail(writer):
        numbers(writer)
        raise KeyError

    with pytest.raises(KeyError):
        open_or_write(tmp_path / "a", fail)
    assert not list(tmp_path.iterdir())


def test_only_folders_that_nobody_has_open_are_removed(tmp_path):
    kept = open_or_write(tmp_path / "kept", numbers)
    open_or_write(tmp_path / "gone", numbers)
    remove_unused([tmp_path / "kept", tmp_path / "gone", tmp_path / "never"])
    assert list(tmp_path.iterdir()) == [kept.folder]
    del kept
    remove_unused([tmp_path / "kept"])
    assert not list(tmp_path.iterdir())


def test_a_folder_that_another_process_wrote_meanwhile_stays(tmp_path):
    with FolderWriter(tmp_path / "a") as writer:
        numbers(writer)
        other = open_or_write(tmp_path / "a", numbers)
        inode = (tmp_path / "a").stat().st_ino
        writer.publish()
    assert (tmp_path / "a").stat().st_ino == inode
    assert other["numbers"].tolist() == list(range(10))


def test_a_number_that_does_not_fit_is_refused(tmp_path):
    writer = ArrayWriter(tmp_path / "numbers", "<i4")
    with pytest.raises(OverflowError, match="2,147,483,648"):
        writer.append(np.array([0, 1 << 31]))
    writer.close()


def texts_of(folder, texts):
    """Write texts as one column of Arrow and as a list, and map them."""

    def write(writer):
        column = writer.texts("column")
        # A slice of a column begins in the middle of its bytes.
        column.append(pa.array(["before", *texts], pa.string())[1:])
        writer.texts("list").append([text or "" for text in texts])

    opened = open_or_write(folder, write)
    return opened.texts("column"), opened.texts("list")


@settings(deadline=None, max_examples=15)
@given(texts=st.lists(st.none() | st.text(st.characters(exclude_categories=["Cs"]))))
def test_texts_are_read_as_they_were(tmp_path_factory, texts):
    column, listed = texts_of(tmp_path_factory.mktemp("texts") / "t", texts)
    expected = [text or "" for text in texts]
    for mapped in (column, listed):
        assert list(mapped) == expected
        assert mapped[1:3] == expected[1:3]
        assert [mapped[number] for number in range(len(mapped))] == expected
        with pytest.raises(IndexError):
            mapped[len(expected)]


def test_texts_that_ascend_are_searched(tmp_path):
    column, _ = texts_of(tmp_path / "t", ["B", "a", "ä", "東"])
    assert numbers_of(column, {"ä", "B", "c", "東", ""}) == {"B": 0, "ä": 2, "東": 3}
    assert numbers_of(["x", "B"], {"B", "c"}) == {"B": 1}


def test_another_process_gets_paths_and_not_content(tmp_path, monkeypatch):
    pickle_memmaps_by_path()
    texts, _ = texts_of(tmp_path / "t", ["word"] * 5000)
    sent = pickle.dumps(texts)
    assert len(sent) < 1000
    received = pickle.loads(sent)
    assert isinstance(received, MappedTexts)
    assert received[4999] == "word"
