"""The source of an ingest: a file with the reader of its format, or a folder with such a file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from kg.ingest.files import SourceFile
from kg.ingest.readers import reader_for, supported_suffixes
from kg.ingest.readers.base import Reader
from kg.ingest.rows import Batch
from schema.errors import DataError, SourceNotFoundError
from schema.mapping import Head, Mapping

_XML_SUFFIXES = (".rdf", ".owl", ".xml")
# "styles" is the table of the fashion products that are published on Kaggle, "train" that of K3M.
_USUAL_TABLE_NAMES = ("items", "styles", "products", "catalog", "catalogue", "train")


@dataclass(frozen=True)
class Source:
    """A file to ingest, the reader of its format, and its head."""

    file: SourceFile
    reader: Reader
    head: Head

    @property
    def path(self) -> Path:
        """The path of the file on disk."""
        return self.file.path

    @property
    def remarks(self) -> tuple[str, ...]:
        """What to say about how the file is read."""
        return tuple(f"{self.file.name}: {remark}" for remark in self.head.remarks)

    @property
    def folder(self) -> Path:
        """The folder that the source's image names are relative to."""
        return self.file.folder

    def under(self, mapping: Mapping) -> Source:
        """Return the source with the layout that a mapping gives, if it gives any."""
        if not mapping.dialect_settings():
            return self
        return replace(self, head=self.reader.head(self.file, mapping))

    def columns(self, mapping: Mapping) -> tuple[str, ...]:
        """Return the names of the source's columns."""
        return self.reader.columns(self.head, mapping)

    def batches(self, mapping: Mapping, batch_rows: int = 50_000) -> Iterator[Batch]:
        """Read the source's rows in batches of at most ``batch_rows``."""
        return self.reader.batches(self.file, self.head, mapping, batch_rows)


def open_source(path: Path | str, mapping: Mapping | None = None) -> Source:
    """Find the reader of a file, or of the table in a folder, and read the file's head."""
    path = Path(path)
    table = _find_table(path) if path.is_dir() else path
    if not table.is_file():
        raise SourceNotFoundError(f"no file or folder {path}: check the path")
    reader = reader_for(table)
    if reader is None:
        raise _unsupported(table)
    try:
        file = SourceFile.of(table.absolute())
        head = reader.head(file, mapping)
    except OSError as error:
        raise SourceNotFoundError(
            f"{table} cannot be read ({error.strerror}): check its permissions"
        ) from None
    return Source(file, reader, head)


def _unsupported(table: Path) -> DataError:
    suffix = table.suffix.lower()
    if suffix in _XML_SUFFIXES:
        # An XML entity can name any file of this machine, or expand to gigabytes.
        return DataError(
            f"{table} is RDF/XML or other XML, whose entities are a security risk: "
            "convert it to Turtle or N-Triples"
        )
    return DataError(
        f"{table} has suffix {table.suffix!r}: "
        f"a source is one of {', '.join(supported_suffixes())}, or a folder with one such file"
    )


def _find_table(folder: Path) -> Path:
    """Return the only table of a folder, or the one with a usual name."""
    tables = sorted(path for path in folder.iterdir() if _is_table(path))
    usual = [path for name in _USUAL_TABLE_NAMES for path in tables if path.stem.lower() == name]
    if usual:
        return usual[0]
    if len(tables) == 1:
        return tables[0]
    if not tables:
        raise SourceNotFoundError(
            f"no table in folder {folder}: it needs a file of {', '.join(supported_suffixes())}"
        )
    names = ", ".join(path.name for path in tables[:6])
    raise DataError(f"folder {folder} has {len(tables)} tables ({names}): name the file")


def _is_table(path: Path) -> bool:
    reader = reader_for(path)
    if reader is None or path.suffix.lower() in reader.ambiguous_suffixes:
        return False
    return path.is_file()
