"""A folder in memory for what tests write."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

MEMORY = Path("/dev/shm")
PREFIX = "pytest-mem-"
"""Short, since the sockets of a Ray cluster, whose paths have at most 107 bytes, are below it."""
ROOM = 4 << 30
"""Bytes that must be free: the whole suite writes about 2 GiB."""


def has_room(memory: Path = MEMORY) -> bool:
    """Return whether there is a file system in memory with room for what all tests write."""
    if not os.access(memory, os.W_OK):
        return False
    available = 0
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                available = int(line.split()[1]) << 10
    return min(shutil.disk_usage(memory).free, available // 2) >= ROOM


class Folder:
    """A new folder in memory, which is locked as long as this process runs.

    What runs left that have ended is removed first.
    """

    def __init__(self, memory: Path = MEMORY) -> None:
        for other in memory.glob(f"{PREFIX}*"):
            with contextlib.suppress(OSError):
                os.close(_locked(other))
                shutil.rmtree(other)
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=memory))
        # PostgreSQL, which does not run as root, has to get to its folder.
        self.path.chmod(0o711)
        self._lock = _locked(self.path)

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def _locked(folder: Path) -> int:
    """Lock a folder; raises OSError if another process has."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise
    return handle
