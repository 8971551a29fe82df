"""One writer or many readers of a store folder, across processes."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from schema.errors import StoreLockedError


class StoreLock:
    """An advisory lock on a file; the writer leaves its PID there, so that others can say who has it."""

    def __init__(self, path: Path, shared: bool) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a+")
        try:
            fcntl.flock(self._file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
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
        """Let others in."""
        self._file.close()
