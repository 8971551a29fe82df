"""The files of an ingest: what the user names becomes streams of bytes that can be read repeatedly.

A file may be compressed, a member of a zip archive, or standard input.
"""

from __future__ import annotations

import atexit
import io
import os
import shutil
import stat
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Protocol, cast

from kg.ingest.unpacking import (
    MAX_BYTES,
    Compression,
    check_size,
    find_compression,
    unpacked,
)
from schema.errors import DataError, UsageError
from schema.files import is_disk_full

STANDARD_INPUT = "-"
MAX_MEMBERS = 10_000
"""The most files of a zip archive."""
_MAX_DIRECTORY_BYTES = 4 << 20
_COPY_BYTES = 1 << 20
_COMPRESSION_SUFFIXES = {
    **{each.suffix: each for each in Compression},
    ".gzip": Compression.GZIP,
    ".bzip2": Compression.BZIP2,
    ".zstd": Compression.ZSTD,
}
_END_OF_DIRECTORY = b"PK\x05\x06"
_ZIP_STARTS = (b"PK\x03\x04", _END_OF_DIRECTORY, b"PK\x07\x08")


class Recorder(Protocol):
    """Takes what is read of a file."""

    def record(self, position: int, data: bytes) -> None:
        """Take the bytes that a stream has at a position of the file; none at its end."""
        ...


@dataclass(frozen=True)
class SourceFile:
    """A file to read: a file on disk, or a member of a zip archive.

    Attributes:
        path: the file on disk: of a member its archive, of standard input a temporary file
        member: the name of a member in its archive, which is only a name: nothing is unpacked to it
        name: what messages and the provenance of statements call it
        suffix: the suffix of its format, lower case, with the dot and without that of a compression
        spooled: whether ``path`` is a temporary copy of a stream that can be read only once
        recorder: what takes the decompressed bytes of every stream that is opened
    """

    path: Path
    member: str | None
    name: str
    suffix: str
    spooled: bool = False
    recorder: Recorder | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, path: Path | str) -> SourceFile:
        """Return the file at a path, with the name and suffix that it has there."""
        path = Path(path)
        return cls(path, None, path.name, _format_suffix(path.name))

    @property
    def location(self) -> str:
        """What the ledger calls the file: its path, with the member's name; or its name."""
        if self.spooled:
            return self.name  # of a member with the archive's
        return str(self.path) if self.member is None else f"{self.path}/{self.member}"

    @property
    def folder(self) -> Path:
        """The folder that names in the file, such as those of images, are relative to."""
        return Path.cwd() if self.spooled else self.path.parent

    def open(self) -> BinaryIO:
        """Return the bytes of the file, decompressed: from its start, at every call.

        Reading raises DataError if the file is damaged, cut off, encrypted, or becomes too large.
        """
        stream = self._open()
        if self.recorder is None:
            return stream
        return io.BufferedReader(_RecordedStream(stream, self.recorder), _COPY_BYTES)

    def _open(self) -> BinaryIO:
        if self.member is not None:
            return _open_member(self.path, self.member, self.name)
        stream = self.path.open("rb")
        try:
            compression = find_compression(stream.read(8))
            stream.seek(0)
        except BaseException:
            stream.close()
            raise
        return stream if compression is None else unpacked(stream, compression, self.name)

    def start(self, size: int) -> bytes:
        """Return the first bytes, decompressed."""
        with self.open() as stream:
            return stream.read(size)

    def is_packed(self) -> bool:
        """Return whether the file is compressed or in an archive."""
        if self.member is not None:
            return True
        with self.path.open("rb") as stream:
            return find_compression(stream.read(8)) is not None

    def check(self) -> None:
        """Read a packed file to its end; raises what reading it raises, before anything is stored.

        What is damaged or cut off at its end is known only there.
        """
        if not self.is_packed():
            return
        with self.open() as stream:
            while stream.read(_COPY_BYTES):
                pass

    @contextmanager
    def on_disk(self) -> Iterator[Path]:
        """Yield a path to the unpacked file, for parsers that need one: it may be temporary."""
        if not self.is_packed():
            yield self.path
            return
        with _temporary_file() as target:
            with self.open() as stream:
                shutil.copyfileobj(stream, target, _COPY_BYTES)
            target.flush()
            yield _path_of(target)


def standard_input() -> SourceFile:
    """Return standard input as a file: it is copied to a temporary one, once in this process."""
    return SourceFile(_spooled_standard_input(), None, "standard input", "", spooled=True)


def pipe(path: Path) -> SourceFile:
    """Return a named pipe, such as the shell's ``<(command)``, as a file: it is copied once."""
    return SourceFile(_spooled_pipe(path), None, str(path), "", spooled=True)


def is_pipe(path: Path) -> bool:
    """Return whether there is a pipe at a path."""
    try:
        return stat.S_ISFIFO(path.stat().st_mode)
    except OSError:
        return False


@cache
def _spooled_standard_input() -> Path:
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("nothing comes from standard input: pipe a file into it, or name the file")
    return _spool(sys.stdin.buffer, "standard input")


@cache
def _spooled_pipe(path: Path) -> Path:
    with path.open("rb") as stream:
        return _spool(stream, str(path))


def _spool(stream: BinaryIO, name: str) -> Path:
    """Copy a stream to a temporary file, which is gone when the process ends."""
    target = _temporary_file()
    # Which also keeps it open until then.
    atexit.register(target.close)
    size = 0
    try:
        while chunk := stream.read(_COPY_BYTES):
            size += len(chunk)
            if size > MAX_BYTES:
                raise DataError(
                    f"{name} has more than {MAX_BYTES >> 30} GiB: write it to files first"
                )
            target.write(chunk)
        target.flush()
    except OSError as error:
        if is_disk_full(error):
            raise DataError(
                f"{name} does not fit into {tempfile.gettempdir()}: set TMPDIR to a folder with "
                "more room"
            ) from None
        raise DataError(f"{name} cannot be read ({error.strerror})") from None
    return _path_of(target)


def _temporary_file() -> BinaryIO:
    """Return a temporary file, without a name where the system can open it nevertheless.

    Then nothing of it is left behind, even if the process is killed.
    """
    file: Any = tempfile.TemporaryFile()  # noqa: SIM115
    if not _path_of(file).exists():
        file.close()
        file = tempfile.NamedTemporaryFile(prefix="catalograph-")  # noqa: SIM115
    return cast(BinaryIO, file)


def _path_of(file: BinaryIO) -> Path:
    """Return the path by which this process and those that it starts can open a file again."""
    return Path(file.name if isinstance(file.name, str) else f"/proc/{os.getpid()}/fd/{file.name}")


def _format_suffix(name: str) -> str:
    """Return the suffix of a file's format: ``.csv`` for ``items.CSV.gz``."""
    path = PurePosixPath(name.lower())
    if path.suffix in _COMPRESSION_SUFFIXES:
        path = path.with_suffix("")
    return path.suffix


def says_compressed(name: str) -> bool:
    """Return whether a file's name says that it is compressed."""
    return PurePosixPath(name.lower()).suffix in _COMPRESSION_SUFFIXES


# ---- zip archives


def is_zip(start: bytes) -> bool:
    """Return whether a file that starts so is a zip archive, which many formats are."""
    return start.startswith(_ZIP_STARTS)


def member_names(path: Path, name: str) -> list[str]:
    """Return the names of an archive's files, in their order.

    Raises DataError if the archive is damaged, has too many files, or becomes too large.
    """
    with opened_archive(path, name) as archive:
        return [each.filename for each in archive.infolist() if not each.is_dir()]


def archive_members(archive: SourceFile) -> list[SourceFile]:
    """Return the files of an archive; those with the same name only once."""
    return [
        replace(
            archive,
            member=member,
            name=f"{archive.name}/{_shown_name(member)}",
            suffix=_format_suffix(member),
        )
        for member in dict.fromkeys(member_names(archive.path, archive.name))
    ]


def _shown_name(member: str) -> str:
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in member)


@contextmanager
def opened_archive(path: Path, name: str) -> Iterator[zipfile.ZipFile]:
    """Open a zip archive of known origin or none.

    Raises DataError if it is damaged, has too many files, or becomes too large.
    """
    try:
        with path.open("rb") as stream:
            _check_directory(stream, name)
            with zipfile.ZipFile(stream) as archive:
                _check_members(archive, path.stat().st_size, name)
                yield archive
    except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, NotImplementedError) as error:
        raise DataError(
            f"{name} is not a readable zip archive ({error}): download it or pack it again"
        ) from None


def _check_directory(stream: BinaryIO, name: str) -> None:
    """Refuse an archive of too many files before its directory is read, which takes memory."""
    stream.seek(0, io.SEEK_END)
    # The end of the directory has 22 bytes, and a comment of at most 65,535.
    start = max(0, stream.tell() - 22 - 65_535)
    stream.seek(start)
    tail = stream.read()
    position = tail.rfind(_END_OF_DIRECTORY)
    if position < 0 or len(tail) < position + 22:
        raise DataError(f"{name} is cut off: it lacks the end of a zip archive. Download it again")
    count = int.from_bytes(tail[position + 10 : position + 12], "little")
    size = int.from_bytes(tail[position + 12 : position + 16], "little")
    is_zip64 = count == 0xFFFF or size == 0xFFFFFFFF
    if is_zip64 or count > MAX_MEMBERS or size > _MAX_DIRECTORY_BYTES:
        # Both are the archive's own word; what it really has is bounded by the size.
        if is_zip64 and _zip64_directory_fits(tail, position):
            return
        raise DataError(
            f"{name} has more than {MAX_MEMBERS:,} files: unpack it, and name the files to load"
        )


def _zip64_directory_fits(tail: bytes, position: int) -> bool:
    start = tail.rfind(b"PK\x06\x06", 0, position)
    if start < 0:
        return False
    count = int.from_bytes(tail[start + 32 : start + 40], "little")
    size = int.from_bytes(tail[start + 40 : start + 48], "little")
    return count <= MAX_MEMBERS and size <= _MAX_DIRECTORY_BYTES


def _check_members(archive: zipfile.ZipFile, size: int, name: str) -> None:
    members = archive.infolist()
    if len(members) > MAX_MEMBERS:
        raise DataError(
            f"{name} has more than {MAX_MEMBERS:,} files: unpack it, and name the files to load"
        )
    # Members may lie in the same bytes, so the sum is compared with the size of the archive.
    check_size(name, size, sum(member.file_size for member in members))


def _open_member(path: Path, member: str, name: str) -> BinaryIO:
    with opened_archive(path, name) as archive:
        info = archive.getinfo(member)
        if info.flag_bits & 0x1:
            raise DataError(f"{name} is encrypted: unpack the archive with its password first")
    source = path.open("rb")
    try:
        archive = zipfile.ZipFile(source)
        stream = archive.open(info)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        source.close()
        raise DataError(f"{name} cannot be unpacked ({error}): unpack the archive first") from None
    raw = _MemberStream(cast(BinaryIO, stream), (stream.close, source.close), name)
    return io.BufferedReader(raw, _COPY_BYTES)


class _RecordedStream(io.RawIOBase):
    """The bytes of a stream, which a recorder takes as well."""

    def __init__(self, stream: BinaryIO, recorder: Recorder) -> None:
        self._stream = stream
        self._recorder = recorder
        self._position = 0

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        data = self._stream.read(len(buffer))
        if len(buffer):
            self._recorder.record(self._position, data)
        self._position += len(data)
        buffer[: len(data)] = data
        return len(data)


class _MemberStream(io.RawIOBase):
    """The bytes of a zip archive's member; what is wrong with it is a DataError."""

    def __init__(
        self, stream: BinaryIO, closers: tuple[Callable[[], None], ...], name: str
    ) -> None:
        self._stream = stream
        self._closers = closers
        self._name = name
        self._bytes_out = 0

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed:
            for close in self._closers:
                close()
        super().close()

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        try:
            data = self._stream.read(len(buffer))
        except MemoryError:
            raise
        except Exception as error:
            # Apart from BadZipFile, the decompressors of zip raise errors of their own.
            what = str(error) or "it ends in the middle of its data"
            raise DataError(
                f"{self._name} is damaged ({what}), after {self._bytes_out:,} bytes of its "
                "content: download or pack the archive again"
            ) from None
        self._bytes_out += len(data)
        buffer[: len(data)] = data
        return len(data)
