"""Write files completely or not at all, and read files that other files name.

Every file is written under a temporary name in the same folder, synced to disk and then renamed.
What a manifest or a log names is read only if it is a regular file in the folder itself.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from types import TracebackType

from schema.errors import UsageError

MAX_NAME_BYTES = 255
"""The longest name of a file on the usual file systems."""
_WORKING = ".writing."
_WORKING_NAME = re.compile(re.escape(_WORKING) + "[a-z0-9_]{8}")


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a small file; text is encoded as UTF-8.

    A concurrent reader finds the old content or the new one, and a crash loses neither.
    """
    path = Path(path)
    data = content.encode() if isinstance(content, str) else content
    write_together(path.parent, {path.name: data})


def write_together(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write several small files into a folder, or none of them if the disk cannot hold all."""
    folder.mkdir(parents=True, exist_ok=True)
    renames: list[tuple[Path, Path]] = []
    try:
        for name, content in files.items():
            handle, temporary_name = tempfile.mkstemp(dir=folder, prefix=f".{name}.")
            temporary = Path(temporary_name)
            renames.append((temporary, folder / name))
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
                stream.flush()
                # Without this, a power cut after the rename could leave the new name without its
                # content.
                os.fsync(stream.fileno())
            temporary.chmod(0o644)  # mkstemp lets only the owner read it
        # Renaming takes no space, so a disk that fills up has been noticed by now, with every old
        # file intact.
        for temporary, path in renames:
            temporary.replace(path)
    except BaseException:
        for temporary, _ in renames:
            temporary.unlink(missing_ok=True)
        raise


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a path to write a large file to; the file is moved to ``path`` if the block succeeds.

    Raises UsageError if ``path`` is a folder.
    """
    path = Path(path)
    if path.is_dir():
        raise UsageError(f"{path} is a folder: name a file to write")
    with atomic_folder(path.parent) as temporary:
        yield temporary / path.name


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder for large files, which move to ``folder`` if the block succeeds.

    Raises UsageError if ``folder`` is a file.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UsageError(f"{folder} is a file: name a folder to write into") from None
    # Inside the target folder, because a rename is atomic only within one file system.
    with WorkingFolder(folder) as working:
        yield working.path
        written = sorted(working.path.iterdir())
        # All are on disk before the first one replaces an older file.
        for path in written:
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
        for path in written:
            path.replace(folder / path.name)


class WorkingFolder:
    """A new folder in another one, for files that are not complete yet.

    It is locked until it is removed. So the next one finds those that killed processes have left
    beside it, and removes them.
    """

    def __init__(self, parent: Path) -> None:
        _remove_abandoned(parent)
        self._handle: int | None
        self.path, self._handle = _new_working_folder(parent)

    def remove(self) -> None:
        """Remove the folder, unless it was moved by now."""
        if self._handle is None:
            return
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._handle)
        self._handle = None

    def __enter__(self) -> WorkingFolder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.remove()


def _new_working_folder(parent: Path) -> tuple[Path, int]:
    """Make a working folder; return its path and the handle that locks it."""
    while True:
        path = Path(tempfile.mkdtemp(dir=parent, prefix=_WORKING))
        try:
            handle = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            # Another process has taken it for an abandoned one before it was locked.
            continue
        if _is_locked(handle, without_locks=True) and path.exists():
            return path, handle
        os.close(handle)


def _is_locked(handle: int, without_locks: bool) -> bool:
    """Lock an open file if nobody else has; return whether it is locked now.

    On a file system without locks, ``without_locks`` is returned.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EWOULDBLOCK, errno.EACCES) and without_locks
    return True


def _remove_abandoned(parent: Path) -> None:
    """Remove the working folders in a folder that killed processes have left."""
    with os.scandir(parent) as entries:
        names = [entry.name for entry in entries if _WORKING_NAME.fullmatch(entry.name)]
    for name in names:
        with suppress(OSError):
            handle = os.open(parent / name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if _is_locked(handle, without_locks=False):
                    shutil.rmtree(parent / name, ignore_errors=True)
            finally:
                os.close(handle)


def sync(path: Path) -> None:
    """Write a file, or the names in a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_disk_full(error: OSError) -> bool:
    """Return whether an error means that the disk, or the user's quota of it, is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def is_plain_name(name: str) -> bool:
    """Return whether a name can only be that of a file in a folder itself.

    It has no separator and no control character, and is not ``..``.
    """
    if name in ("", ".", "..") or "/" in name or "\\" in name or not name.isprintable():
        return False
    return len(name.encode()) <= MAX_NAME_BYTES


@contextmanager
def open_named(folder: Path, name: str) -> Iterator[BufferedReader]:
    """Open a file in ``folder`` whose ``name`` another file gives.

    Raises ValueError unless it is a plain name, and OSError unless it is that of a regular file: a
    link may lead anywhere, a device has no end, and a pipe waits for ever.
    """
    if not is_plain_name(name):
        raise ValueError(f"{name[:100]!r} is not the name of a file in {folder}")
    path = folder / name
    try:
        # Without O_NONBLOCK, opening a pipe would wait for a writer.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise OSError(errno.ELOOP, "is a symbolic link", str(path)) from None
    with os.fdopen(handle, "rb") as stream:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "is not a regular file", str(path))
        yield stream


def digest_named(folder: Path, name: str) -> str:
    """Return the SHA-256 of a file in ``folder``; raises what :func:`open_named` does."""
    with open_named(folder, name) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
