"""The lock on a model's folder, which a training holds from its beginning to its end.

It is a file that a process locks and, when it is done, removes. A process that was killed leaves
the file, which nobody holds.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from schema.errors import UsageError

LOCK = "training.lock"
_MAX_BYTES = 64
_held: dict[Path, int] = {}
"""How often this process holds the lock of each folder."""


@contextmanager
def model_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of a model's folder, which is made if there is none.

    One process may hold it several times. A folder that is empty at the end is removed. Raises
    UsageError if another process has it.
    """
    folder = folder.absolute()
    if folder in _held:
        _held[folder] += 1
        try:
            yield
        finally:
            _held[folder] -= 1
        return
    handle = _acquire(folder)
    _held[folder] = 1
    try:
        yield
    finally:
        del _held[folder]
        # Before it is released, so that nobody can hold the file that is removed.
        (folder / LOCK).unlink(missing_ok=True)
        os.close(handle)
        with suppress(OSError):
            folder.rmdir()


@contextmanager
def locked_by_starter(folder: Path) -> Iterator[None]:
    """Let this process train in a folder whose lock the process that started it holds."""
    folder = folder.absolute()
    _held[folder] = _held.get(folder, 0) + 1
    try:
        yield
    finally:
        _held[folder] -= 1
        if not _held[folder]:
            del _held[folder]


def _acquire(folder: Path) -> int:
    """Lock a folder and return the handle that holds it."""
    path = folder / LOCK
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        except FileNotFoundError:
            # The process that was faster has just removed the folder.
            continue
        if not _try_lock(handle):
            os.close(handle)
            raise UsageError(
                f"model {folder.name!r} is being trained{_by(path)}: wait until that has ended, or "
                "choose another name"
            )
        if _is_file_at(handle, path):
            os.ftruncate(handle, 0)
            os.write(handle, str(os.getpid()).encode())
            return handle
        # The process before has removed the file between the two calls.
        os.close(handle)


def trained_by(folder: Path) -> str | None:
    """Return the process that trains a model's folder, as text; None if there is none."""
    path = folder / LOCK
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        if folder.absolute() not in _held and _try_lock(handle):
            return None
        return _by(path).strip() or "another process"
    finally:
        os.close(handle)


def is_vacant(folder: Path) -> bool:
    """Return whether a folder has nothing, or only the lock of a training that was killed."""
    try:
        return all(path.name == LOCK for path in folder.iterdir())
    except FileNotFoundError:
        return True


def _try_lock(handle: int) -> bool:
    """Lock an open file unless another process has; a file system without locks is no obstacle."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EWOULDBLOCK, errno.EACCES)
    return True


def _is_file_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _by(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            text = stream.read(_MAX_BYTES).decode("ascii", "replace")
    except OSError:
        return ""
    return f" by process {text}" if text.isdigit() else ""
