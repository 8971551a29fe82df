"""Files that others name: which are opened, and what is opened when they are replaced meanwhile."""

import os
import socket
from pathlib import Path

import pytest

from schema.errors import FileRefusedError
from schema.opening import open_below, read_below, read_own

LIMIT = 1000


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "a").write_bytes(b"content")
    (tmp_path / "secret").write_bytes(b"secret")
    return folder


def read(folder, name, limit=LIMIT):
    return read_below(folder, name, limit)


def test_a_file_below_the_folder_is_read(folder):
    assert read(folder, "deep/a") == b"content"


def test_the_folder_itself_may_be_reached_through_a_link(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    assert read(tmp_path / "link", "deep/a") == b"content"


def test_a_hard_link_is_a_name_like_any_other(folder):
    os.link(folder.parent / "secret", folder / "hard")
    assert read(folder, "hard") == b"secret"


@pytest.mark.parametrize("name", ["b", "deep/b", "none/a", "deep/a/b"])
def test_a_missing_file_is_not_found(folder, name):
    with pytest.raises(FileNotFoundError):
        open_below(folder, name)


@pytest.mark.parametrize(
    "name",
    ["../secret", "deep/../../secret", "/etc/passwd", "", ".", "deep//a", "./deep/a", "a\0b"],
)
def test_a_name_that_leaves_the_folder_is_refused(folder, name):
    with pytest.raises(FileRefusedError, match="leaves its folder"):
        open_below(folder, name)


@pytest.mark.parametrize("name", ["x" * 300, "\ud800", "\ud800/a"])
def test_a_name_that_no_file_can_have_is_refused(folder, name):
    with pytest.raises(FileRefusedError, match="cannot be opened"):
        open_below(folder, name)


def test_links_are_refused_wherever_they_are(folder):
    (folder / "file").symlink_to(folder.parent / "secret")
    (folder / "inside").symlink_to(folder / "deep" / "a")
    (folder / "nowhere").symlink_to(folder / "none")
    (folder / "linked").symlink_to(folder / "deep")
    (folder / "deep" / "up").symlink_to("..")
    for name in ("file", "inside", "nowhere", "linked/a", "deep/up/deep/a"):
        with pytest.raises(FileRefusedError, match="symbolic link"):
            open_below(folder, name)


def test_what_is_no_regular_file_is_refused_and_not_waited_for(folder, monkeypatch):
    os.mkfifo(folder / "pipe")
    # The name of a socket has at most 107 bytes.
    monkeypatch.chdir(folder)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        for name in ("pipe", "socket"):
            with pytest.raises(FileRefusedError, match="not a regular file"):
                open_below(folder, name)
    with pytest.raises(FileRefusedError, match="is a folder"):
        open_below(folder, "deep")
    for name in ("null", "zero", "tty"):
        with pytest.raises(FileRefusedError, match="not a regular file"):
            open_below("/dev", name)


def test_a_file_of_proc_is_empty_however_much_it_says(folder):
    assert read("/proc", "cpuinfo") == b""


def test_a_file_that_is_too_large_is_refused(folder):
    assert read(folder, "deep/a", limit=7) == b"content"
    with pytest.raises(FileRefusedError, match="has 7 bytes: the limit is 6"):
        read(folder, "deep/a", limit=6)
    with (folder / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(FileRefusedError, match=r"the limit is 1,000"):
        read(folder, "sparse")


def test_a_file_that_may_not_be_read_is_refused(folder, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(FileRefusedError, match="Permission denied"):
        open_below(folder, "deep/a")


def test_an_own_file_may_be_a_link_but_no_pipe(folder):
    (folder / "link").symlink_to(folder.parent / "secret")
    assert read_own(folder / "link", LIMIT) == b"secret"
    os.mkfifo(folder / "pipe")
    with pytest.raises(FileRefusedError, match="not a regular file"):
        read_own(folder / "pipe", LIMIT)
    with pytest.raises(FileNotFoundError):
        read_own(folder / "none", LIMIT)


def test_no_descriptor_is_left_open(folder):
    (folder / "linked").symlink_to(folder / "deep")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for name in ("deep/a", "deep", "none", "linked/a", "../x", "x" * 300):
        with pytest.raises((FileRefusedError, FileNotFoundError)):
            read(folder, name, limit=3)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.fixture
def before_opening(monkeypatch):
    """Call something just before the file, or the folder, of a name is opened."""
    original = os.open

    def set_up(name, change):
        def open_after_change(path, *args, **kwargs):
            if path == name:
                change()
            return original(path, *args, **kwargs)

        monkeypatch.setattr(os, "open", open_after_change)

    return set_up


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_a_file_that_is_replaced_before_it_is_opened_is_refused(folder, before_opening, kind):
    def replace():
        (folder / "deep" / "a").unlink()
        if kind == "pipe":
            os.mkfifo(folder / "deep" / "a")
        else:
            (folder / "deep" / "a").symlink_to(folder.parent / "secret")

    before_opening("a", replace)
    with pytest.raises(FileRefusedError, match="link" if kind == "link" else "not a regular file"):
        open_below(folder, "deep/a")


def test_a_folder_that_becomes_a_link_is_refused_or_was_open_already(folder, before_opening):
    (folder.parent / "a").write_bytes(b"secret")

    def replace():
        if not (folder / "kept").exists():
            (folder / "deep").rename(folder / "kept")
            (folder / "deep").symlink_to(folder.parent)

    before_opening("a", replace)
    assert read(folder, "deep/a") == b"content"
    before_opening("deep", replace)
    with pytest.raises(FileRefusedError, match="symbolic link"):
        read(folder, "deep/a")


def test_a_file_that_grows_while_it_is_read_is_refused(folder, monkeypatch):
    original = os.read

    def read_after_growth(*args):
        with (folder / "deep" / "a").open("ab") as file:
            file.write(b"more")
        return original(*args)

    monkeypatch.setattr(os, "read", read_after_growth)
    with pytest.raises(FileRefusedError, match="grows"):
        read(folder, "deep/a")
