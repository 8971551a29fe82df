"""The files of an ingest, as readers see them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO


@dataclass(frozen=True)
class SourceFile:
    """A file to read.

    Attributes:
        path: the file on disk
        member: the name of a member in an archive, or None
        name: what messages and the provenance of statements call it
        suffix: the suffix of its format, lower case, with the dot
    """

    path: Path
    member: str | None
    name: str
    suffix: str

    @classmethod
    def of(cls, path: Path | str) -> SourceFile:
        """Return the file at a path."""
        path = Path(path)
        return cls(path, None, path.name, path.suffix.lower())

    @property
    def location(self) -> str:
        """What the ledger calls the file."""
        return str(self.path)

    @property
    def folder(self) -> Path:
        """The folder that names in the file, such as those of images, are relative to."""
        return self.path.parent

    def start(self, size: int) -> bytes:
        """Return the first bytes."""
        with self.open() as stream:
            return stream.read(size)

    def open(self) -> BinaryIO:
        """Return the bytes of the file, from its start at every call."""
        return self.path.open("rb")
