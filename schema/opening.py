"""Open files that are named by others: by a source, a store or a model, and not by the user.

Such a name may contain ``..``, lead through a symbolic link, or be that of a pipe or a device,
which never ends. What was checked by its name may be another file when it is opened by that name,
so it is the opened file that is checked.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path

from schema.errors import FileRefusedError

LINKED = "is reached through a symbolic link"

# O_PATH needs no permission to list the folder.
_AS_FOLDER = os.O_DIRECTORY | os.O_CLOEXEC | (os.O_PATH if sys.platform == "linux" else os.O_RDONLY)
# Without O_NONBLOCK, opening a pipe waits until something writes into it.
_AS_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def is_name_below(name: str) -> bool:
    """Return whether a name, which may have folders in it, stays below the folder it is used in."""
    return "\0" not in name and {"", ".", ".."}.isdisjoint(name.split("/"))


def open_below(folder: str | Path, name: str) -> int:
    """Open the regular file ``name`` below a folder for reading, and return its descriptor.

    Each part of the name is opened from the descriptor of the folder before, and none may be a
    link, so nothing that is replaced meanwhile leads out of the folder. The path of the folder
    itself comes from the user and may have links in it. A hard link is a name like any other.

    Raises:
        FileNotFoundError: there is no such file.
        FileRefusedError: the name leaves the folder, or is not that of a regular file.
    """
    return _open_below(folder, name)[0]


def read_below(folder: str | Path, name: str, max_bytes: int) -> bytes:
    """Read the regular file ``name`` below a folder.

    Raises errors as ``open_below`` does, and FileRefusedError if it has more than ``max_bytes``.
    """
    return _read(*_open_below(folder, name), max_bytes)


def read_own(path: str | Path, max_bytes: int) -> bytes:
    """Read a regular file that the user named, and that may be reached through links.

    Raises errors as ``read_below`` does.
    """
    return _read(*_open_file(path, None), max_bytes)


def _open_below(folder: str | Path, name: str) -> tuple[int, int]:
    """Return the descriptor of a file below a folder, and its size."""
    if not is_name_below(name):
        raise FileRefusedError("leaves its folder")
    *folders, file = name.split("/")
    parent = _open_folder(folder, None)
    try:
        for part in folders:
            child = _open_folder(part, parent)
            os.close(parent)
            parent = child
        return _open_file(file, parent)
    finally:
        os.close(parent)


def _read(descriptor: int, size: int, max_bytes: int) -> bytes:
    """Read a file of this size to its end and close it."""
    try:
        if size > max_bytes:
            raise FileRefusedError(f"has {size:,} bytes: the limit is {max_bytes:,}")
        # A file in /proc has size 0, and may go on without end.
        data = os.read(descriptor, size + 1) if size else b""
        while 0 < len(data) < size:
            piece = os.read(descriptor, size + 1 - len(data))
            if not piece:
                break
            data += piece
    except OSError as error:
        raise FileRefusedError(f"cannot be read ({error.strerror})") from None
    finally:
        os.close(descriptor)
    if len(data) > size:
        raise FileRefusedError("grows while it is read")
    return data


def _open_folder(name: str | Path, parent: int | None) -> int:
    """Open a folder: one in a folder, which may not be a link, or one by its path."""
    flags = _AS_FOLDER if parent is None else _AS_FOLDER | os.O_NOFOLLOW
    try:
        return os.open(name, flags, dir_fd=parent)
    except (OSError, ValueError) as error:
        raise _explained(error, name, parent) from None


def _open_file(name: str | Path, parent: int | None) -> tuple[int, int]:
    """Open a file in a folder, which may not be a link, or by its path; also return its size."""
    flags = _AS_FILE if parent is None else _AS_FILE | os.O_NOFOLLOW
    try:
        descriptor = os.open(name, flags, dir_fd=parent)
    except (OSError, ValueError) as error:
        raise _explained(error, name, parent) from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise _not_regular(status)
    return descriptor, status.st_size


def _not_regular(status: os.stat_result) -> FileRefusedError:
    kind = "folder" if stat.S_ISDIR(status.st_mode) else "pipe, socket or device"
    return FileRefusedError(f"is a {kind}, not a regular file")


def _explained(error: OSError | ValueError, name: str | Path, parent: int | None) -> Exception:
    """Return the error to raise for one of the operating system's."""
    if isinstance(error, ValueError):
        return FileRefusedError(f"cannot be opened ({error})")
    if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.EMLINK, errno.ENXIO):
        # For these the system has one number each, whatever the reason.
        try:
            status = os.stat(name, dir_fd=parent, follow_symlinks=parent is None)
        except OSError:
            pass
        else:
            if stat.S_ISLNK(status.st_mode):
                return FileRefusedError(LINKED)
            if error.errno == errno.ENXIO:
                return _not_regular(status)
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return FileNotFoundError(error.errno, error.strerror, str(name))
    return FileRefusedError(f"cannot be opened ({error.strerror})")
