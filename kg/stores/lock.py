"""One writer or many readers of a store's folder, across processes.

Two processes that both have a Ladybug database open for writing lose rows without an error, so the
store keeps a lock of its own and does not rely on the database's.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from schema.errors import StoreLockedError


class StoreLock:
    """An advisory lock on a file; a writer leaves its PID in it for the others' error message."""

    def __init__(self, path: Path, shared: bool) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not "w+", which would clear the PID of the owner before we know whether there is one.
        self._file = path.open("a+")
        mode = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            # flock's locks belong to the open file, and so keep out a second store in this process,
            # too. Those of lockf belong to the process.
            fcntl.flock(self._file, mode | fcntl.LOCK_NB)
        except OSError:
            self._file.seek(0)
            owner = self._file.read().strip() or "unknown"
            self._file.close()
            raise StoreLockedError(
                f"{path.parent} is in use by process {owner}: wait for it to end, or stop it"
            ) from None
        if not shared:
            self._file.truncate(0)
            self._file.write(str(os.getpid()))
            self._file.flush()

    def release(self) -> None:
        """Release the lock."""
        # The kernel drops the lock with the file, so a killed process leaves none behind.
        self._file.close()
