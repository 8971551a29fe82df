"""Write files completely or not at all, and read files that other files name.

Every file is written under a temporary name in the same folder, synced to disk and then renamed.
What a manifest or a log names is read only if it is a regular file in the folder itself.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from schema.errors import UsageError

MAX_NAME_BYTES = 255
"""The longest name of a file on the usual file systems."""


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
    temporary = Path(tempfile.mkdtemp(dir=folder, prefix=".writing."))
    try:
        yield temporary
        written = sorted(temporary.iterdir())
        # All are on disk before the first one replaces an older file.
        for path in written:
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
        for path in written:
            path.replace(folder / path.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


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
