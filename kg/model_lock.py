"""The locks on a model's folder, which a training holds from its beginning to its end.

Each is a file that a process locks and, when it is done, removes. A process that was killed leaves
the file, which nobody holds.

The process that was called holds ``LOCK``, and the one that writes into the folder ``WRITER``: the
same one, or the first worker on a Ray cluster. A worker may outlive the command that started it, if
that is killed, or may go on for a while on a node that Ray has lost. Whoever comes next waits until
it is gone, and so no two of them write at once.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from schema.errors import CatalographWarning, UsageError
from schema.terminal import printable_line

LOCK = "training.lock"
WRITER = "writer.lock"
LOCKS = (LOCK, WRITER)
WRITER_SECONDS = 120.0
"""How long a worker may outlive a training that was killed.

Ray notices within a minute that a node is gone, and a file server within a minute and a half.
"""
LOOK_SECONDS = 0.1
_MAX_BYTES = 320
_held: dict[Path, int] = {}
"""How often this process holds the lock of each folder."""


@contextmanager
def model_lock(folder: Path, *, by_worker: bool = False) -> Iterator[None]:
    """Hold the lock of a model's folder, which is made if there is none.

    One process may hold it several times. A folder that is empty at the end is removed. With
    ``by_worker`` a worker writes in this process's place (see :func:`locked_by_starter`). Raises
    UsageError if another process has the lock, or still writes after two minutes.
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
        if by_worker:
            # Waits for a worker of a run before.
            with _writing(folder):
                pass
            yield
        else:
            with _writing(folder):
                yield
    finally:
        del _held[folder]
        _release(folder / LOCK, handle)
        with suppress(OSError):
            folder.rmdir()


@contextmanager
def locked_by_starter(folder: Path, *, writes: bool) -> Iterator[None]:
    """Let this process train in a folder whose lock the process that started it holds.

    One of several such processes ``writes`` into the folder, and waits until no other does. Raises
    UsageError if another one still does after two minutes.
    """
    folder = folder.absolute()
    _held[folder] = _held.get(folder, 0) + 1
    try:
        with _writing(folder) if writes else nullcontext():
            yield
    finally:
        _held[folder] -= 1
        if not _held[folder]:
            del _held[folder]


def _acquire(folder: Path) -> int:
    """Lock a folder and return the handle that holds it."""
    handle = _lock(folder / LOCK)
    if handle is None:
        by = _by(folder / LOCK)
        raise UsageError(
            f"model {folder.name!r} is being trained{by}: wait until that has ended, or "
            "choose another name"
        )
    os.write(handle, str(os.getpid()).encode())
    return handle


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Hold the lock of the process that writes into a folder; wait for the one before."""
    path = folder / WRITER
    until = time.monotonic() + WRITER_SECONDS
    is_told = False
    while (handle := _lock(path)) is None:
        writer = f"model {folder.name!r} is still written{_by(path)}, whose training has ended"
        if time.monotonic() > until:
            raise UsageError(f"{writer}: end that process, or choose another name")
        if not is_told:
            is_told = True
            warnings.warn(
                f"{writer}: waiting until it is gone, for up to {WRITER_SECONDS:.0f} seconds",
                CatalographWarning,
                stacklevel=3,
            )
        time.sleep(LOOK_SECONDS)
    os.write(handle, f"{os.getpid()} {socket.gethostname()}".encode())
    try:
        yield
    finally:
        _release(path, handle)


def _lock(path: Path) -> int | None:
    """Lock a file, which is made if there is none; None if another process has locked it."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        except FileNotFoundError:
            # The process that was faster has just removed the folder.
            continue
        if not _try_lock(handle):
            os.close(handle)
            return None
        if _is_file_at(handle, path):
            os.ftruncate(handle, 0)
            return handle
        # The process before has removed the file between the two calls.
        os.close(handle)


def _release(path: Path, handle: int) -> None:
    """Remove a file, and end the lock on it."""
    # Before it is released, so that nobody can hold the file that is removed.
    path.unlink(missing_ok=True)
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
    """Return whether a folder has nothing, or only the locks of a training that was killed."""
    try:
        return all(path.name in LOCKS for path in folder.iterdir())
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
    process, _, node = text.partition(" ")
    if not process.isdigit():
        return ""
    return f" by process {process}" + (f" of {printable_line(node)}" if node else "")
