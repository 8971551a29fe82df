"""Files are written completely or not at all, and nothing is left of what was killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from schema.files import WorkingFolder, atomic_file, atomic_folder

ROOT = Path(__file__).parents[2]
KILLED = """
import os, signal, sys
from pathlib import Path
from schema.files import atomic_file
with atomic_file(Path(sys.argv[1])) as path:
    path.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_files_of_a_folder_appear_together_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("old")
    with pytest.raises(OSError, match="disk"), atomic_folder(tmp_path) as folder:
        _fail_after_writing(folder / "one")
    assert [path.name for path in tmp_path.iterdir()] == ["one"]
    assert (tmp_path / "one").read_text() == "old"
    with atomic_folder(tmp_path) as folder:
        (folder / "one").write_text("new")
        (folder / "two").write_text("new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


def _fail_after_writing(path: Path) -> None:
    path.write_text("new")
    raise OSError("the disk is full")


def test_what_a_killed_process_leaves_is_removed_by_the_next(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for _ in range(3):
        words = [sys.executable, "-c", KILLED, str(out)]
        done = subprocess.run(words, cwd=ROOT, check=False)
        assert done.returncode == -signal.SIGKILL
        assert len(list(tmp_path.iterdir())) == 1
    with atomic_file(out) as path:
        path.write_text("whole")
    assert list(tmp_path.iterdir()) == [out]


def test_folders_that_others_write_into_and_those_of_users_stay(tmp_path: Path) -> None:
    own = tmp_path / ".writing.a-folder-of-mine"
    own.mkdir()
    with WorkingFolder(tmp_path) as one, WorkingFolder(tmp_path) as other:
        assert one.path.exists()
        assert other.path.exists()
    assert list(tmp_path.iterdir()) == [own]


def test_a_link_is_not_followed_to_what_it_leads_to(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").touch()
    (tmp_path / ".writing.abcdefgh").symlink_to(precious)
    with WorkingFolder(tmp_path):
        pass
    assert (precious / "file").exists()
