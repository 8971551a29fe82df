"""What was last read of each source, kept in the home, so that it can be written again.

``sources/`` has a folder for each source, and in it one for each file of its last runs: a
compressed copy of the bytes, the mapping by which they were read, and how else they were read.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from kg.ingest.files import SourceFile
from schema.documents import parse_json_object, read_limited
from schema.errors import DataError, MappingError
from schema.files import WorkingFolder, digest_named, sync
from schema.manifests import MANIFEST, manifest_problems, read_digests, write_manifest
from schema.mapping import Mapping, mapping_toml, parse_mapping

if TYPE_CHECKING:
    from backports.zstd import ZstdCompressor

KEPT_RUNS = 3
"""Runs of which the files of a source are kept: the newest, and those that an undo goes back to."""
CONTENT = "content.zst"
MAPPING = "mapping.toml"
READING = "reading.json"
GO_ON = "load the source again, or name the file to fill with --template"
"""How to go on when what is kept of a source cannot be used: the end of such messages."""

_MAX_TEXT_BYTES = 1 << 26
_COPY_BYTES = 1 << 20
_MAX_FOLDER_NAME = 80
_LEVEL = 3


@dataclass(frozen=True)
class KeptFile(SourceFile):
    """A file of a source as it was read, with its bytes in the home."""

    def open(self) -> BinaryIO:
        """Return the bytes of the file.

        They are what an ingest has read, so that they may be as compressible as they like.
        """
        from backports import zstd

        return cast(BinaryIO, zstd.ZstdFile(self.path, "rb"))

    def is_packed(self) -> bool:
        """Return True: the file on the disk is compressed."""
        return True


@dataclass(frozen=True)
class KeptSource:
    """One file of a source that an ingest has read.

    Attributes:
        folder: where it is kept
        source: the name of the source
        run: the run that read it
        number: its place among the files of the source in that run, from 1
        files: how many files the source had in that run; 0 if an earlier version has kept it, which
            did not note that
        order: greater than that of all that was kept of the source before
        time: when the run was started, ISO 8601
        file: the file
        location: where the file was
        sha256: of the bytes of the file
        size: the number of the bytes
        mapping: the name of the mapping; None for what needs none
        reading: how it was read otherwise, see ``Source.reading``
    """

    folder: Path
    source: str
    run: str
    number: int
    files: int
    order: int
    time: str
    file: KeptFile
    location: str
    sha256: str
    size: int
    mapping: str | None
    reading: dict[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Raise DataError if what is kept is damaged."""
        problems = manifest_problems(self.folder, GO_ON)
        if problems:
            raise DataError(problems[0])

    def beside(self, name: str) -> Path | None:
        """Return the path of what is kept beside the file under a name, None if nothing is.

        Raises OSError, or ValueError if it is damaged.
        """
        if not (self.folder / name).exists():
            return None
        if digest_named(self.folder, name) != read_digests(self.folder).get(name):
            raise ValueError("its sha256 is not the manifest's")
        return self.folder / name

    def load_mapping(self) -> Mapping:
        """Return the mapping by which the file was read; raises DataError if it is damaged."""
        try:
            text = read_limited(self.folder / MAPPING, _MAX_TEXT_BYTES).decode()
            return parse_mapping(text, self.mapping or "")
        except (OSError, ValueError, MappingError) as error:
            raise DataError(f"{self.folder / MAPPING} is damaged ({error}): {GO_ON}") from None


class KeptSources:
    """The files of a home's sources that are kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def all(self) -> list[KeptSource]:
        """Return all files that are kept, the newest run of each source first.

        Folders that are no kept files are passed over.
        """
        kept = [found for path in self._folders() if (found := _read_kept(path)) is not None]
        last: dict[tuple[str, str], int] = {}
        for each in kept:
            run = each.source, each.run
            last[run] = max(last.get(run, 0), each.order)
        kept.sort(key=lambda each: (each.source, -last[each.source, each.run], each.number))
        return kept

    def newest(self, undone: Collection[str] = ()) -> dict[str, list[KeptSource]]:
        """Return the files of the newest run of each source, by the source's name.

        Runs that are undone are passed over, and so is one of which not all files are there: it was
        killed, or the disk was full.
        """
        newest: dict[str, list[KeptSource]] = {}
        for files in _runs(self.all()):
            if _is_complete(files) and files[0].run not in undone:
                newest.setdefault(files[0].source, files)
        return newest

    def problems(self) -> list[str]:
        """Return what is wrong with the files that are kept, one line each."""
        folders = (path for path in self._folders() if (path / MANIFEST).exists())
        return [problem for folder in folders for problem in manifest_problems(folder, GO_ON)]

    def begin(self) -> SourceCopy:
        """Return a copy to write into."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return SourceCopy(WorkingFolder(self.folder))

    def keep(
        self,
        copy: SourceCopy,
        kept: ReadSource,
        mapping: Mapping | None,
        beside: Sequence[Beside] = (),
    ) -> None:
        """Keep a copy that is complete as a file of a source, and forget its oldest runs.

        Raises OSError if it, or what is kept ``beside`` it, cannot be written; then nothing has
        changed.
        """
        copy.finish(kept.file)
        before = [each for each in self.all() if each.source == kept.source]
        number = 1 + sum(each.run == kept.run for each in before)
        same = next((each for each in before if each.sha256 == copy.sha256), None)
        if same is not None and not manifest_problems(same.folder, ""):
            # A feed that has not changed takes no room for its history.
            with suppress(OSError):
                os.link(same.folder / CONTENT, copy.folder / ".same")
                (copy.folder / ".same").replace(copy.folder / CONTENT)
        document = {
            "source": kept.source,
            "run": kept.run,
            "number": number,
            "files": kept.files,
            # Clocks may go back.
            "order": max([time.time_ns(), *(each.order + 1 for each in before)]),
            "time": kept.time,
            "name": kept.file.name,
            "suffix": kept.file.suffix,
            "location": kept.file.location,
            "sha256": copy.sha256,
            "size": copy.size,
            "mapping": None if mapping is None else mapping.name,
            "reading": kept.reading,
        }
        copy.write(READING, json.dumps(document, indent=1).encode())
        if mapping is not None:
            copy.write(MAPPING, mapping_toml(mapping).encode())
        for part in beside:
            with copy.writing(part.name) as stream:
                part.write(stream)
        write_manifest(copy.folder, copy.digests())
        sync(copy.folder)
        folder = self.folder / _folder_name(kept.source)
        folder.mkdir(exist_ok=True)
        copy.folder.chmod(0o755)  # mkdtemp lets only the owner read it
        copy.folder.replace(folder / f"{kept.run}-{number}")
        sync(folder)
        sync(self.folder)
        complete = [files[0].run for files in _runs(before) if _is_complete(files)]
        # Of a run that was killed nothing stays, and a complete one is always left.
        lasting = {kept.run, *complete[: KEPT_RUNS - 1]}
        self._remove(each for each in before if each.run not in lasting)

    def _folders(self) -> list[Path]:
        """Return the folders of files that are kept; no name of a source begins with a dot."""
        return sorted(self.folder.glob("[!.]*/*"))

    def _remove(self, kept: Iterable[KeptSource]) -> None:
        """Remove files: each of them is there as a whole, or not at all."""
        if not self.folder.exists():
            return
        with suppress(OSError), WorkingFolder(self.folder) as removed:
            for number, each in enumerate(kept):
                each.folder.rename(removed.path / str(number))
                sync(each.folder.parent)


@dataclass(frozen=True)
class Beside:
    """What is kept beside a file under a name, and what writes it to a stream."""

    name: str
    write: Callable[[BinaryIO], None]


@dataclass(frozen=True)
class ReadSource:
    """What is said of a file that was read: its source, the run, its time and its reading.

    ``files`` is how many files the source has in this run.
    """

    source: str
    run: str
    files: int
    time: str
    file: SourceFile
    reading: dict[str, Any]


class SourceCopy:
    """A compressed copy of a file, written while the file is read.

    What several streams of the file yield is written once: each adds what comes after the bytes
    that are known. After an error of the disk, nothing more is written, and ``failure`` says why.
    """

    def __init__(self, working: WorkingFolder) -> None:
        self.folder = working.path
        self._working = working
        self.size = 0
        self.failure: OSError | None = None
        self._is_complete = False
        self._digest = hashlib.sha256()
        self._others: dict[str, str] = {}
        self._stream = (self.folder / CONTENT).open("wb")
        self._compressor = _compressor()

    @property
    def sha256(self) -> str:
        """The SHA-256 of the file's bytes."""
        return self._digest.hexdigest()

    def record(self, position: int, data: bytes) -> None:
        """Take bytes that a stream of the file has at a position; none means the file's end."""
        if self.failure is not None or position > self.size:
            return
        if not data:
            self._is_complete = self._is_complete or position == self.size
            return
        new = data[self.size - position :]
        if not new:
            return
        self.size += len(new)
        self._digest.update(new)
        self._write(self._compressor.compress(new))

    def complete(self, file: SourceFile) -> None:
        """Add what was not read of the file so far; raises OSError, or DataError as reading."""
        if self._is_complete or self.failure is not None:
            return
        with replace(file, recorder=None).open() as stream:
            position = 0
            while data := stream.read(_COPY_BYTES):
                self.record(position, data)
                position += len(data)
            self.record(position, b"")

    def finish(self, file: SourceFile) -> None:
        """Complete the copy with what was not read of the file; raises OSError."""
        self.complete(file)
        self._write(self._compressor.flush())
        if self.failure is not None:
            raise self.failure
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()

    def write(self, name: str, data: bytes) -> None:
        """Write a small file beside the copy."""
        with (self.folder / name).open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        self._others[name] = hashlib.sha256(data).hexdigest()

    @contextmanager
    def writing(self, name: str) -> Iterator[BinaryIO]:
        """Yield a stream to write a large file beside the copy."""
        with (self.folder / name).open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        self._others[name] = digest_named(self.folder, name)

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of each file that was written."""
        with (self.folder / CONTENT).open("rb") as stream:
            # Not that of what was written: the content may be that of an earlier run.
            content = hashlib.file_digest(stream, "sha256").hexdigest()
        return {CONTENT: content, **self._others}

    def discard(self) -> None:
        """Remove what was written of the copy, unless it is kept by now."""
        self._stream.close()
        self._working.remove()

    def _write(self, data: bytes) -> None:
        if self.failure is not None or not data:
            return
        try:
            self._stream.write(data)
        except OSError as error:
            self.failure = error


def _compressor() -> ZstdCompressor:
    from backports import zstd

    return zstd.ZstdCompressor(level=_LEVEL)


def _folder_name(source: str) -> str:
    """Return a name of a folder that is safe on any file system, and another for each source."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", source).strip("._")[:_MAX_FOLDER_NAME]
    digest = hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{plain}-{digest}" if plain else digest


def _runs(kept: Iterable[KeptSource]) -> Iterator[list[KeptSource]]:
    """Yield the files of each run, which stand one after another."""
    for _, files in groupby(kept, key=lambda each: (each.source, each.run)):
        yield list(files)


def _is_complete(files: Sequence[KeptSource]) -> bool:
    """Return whether all files of a run are there."""
    return len(files) >= files[0].files


def _read_kept(folder: Path) -> KeptSource | None:
    """Return the file that is kept in a folder; None if that cannot be told."""
    try:
        document = parse_json_object(read_limited(folder / READING, _MAX_TEXT_BYTES))
        name = str(document["name"])
        return KeptSource(
            folder,
            str(document["source"]),
            str(document["run"]),
            int(document["number"]),
            int(document.get("files", 0)),
            int(document["order"]),
            str(document["time"]),
            KeptFile(folder / CONTENT, None, name, str(document["suffix"])),
            str(document["location"]),
            str(document["sha256"]),
            int(document["size"]),
            document["mapping"],
            dict(document["reading"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
