"""Homes of an earlier version of Catalograph, made by the code of that version.

The version is the last one whose stores knew neither sources nor references: the first command that
writes has to bring its journal and its graph up to date.
"""

from __future__ import annotations

import functools
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
VERSION = "f46b1f9"
"""The commit of that version."""
CODE = (
    "cli.py",
    "commands",
    "encoders",
    "evaluation",
    "fusion",
    "kg",
    "schema",
    "serving",
    "training",
)


def why_no_former() -> str:
    """Return why that version cannot be run here; empty if it can."""
    words = ["git", "cat-file", "-e", f"{VERSION}^{{commit}}"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, check=False)
    return f"this clone has no commit {VERSION}" if done.returncode else ""


def call_former(*arguments: object, home: Path) -> None:
    """Run a command of that version on a home. Raises RuntimeError if it fails."""
    words = [sys.executable, "cli.py", "--home", str(home), *map(str, arguments)]
    done = subprocess.run(words, cwd=_code().name, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{arguments[0]} of version {VERSION} fails: {done.stderr[-300:]}")


@functools.cache
def _code() -> tempfile.TemporaryDirectory[str]:
    """Return a folder with the code of that version, which goes when this process ends."""
    folder = tempfile.TemporaryDirectory(prefix="former-")
    archive = Path(folder.name) / "code.tar"
    words = ["git", "archive", "-o", str(archive), VERSION, *CODE]
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True)
    with tarfile.open(archive) as file:
        file.extractall(folder.name, filter="data")
    return folder
