"""The folder in memory that tests write to: it goes with the run, or with the next one."""

import subprocess
import sys
from pathlib import Path

from tests.in_memory import Folder, has_room

ENDED = """
import sys
from pathlib import Path
from tests.in_memory import Folder
print(Folder(Path(sys.argv[1])).path)
"""


def test_a_folder_is_removed_and_those_of_runs_that_have_ended(tmp_path):
    printed = subprocess.run(
        [sys.executable, "-c", ENDED, tmp_path],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
    ).stdout
    left = Path(printed.strip())
    assert left.is_dir()
    other = tmp_path / "other"
    other.mkdir()
    running = Folder(tmp_path)
    assert not left.exists()
    second = Folder(tmp_path)
    assert running.path.is_dir()
    for each in (running, second):
        each.remove()
    assert list(tmp_path.iterdir()) == [other]


def test_a_folder_that_cannot_be_written_has_no_room(tmp_path):
    assert not has_room(tmp_path / "none")
