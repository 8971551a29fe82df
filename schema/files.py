"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from schema.errors import UsageError


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader finds the old content or the new one, and a crash loses neither; text becomes UTF-8."""
    path = Path(path)
    write_together(
        path.parent, {path.name: content.encode() if isinstance(content, str) else content}
    )


def write_together(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files of a folder, each whole, and none of them where there is no room for all."""
    folder.mkdir(parents=True, exist_ok=True)
    made: list[tuple[Path, Path]] = []
    try:
        for name, content in files.items():
            handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{name}.")
            made.append((Path(temporary), folder / name))
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            Path(temporary).chmod(0o644)
        for written, path in made:
            written.replace(path)
    except BaseException:
        for written, _ in made:
            written.unlink(missing_ok=True)
        raise


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Where to write a large file: it takes the place of ``path`` once the block is done, and never in part. Raises UsageError."""
    path = Path(path)
    if path.is_dir():
        raise UsageError(f"{path} is a folder: name a file to write")
    with whole_files(path.parent) as folder:
        yield folder / path.name


@contextmanager
def whole_files(folder: Path) -> Iterator[Path]:
    """A folder to write large files in: they move to ``folder`` once the block is done, and none of them before. Raises UsageError."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UsageError(f"{folder} is a file: name a folder to write into") from None
    temporary = Path(tempfile.mkdtemp(dir=folder, prefix=".writing."))
    try:
        yield temporary
        written = sorted(temporary.iterdir())
        for path in written:
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
        for path in written:
            path.replace(folder / path.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def no_space(error: OSError) -> bool:
    """Whether a disk is full, or what one may have of it."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)
