"""Folders of arrays that are written once, and read through the page cache instead of into memory.

A folder holds the bytes of each array in a file of its own, and a manifest with their types, counts
and SHA-256 digests. It is written beside its place and moved there when it is complete and on disk,
so that a process that is killed leaves no half of one. One that is damaged is written again.

Whoever has opened a folder holds a shared lock on it: it is removed only when nobody has.
"""

from __future__ import annotations

import bisect
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from schema.arrays import IntArray
from schema.documents import parse_json_object
from schema.errors import DataError
from schema.files import WorkingFolder, digest_named, open_named, sync, write_atomically
from schema.memory import return_freed_memory

MANIFEST = "arrays.json"
TYPES = ("|u1", "<i4", "<i8")
"""The types of numbers that a folder may hold."""
MAX_MANIFEST_BYTES = 1 << 20
TEXTS_PER_READ = 10_000

AnyArray = NDArray[Any]


class ArrayWriter:
    """Writes the numbers of one array to a file, as many at a time as are given."""

    def __init__(self, path: Path, dtype: str) -> None:
        self.dtype = np.dtype(dtype)
        self.count = 0
        self._digest = hashlib.sha256()
        self._file: IO[bytes] = path.open("wb")

    def append(self, numbers: AnyArray) -> None:
        """Add numbers [N] at the end; raise OverflowError if one does not fit the type."""
        if numbers.dtype != self.dtype:
            limits = np.iinfo(self.dtype)
            if len(numbers) and not limits.min <= numbers.min() <= numbers.max() <= limits.max:
                raise OverflowError(f"{numbers.max():,} does not fit into {self.dtype}")
            numbers = numbers.astype(self.dtype)
        content = np.ascontiguousarray(numbers).data.cast("B") if len(numbers) else b""
        self._file.write(content)
        self._digest.update(content)
        self.count += len(numbers)

    def finish(self) -> dict[str, str | int]:
        """Bring the file to the disk and return what the manifest says of it."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self.close()
        return {"type": self.dtype.str, "count": self.count, "sha256": self._digest.hexdigest()}

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class TextWriter:
    """Writes texts as two arrays: their UTF-8 bytes, and where each of them begins."""

    def __init__(self, content: ArrayWriter, offsets: ArrayWriter) -> None:
        self._content = content
        self._offsets = offsets
        offsets.append(np.zeros(1, np.int64))

    def append(self, texts: pa.Array | Sequence[str]) -> None:
        """Add texts [N] at the end; None becomes the empty text."""
        column = texts if isinstance(texts, pa.Array) else pa.array(texts, pa.large_string())
        if not len(column):
            return
        filled = pc.fill_null(column.cast(pa.large_string()), "")
        lengths = pc.binary_length(filled).to_numpy(zero_copy_only=False)
        self._offsets.append(self._content.count + lengths.astype(np.int64).cumsum())
        _, offsets, content = filled.buffers()
        bounds = np.frombuffer(offsets, np.int64)[filled.offset : filled.offset + len(filled) + 1]
        if content is not None:
            self._content.append(np.frombuffer(content, np.uint8)[bounds[0] : bounds[-1]])


class FolderWriter:
    """Writes the arrays of a folder, which are moved to their place by :meth:`publish`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        self._working = WorkingFolder(folder.parent)
        self._writers: dict[str, ArrayWriter] = {}

    @property
    def path(self) -> Path:
        """The folder that is written to, where files that are not arrays may lie for a while."""
        return self._working.path

    def array(self, name: str, dtype: str) -> ArrayWriter:
        """Begin an array."""
        writer = ArrayWriter(self.path / name, dtype)
        self._writers[name] = writer
        return writer

    def texts(self, name: str) -> TextWriter:
        """Begin a list of texts."""
        return TextWriter(self.array(name, "|u1"), self.array(f"{name}.at", "<i8"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for writer in self._writers.values():
            writer.close()
        self._working.remove()

    def publish(self) -> None:
        """Move the folder to its place, which is then complete and on disk."""
        arrays = {name: writer.finish() for name, writer in self._writers.items()}
        write_atomically(self.path / MANIFEST, json.dumps({"arrays": arrays}, indent=1))
        sync(self.path)
        if open_folder(self.folder) is not None:
            # Another process has written the same meanwhile.
            return
        # A damaged one. Those who have it mapped keep its content until they let go of it.
        shutil.rmtree(self.folder, ignore_errors=True)
        self.path.rename(self.folder)
        sync(self.folder.parent)


@dataclass(frozen=True)
class MappedFolder:
    """The arrays of a folder, by name, memory-mapped; ``folder`` is where they lie.

    ``handle`` is that of the open folder, whose lock keeps it from being removed.
    """

    folder: Path
    arrays: Mapping[str, AnyArray]
    handle: FolderLock

    def __getitem__(self, name: str) -> AnyArray:
        """Return an array [N]; raise DataError if the folder has none of that name."""
        if name not in self.arrays:
            raise DataError(f"{self.folder} has no array {name}: remove the folder and run again")
        return self.arrays[name]

    def texts(self, name: str) -> MappedTexts:
        """Return a list of texts."""
        return MappedTexts(self[f"{name}.at"], self[name])


class FolderLock:
    """A shared lock on a folder, held until this object is gone or its process has ended."""

    def __init__(self, folder: Path) -> None:
        self._handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        # A file system without locks keeps nothing from being removed, which loses no mapped data.
        with suppress(OSError):
            fcntl.flock(self._handle, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def __del__(self) -> None:
        with suppress(OSError, AttributeError):
            os.close(self._handle)


class MappedTexts(Sequence[str]):
    """T texts in a file: ``content`` [B] are their UTF-8 bytes, text t from ``offsets[t]`` on.

    They are read when they are asked for, and not kept.
    """

    def __init__(self, offsets: IntArray, content: NDArray[np.uint8]) -> None:
        self.offsets = offsets
        self.content = content

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self, place: slice) -> list[str]: ...

    def __getitem__(self, place: int | slice) -> str | list[str]:
        if isinstance(place, slice):
            first, last, step = place.indices(len(self))
            if step != 1:
                return [self[each] for each in range(first, last, step)]
            return self._between(first, max(first, last))
        number = int(place) + (len(self) if place < 0 else 0)
        if not 0 <= number < len(self):
            raise IndexError(f"there are {len(self)} texts, and none has the number {place}")
        return self._between(number, number + 1)[0]

    def __iter__(self) -> Iterator[str]:
        for first in range(0, len(self), TEXTS_PER_READ):
            yield from self._between(first, min(first + TEXTS_PER_READ, len(self)))

    def _between(self, first: int, last: int) -> list[str]:
        bounds = (self.offsets[first : last + 1] - self.offsets[first]).tolist()
        begin = int(self.offsets[first])
        content = self.content[begin : begin + bounds[-1]].tobytes()
        return [content[low:high].decode() for low, high in pairwise(bounds)]


def numbers_of(texts: Sequence[str], wanted: Collection[str]) -> dict[str, int]:
    """Return where each of the ``wanted`` is among distinct ``texts``, if it is.

    Mapped texts have to ascend: they are searched, and not read as a whole.
    """
    if not isinstance(texts, MappedTexts):
        return {text: number for number, text in enumerate(texts) if text in wanted}
    found = {}
    for text in wanted:
        place = bisect.bisect_left(texts, text)
        if place < len(texts) and texts[place] == text:
            found[text] = place
    return found


def open_or_write(folder: Path, write: Callable[[FolderWriter], None]) -> MappedFolder:
    """Open a folder of arrays; if it is not there, or damaged, ``write`` it first.

    The writer may choose another place for it while it writes. Raises DataError if it cannot be
    read back after it was written.
    """
    opened = open_folder(folder)
    if opened is None:
        with FolderWriter(folder) as writer:
            write(writer)
            writer.publish()
            folder = writer.folder
        # What was needed to write it is not kept beside what is trained.
        return_freed_memory()
        opened = open_folder(folder)
    if opened is None:
        raise DataError(f"{folder} cannot be read back after it was written: check its disk")
    return opened


def open_folder(folder: Path) -> MappedFolder | None:
    """Open a folder of arrays; None if it is not there, incomplete or damaged."""
    try:
        lock = FolderLock(folder)
        entries = _read_manifest(folder)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            # A disk that loses power or bits gives other numbers without an error.
            digests = pool.map(lambda name: digest_named(folder, name), entries)
        if any(
            digest != entry.digest for digest, entry in zip(digests, entries.values(), strict=True)
        ):
            return None
        arrays = {name: entry.mapped(folder / name) for name, entry in entries.items()}
    except (OSError, ValueError):
        return None
    return MappedFolder(folder, arrays, lock)


@dataclass(frozen=True)
class _Entry:
    """What a manifest says of an array."""

    dtype: np.dtype[Any]
    count: int
    digest: str

    @classmethod
    def read(cls, entry: Any) -> _Entry:
        """Check an entry; raise ValueError if it is damaged."""
        if not isinstance(entry, dict) or entry.get("type") not in TYPES:
            raise ValueError("an array without a known type")
        count = entry.get("count")
        if type(count) is not int or not 0 <= count < 1 << 62:
            raise ValueError("an array without a count")
        return cls(np.dtype(entry["type"]), count, str(entry.get("sha256")))

    def mapped(self, path: Path) -> AnyArray:
        """Map the array; raise ValueError if its file has another size."""
        if path.stat().st_size != self.count * self.dtype.itemsize:
            raise ValueError(f"{path} has another size")
        if not self.count:
            # An empty file cannot be mapped.
            return np.zeros(0, self.dtype)
        return np.memmap(path, self.dtype, "r", shape=(self.count,))


def _read_manifest(folder: Path) -> dict[str, _Entry]:
    with open_named(folder, MANIFEST) as stream:
        document = parse_json_object(stream.read(MAX_MANIFEST_BYTES))
    arrays = document.get("arrays")
    if not isinstance(arrays, dict):
        raise ValueError("it lists no arrays")
    return {str(name): _Entry.read(entry) for name, entry in arrays.items()}


def remove_unused(folders: Collection[Path]) -> None:
    """Remove folders of arrays that nobody has opened; the others stay."""
    for folder in folders:
        with ExitStack() as stack, suppress(OSError):
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            stack.callback(os.close, handle)
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
