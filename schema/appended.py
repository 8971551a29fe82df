"""Text files to which lines are appended, with a checksum of all of them in a file beside it."""

from __future__ import annotations

import json
import zlib
from pathlib import Path


class AppendedFile:
    """A file of lines. A writer that is killed leaves at most its last line uncovered."""

    def __init__(self, path: Path, lines: list[str]) -> None:
        """Begin the file anew with some lines."""
        self.path = path
        self._size = 0
        self._crc = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        self.append("".join(line + "\n" for line in lines))

    def append(self, text: str) -> None:
        """Append a text that ends with a line break, or an empty one."""
        data = text.encode()
        with self.path.open("ab") as file:
            file.write(data)
        self._size += len(data)
        self._crc = zlib.crc32(data, self._crc)
        document = {"bytes": self._size, "crc32": self._crc}
        checksum_path(self.path).write_text(json.dumps(document) + "\n", encoding="utf-8")


def checksum_path(path: Path) -> Path:
    """Return the path of a file's checksum."""
    return path.with_name(f"{path.name}.crc32")


def appended_problem(path: Path) -> str | None:
    """Return what is wrong with a file and its checksum, or None; also if it has no checksum."""
    checksum = checksum_path(path)
    if not checksum.exists() or not path.exists():
        return None
    try:
        document = json.loads(checksum.read_text(encoding="utf-8"))
        size = int(document["bytes"])
        is_whole = zlib.crc32(path.read_bytes()[:size]) == document["crc32"]
    except (OSError, ValueError, KeyError, TypeError):
        is_whole = False
        size = 0
    if is_whole and size <= path.stat().st_size:
        return None
    return f"{path} is damaged (it has not the checksum in {checksum.name})"
