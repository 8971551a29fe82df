"""The sources of an ingest: files with the readers of their formats.

A folder or an archive stands for every table in it. What is passed over is said, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kg.ingest.files import (
    STANDARD_INPUT,
    Recorder,
    SourceFile,
    archive_members,
    is_pipe,
    is_zip,
    pipe,
    standard_input,
)
from kg.ingest.formats import compression_remark, is_sheet_archive, recognise
from kg.ingest.readers import reader_for, supported_suffixes
from kg.ingest.readers.base import Reader
from kg.ingest.rows import Batch
from schema.errors import CatalographError, DataError, SourceNotFoundError
from schema.mapping import Head, Mapping

MAX_FILES = 10_000
"""The most files of a folder that are looked at."""
_MAX_NAMED = 3  # of the files that are passed over for the same reason
_IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".svg", ".avif", ".heic")
)
# Tables that are no items although they have a column that could be an id.
_QUERY_LOG_COLUMNS = frozenset(("query", "item"))
_TRUTH_COLUMNS = frozenset(("item", "property", "value", "kind"))
_PAIRS_COLUMNS = frozenset(("left", "right", "label"))


@dataclass(frozen=True)
class Source:
    """A file to ingest, the reader of its format, its head, and remarks on how it is read."""

    file: SourceFile
    reader: Reader
    head: Head
    remarks: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What messages and the provenance of statements call the source."""
        return self.file.name

    @property
    def location(self) -> str:
        """What the ledger calls the source, which is its path."""
        return self.file.location

    @property
    def folder(self) -> Path:
        """The folder that the source's image names are relative to."""
        return self.file.folder

    def under(self, mapping: Mapping) -> Source:
        """Return the source with the layout that a mapping gives, if it gives any."""
        if not mapping.dialect_settings():
            return self
        head = self.reader.head(self.file, mapping)
        before = {f"{self.name}: {remark}" for remark in self.head.remarks}
        others = [remark for remark in self.remarks if remark not in before]
        remarks = (*others, *(f"{self.name}: {remark}" for remark in head.remarks))
        return replace(self, head=head, remarks=remarks)

    def recorded(self, recorder: Recorder) -> Source:
        """Return the source with something that takes the bytes while they are read."""
        return replace(self, file=replace(self.file, recorder=recorder))

    def reading(self, mapping: Mapping | None) -> dict[str, Any]:
        """Return how the source is read beside its mapping, as JSON can hold it."""
        reading: dict[str, Any] = {
            **self.reader.reading(self.head),
            "header": self.head.header,
            "nested": self.head.nested,
            "records": self.head.records,
            "remarks": list(self.head.remarks),
        }
        if mapping is not None and not self.head.nested and self.head.rows:
            reading["columns"] = list(self.columns(mapping))
        return reading

    def columns(self, mapping: Mapping) -> tuple[str, ...]:
        """Return the names of the source's columns."""
        return self.reader.columns(self.head, mapping)

    def batches(self, mapping: Mapping, batch_rows: int = 50_000) -> Iterator[Batch]:
        """Read the source's rows in batches of at most ``batch_rows``."""
        return self.reader.batches(self.file, self.head, mapping, batch_rows)


@dataclass
class PassedOver:
    """The files of a folder or an archive that are not read, by the reason."""

    place: str
    names: dict[str, list[str]] = field(default_factory=dict)

    def add(self, name: str, reason: str) -> None:
        """Add a file."""
        self.names.setdefault(reason, []).append(name)

    def lines(self) -> Iterator[str]:
        """Yield a line for each reason."""
        for reason, names in self.names.items():
            listed = ", ".join(names[:_MAX_NAMED])
            more = len(names) - _MAX_NAMED
            if more > 0:
                listed += f" and {more:,} more"
            yield f"{self.place}: not read: {listed} ({reason})"


@dataclass
class OpenedSources:
    """What became of one thing that the user named.

    Attributes:
        sources: the files to read
        passed_over: what is not read of a folder or an archive; None for a single file
    """

    sources: list[Source]
    passed_over: PassedOver | None = None


def open_sources(path: Path | str, mapping: Mapping | None = None) -> OpenedSources:
    """Open a file, every table of a folder or an archive, or standard input (``-``).

    Raises SourceNotFoundError if there is no such file, and DataError if there is nothing to read.
    """
    if str(path) == STANDARD_INPUT:
        return _open_file(standard_input(), mapping)
    path = Path(path).absolute()
    if path.is_dir():
        return _open_folder(path, mapping)
    if is_pipe(path):
        return _open_file(pipe(path), mapping)
    if not path.is_file():
        raise SourceNotFoundError(f"no file or folder {path}: check the path")
    return _open_file(SourceFile.of(path), mapping)


def open_source(path: Path | str, mapping: Mapping | None = None) -> Source:
    """Open what ``open_sources`` does if it is a single table."""
    sources = open_sources(path, mapping).sources
    if len(sources) > 1:
        names = ", ".join(source.name for source in sources[:6])
        raise DataError(f"{path} has {len(sources)} tables ({names}): name the file")
    return sources[0]


def _open_file(file: SourceFile, mapping: Mapping | None) -> OpenedSources:
    try:
        with file.path.open("rb") as stream:
            start = stream.read(8)
        if is_zip(start) and not is_sheet_archive(file):
            return _open_archive(file, mapping)
        return OpenedSources([_open(file, mapping)])
    except OSError as error:
        raise SourceNotFoundError(
            f"{file.location} cannot be read ({error.strerror}): check its permissions"
        ) from None


def _open(file: SourceFile, mapping: Mapping | None) -> Source:
    """Find the reader of a file, and read its head.

    Raises DataError if it is no source, and OSError if it cannot be read.
    """
    remarks = [compression_remark(file)]
    recognised = recognise(file, lambda suffix: reader_for(suffix) is not None)
    remarks.append(recognised.remark)
    file = replace(file, suffix=recognised.suffix)
    reader = reader_for(file.suffix)
    if reader is None:
        raise _unsupported(file)
    head = reader.head(file, mapping)
    said = tuple(remark for remark in remarks if remark is not None)
    return Source(file, reader, head, (*said, *(f"{file.name}: {each}" for each in head.remarks)))


def _unsupported(file: SourceFile) -> DataError:
    suffix = f"has suffix {file.suffix!r}" if file.suffix else "has no suffix"
    return DataError(
        f"{file.location} {suffix}, and its content is not recognised: a source is one of "
        f"{', '.join(supported_suffixes())}, also compressed (.gz, .zst, .bz2, .xz, .zip), or a "
        "folder of such files"
    )


def _open_folder(folder: Path, mapping: Mapping | None) -> OpenedSources:
    passed_over = PassedOver(f"{folder.name}/")
    files = []
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise SourceNotFoundError(
            f"{folder} cannot be read ({error.strerror}): check its permissions"
        ) from None
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_file():
            files.append(SourceFile.of(entry))
        elif entry.is_dir() and _has_table(entry):
            passed_over.add(f"{entry.name}/", "a folder in the folder: name it to read its tables")
    return _open_all(files, passed_over, mapping, str(folder))


def _has_table(folder: Path) -> bool:
    """Return whether a folder seems to have tables, by the suffixes of its first files."""
    try:
        names = [entry.name for entry, _ in zip(folder.iterdir(), range(MAX_FILES), strict=False)]
    except OSError:
        return False
    return any(_may_be_table(SourceFile.of(name).suffix) for name in names)


def _may_be_table(suffix: str) -> bool:
    reader = reader_for(suffix)
    return reader is not None and suffix not in reader.ambiguous_suffixes


def _open_archive(archive: SourceFile, mapping: Mapping | None) -> OpenedSources:
    members = archive_members(archive)
    passed_over = PassedOver(archive.name)
    files = []
    for member in members:
        parts = (member.member or "").replace("\\", "/").split("/")
        # What macOS and editors leave in archives.
        if any(part == "__MACOSX" or (part.startswith(".") and part != "..") for part in parts):
            continue
        files.append(member)
    return _open_all(files, passed_over, mapping, archive.location)


def _open_all(
    files: Sequence[SourceFile], passed_over: PassedOver, mapping: Mapping | None, place: str
) -> OpenedSources:
    """Open the tables among the files of a folder or an archive."""
    if len(files) > MAX_FILES:
        tables = [file for file in files if _may_be_table(file.suffix)]
        if len(tables) > MAX_FILES:
            raise DataError(
                f"{place} has {len(tables):,} files, and at most {MAX_FILES:,} are read at once: "
                "name them in groups"
            )
    sources = []
    first_error: CatalographError | None = None
    for file in files:
        if file.suffix in _IMAGE_SUFFIXES:
            # Folders of a catalogue have any number of them; an archive's are not unpacked.
            if file.member is not None:
                passed_over.add(_short_name(file), "images: unpack the archive to load them")
            continue
        reader = reader_for(file.suffix)
        if reader is not None and file.suffix in reader.ambiguous_suffixes:
            reason = f"a {file.suffix} may be anything: name it to read it"
            passed_over.add(_short_name(file), reason)
            continue
        if reader is None and file.suffix not in _ARCHIVE_SUFFIXES and file.suffix:
            passed_over.add(_short_name(file), f"{file.suffix} is no suffix of a source")
            continue
        try:
            source = _open(file, mapping)
        except CatalographError as error:
            first_error = first_error or error
            passed_over.add(_short_name(file), _reason(error, file))
            continue
        except OSError as error:
            passed_over.add(_short_name(file), f"it cannot be read: {error.strerror}")
            continue
        other = _other_than_items(source)
        if other is None:
            sources.append(source)
        else:
            passed_over.add(_short_name(file), other)
    if not sources:
        if first_error is not None:
            raise first_error
        raise SourceNotFoundError(
            f"no table in {place}: it needs a file of {', '.join(supported_suffixes())}"
        )
    return OpenedSources(sources, passed_over)


_ARCHIVE_SUFFIXES = frozenset((".zip",))


def _short_name(file: SourceFile) -> str:
    return file.name.split("/", 1)[1] if file.member is not None else file.name


def _reason(error: CatalographError, file: SourceFile) -> str:
    """Return an error's message without the name of the file, which is said beside it."""
    message = str(error)
    for name in (file.location, file.name):
        message = message.removeprefix(f"{name} ").removeprefix(f"{name}: ")
    return message


def _other_than_items(source: Source) -> str | None:
    """Return what a table is that does not hold items, by its columns; None if it may."""
    if not source.head.rows:
        return None
    names = {name.strip().casefold() for name in source.head.rows[0]}
    if names >= _QUERY_LOG_COLUMNS:
        return "a query log: load it with `catalograph queries`"
    if names >= _TRUTH_COLUMNS:
        return "the true values of a sample"
    if names == _PAIRS_COLUMNS:
        return "pairs of items: for `catalograph align` and `finetune align`"
    return None
