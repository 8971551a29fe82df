"""Publishing a graph, copying it, setting it aside, and what killed writers leave."""

import errno
import fcntl
import os

import pytest

from kg.stores import graph_files, room
from kg.stores.graph_files import LadybugFiles, OxigraphFiles, copy_file, hold
from schema.errors import StoreUnavailableError


@pytest.fixture
def ladybug(tmp_path):
    (tmp_path / "graph.lbug").write_text("old")
    return LadybugFiles(tmp_path, "graph.lbug")


@pytest.fixture
def oxigraph(tmp_path):
    folder = tmp_path / "graph.oxigraph"
    folder.mkdir()
    for name in ("CURRENT", "MANIFEST-1", "LOCK", "LOG", "7.sst"):
        (folder / name).write_text(f"old {name}")
    return OxigraphFiles(tmp_path, "graph.oxigraph")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_published_file_is_replaced_as_a_whole(ladybug):
    copy = ladybug.copy_to_work_on()
    assert copy.read_text() == "old"
    copy.write_text("new")
    with ladybug.published().open() as reader:
        assert ladybug.publish(copy).read_text() == "new"
        assert reader.read() == "old"
    assert names(ladybug.folder) == ["graph.lbug"]


def test_a_published_folder_gets_the_next_number(oxigraph):
    copy = oxigraph.copy_to_work_on()
    assert names(copy) == ["7.sst", "CURRENT", "MANIFEST-1"]
    assert (copy / "7.sst").samefile(oxigraph.published() / "7.sst")
    assert not (copy / "CURRENT").samefile(oxigraph.published() / "CURRENT")
    assert oxigraph.publish(copy).name == "graph.oxigraph.1"
    # Numbers are compared as numbers.
    oxigraph.published().rename(oxigraph.folder / "graph.oxigraph.9")
    assert oxigraph.publish(oxigraph.copy_to_work_on()).name == "graph.oxigraph.10"
    assert oxigraph.published().name == "graph.oxigraph.10"


def test_an_earlier_folder_stays_as_long_as_it_is_read(oxigraph):
    handle = hold(oxigraph.published())
    oxigraph.publish(oxigraph.copy_to_work_on())
    oxigraph.remove_leftovers()
    assert names(oxigraph.folder) == ["graph.oxigraph", "graph.oxigraph.1"]
    os.close(handle)
    oxigraph.remove_leftovers()
    assert names(oxigraph.folder) == ["graph.oxigraph.1"]


def test_a_folder_that_was_removed_meanwhile_is_not_held(oxigraph, monkeypatch):
    published = oxigraph.published()
    really_lock = fcntl.flock

    def remove_first(handle, mode):
        (published / "CURRENT").unlink()
        really_lock(handle, mode)

    monkeypatch.setattr(fcntl, "flock", remove_first)
    with pytest.raises(FileNotFoundError):
        hold(published)


@pytest.mark.parametrize("kind", ["ladybug", "oxigraph"])
def test_leftovers_are_removed_and_nothing_else(kind, request):
    files = request.getfixturevalue(kind)
    before = names(files.folder)
    files.copy_to_work_on()
    (files.folder / f"{files.working.name}.wal").touch()
    (files.folder / f"{files.name}.damaged-20260101T000000").touch()
    files.finished.touch()
    files.remove_leftovers()
    assert names(files.folder) == sorted([*before, f"{files.name}.damaged-20260101T000000"])


@pytest.mark.parametrize("kind", ["ladybug", "oxigraph"])
def test_several_graphs_can_be_set_aside_in_one_second(kind, request):
    files = request.getfixturevalue(kind)
    asides = []
    for _ in range(3):
        path = files.publish(files.copy_to_work_on())
        asides.append(files.set_aside(path))
        if kind == "ladybug":
            path.touch()
    assert len(set(asides)) == 3
    assert all(aside.exists() for aside in asides)


def test_the_log_of_a_damaged_graph_is_kept_beside_it(ladybug):
    (ladybug.folder / "graph.lbug.wal").write_text("log")
    aside = ladybug.set_aside(ladybug.published())
    assert names(ladybug.folder) == [aside.name, f"{aside.name}.wal"]


def test_a_copy_that_fails_leaves_nothing(ladybug, monkeypatch):
    def fail(source, target):
        target.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(graph_files, "copy_file", fail)
    with pytest.raises(StoreUnavailableError, match="No space left"):
        ladybug.copy_to_work_on()
    assert names(ladybug.folder) == ["graph.lbug"]


def test_room_is_checked_before_a_copy(ladybug, monkeypatch):
    monkeypatch.setattr(room, "free_bytes", lambda folder: 0)
    monkeypatch.setattr(graph_files, "FICLONE", 0)
    with pytest.raises(StoreUnavailableError, match="0 bytes are free"):
        ladybug.copy_to_work_on()
    assert names(ladybug.folder) == ["graph.lbug"]


@pytest.mark.parametrize("refusal", [None, errno.EXDEV, errno.ENOSYS])
def test_every_way_of_copying_gives_the_same_file(tmp_path, monkeypatch, refusal):
    content = os.urandom(100_000)
    (tmp_path / "source").write_bytes(content)
    if refusal is not None:

        def refuse(*_):
            raise OSError(refusal, os.strerror(refusal))

        monkeypatch.setattr(os, "copy_file_range", refuse)
    copy_file(tmp_path / "source", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == content


def test_files_are_copied_where_there_are_no_links(oxigraph, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    copy = oxigraph.copy_to_work_on()
    assert (copy / "7.sst").read_text() == "old 7.sst"
    assert not (copy / "7.sst").samefile(oxigraph.published() / "7.sst")
