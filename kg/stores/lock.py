"""One writer at a time of a store's folder, across processes; readers need no lock.

Two processes that both have a Ladybug database open for writing lose rows without an error, so the
store keeps a lock of its own and does not rely on the database's.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
import warnings
from contextlib import suppress
from pathlib import Path

from schema.errors import CatalographWarning, StoreLockedError, StoreUnavailableError

WAIT_SECONDS = 5.0
"""How long a writer waits for another one, which is usually done soon."""
SAY_AFTER_SECONDS = 1.0
"""After this time the user is told what is waited for."""
POLL_SECONDS = 0.05

_LOCKS = Path("/proc/locks")  # where Linux lists all file locks with their owners


class StoreLock:
    """An advisory lock on a file, for a store's writer.

    Raises StoreLockedError if another process still holds it after ``wait`` seconds, and
    StoreUnavailableError if the file cannot be written or its file system has no locks.
    """

    def __init__(self, path: Path, wait: float = WAIT_SECONDS) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Not truncated: that would clear the owner's PID before we know whether there is one.
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise StoreUnavailableError(
                f"{path.parent} cannot be written ({error.strerror}): make it writable, or write "
                "to a copy of it"
            ) from None
        try:
            _acquire(self._handle, path, wait)
        except BaseException:
            os.close(self._handle)
            raise
        # Only for messages, so a disk without room for it does no harm.
        with suppress(OSError):
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        """Release the lock."""
        # The kernel drops the lock with the file, so a killed process leaves none behind.
        os.close(self._handle)


def holder_of(path: Path) -> int | None:
    """Return the process that holds the lock on a file, or None if that is unknown."""
    try:
        status = path.stat()
        lines = _LOCKS.read_text().splitlines()
    except OSError:
        # Not Linux: the PID that the last writer left, if that process is still there.
        return _left_pid(path)
    # 1: FLOCK  ADVISORY  WRITE 19387 fe:00:10109432 0 EOF
    for words in map(str.split, lines):
        if len(words) < 6 or words[1] != "FLOCK":
            continue  # one that waits for a lock has "->" there
        major, minor, inode = words[5].split(":")
        device = os.makedev(int(major, 16), int(minor, 16))
        if (device, int(inode)) == (status.st_dev, status.st_ino) and _is_alive(int(words[4])):
            return int(words[4])
    return None


def _acquire(handle: int, path: Path, wait: float) -> None:
    """Lock an open file; raises the errors of :class:`StoreLock`."""
    began = time.monotonic()
    told = False
    while not _try_to_lock(handle, path):
        waited = time.monotonic() - began
        holder = holder_of(path)
        name = "another process" if holder is None else f"process {holder}"
        # A store that this process has open itself would be waited for in vain.
        if waited >= wait or holder == os.getpid():
            raise StoreLockedError(
                f"{path.parent} is in use by {name}: wait for it to end, then try again"
            )
        if waited >= SAY_AFTER_SECONDS and not told:
            told = True
            message = f"{path.parent} is in use by {name}: waiting for it to end"
            warnings.warn(message, CatalographWarning, stacklevel=2)
        time.sleep(POLL_SECONDS)


def _try_to_lock(handle: int, path: Path) -> bool:
    try:
        # flock's locks belong to the open file, and so keep out a second store in this process,
        # too. Those of lockf belong to the process.
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise StoreUnavailableError(
            f"{path} cannot be locked ({error.strerror}): move {path.parent} to a file system that "
            "has locks"
        ) from None
    return True


def _left_pid(path: Path) -> int | None:
    try:
        pid = int(path.read_text())
    except (OSError, ValueError):
        return None
    return pid if _is_alive(pid) else None


def _is_alive(pid: int) -> bool:
    # Zero would ask for our own process group.
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # another user's
    return True
