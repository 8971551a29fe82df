"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader finds the old content or the new one, and a crash loses neither; text becomes UTF-8."""
    path = Path(path)
    write_together(path.parent, {path.name: content.encode() if isinstance(content, str) else content})


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


def no_space(error: OSError) -> bool:
    """Whether a disk is full, or what one may have of it."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)
