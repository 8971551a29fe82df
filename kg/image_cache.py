"""The images of a catalogue as one memory-mapped uint8 array, which is built once and kept."""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kg.image_decoding import DECODING, letterboxed
from kg.image_files import ImageFiles, is_address, read_own_image
from schema.arrays import BoolArray, IntArray
from schema.errors import DataError, ImageRefusedError
from schema.progress import ProgressCallback, no_progress

IMAGES_PER_CHUNK = 256
"""How many decoded images wait in memory to be written."""

PixelArray = NDArray[np.uint8]
Stamp = list[str | int] | None
"""Identifies an image's pixels: the path, size and modification time of its file, and how it was
decoded; None if there is no file."""


def read_pixels(path: Path, size: int) -> PixelArray | None:
    """Read an image that the user named as [3, size, size], letterboxed on white.

    Returns None if it cannot be read. The images of a catalogue are read by :class:`ImageFiles`.
    """
    try:
        return letterboxed(read_own_image(path), size)
    except ImageRefusedError:
        return None


@dataclass(frozen=True)
class ImageCache:
    """The pixels of I images.

    ``array`` [I, 3, S, S] uint8 is memory-mapped; ``present`` [I] tells which images could be read;
    ``broken`` are the indices of files that exist but cannot be decoded.
    """

    array: PixelArray
    present: BoolArray
    broken: list[int]

    @classmethod
    def without_images(cls, count: int, size: int) -> ImageCache:
        """Return the cache of ``count`` items of which none has an image."""
        nothing: PixelArray = np.zeros((0, 3, size, size), np.uint8)
        return cls(nothing, np.zeros(count, dtype=bool), [])

    @cached_property
    def has_pixels(self) -> bool:
        """Whether any image could be read."""
        return bool(self.present.any())

    def pixels(self, index: IntArray) -> PixelArray:
        """Return the images [B, 3, S, S] at ``index`` [B]; missing ones are black."""
        return np.asarray(self.array[index])

    @classmethod
    def build(
        cls,
        images: Sequence[str | None],
        size: int,
        folder: Path,
        files: ImageFiles,
        progress: ProgressCallback = no_progress,
    ) -> ImageCache:
        """Open the cache of these images in ``folder``, reading those that are not in it yet.

        An image counts as unchanged if its path, size and modification time are the same. Those
        that cannot be read are then among the failures of ``files``.
        """
        stamps = [_stamp(image, files) for image in images]
        paths = CacheFiles.of(stamps, folder / f"images-{size}")
        content = _Content.open(paths, size)
        if (
            content is None
            or not content.is_whole
            or content.stamps != stamps
            or _any_readable([str(images[number]) for number in content.broken], size, files)
        ):
            _fill(paths, stamps, size, files, progress)
            content = _Content.open(paths, size)
        if content is None:
            raise DataError(
                f"the image cache {paths.pixels} cannot be read back after it was written: "
                "check its disk"
            )
        present = np.zeros(len(images), dtype=bool)
        present[list(content.checksums)] = True
        return cls(content.array, present, content.broken)


@dataclass(frozen=True)
class CacheFiles:
    """The files of one cache: the pixels, and the index, which is written last."""

    pixels: Path
    index: Path

    @classmethod
    def of(cls, stamps: Sequence[Stamp], folder: Path) -> CacheFiles:
        """Return the files of a list of images, named after a hash of their stamps."""
        folder.mkdir(parents=True, exist_ok=True)
        key = hashlib.sha256(json.dumps(stamps).encode()).hexdigest()[:16]
        return cls(folder / f"{key}.npy", folder / f"{key}.json")


@dataclass(frozen=True)
class _Content:
    """What the files of a cache hold.

    ``checksums`` has the CRC-32 of the pixels of every image, by its number; ``is_whole`` tells
    whether all of them still have those pixels, and the images that have not are left out.
    """

    array: PixelArray
    stamps: list[Stamp]
    checksums: dict[int, int]
    broken: list[int]
    is_whole: bool

    @classmethod
    def open(cls, paths: CacheFiles, size: int) -> _Content | None:
        """Open the files of a cache; None if there are none, or if they cannot be understood."""
        try:
            index = json.loads(paths.index.read_bytes())
            stamps = list(index["stamps"])
            # NumPy cannot map an empty file into memory.
            array: PixelArray = np.zeros((0, 3, size, size), np.uint8)
            if stamps:
                array = np.load(paths.pixels, mmap_mode="r", allow_pickle=False)
            written = {int(number): int(crc) for number, crc in index["checksums"].items()}
            broken = [int(number) for number in index["broken"]]
        # From a damaged header NumPy raises, among others, the errors of Python's tokenizer.
        except Exception:
            return None
        if array.dtype != np.uint8 or array.shape != (len(stamps), 3, size, size):
            return None
        if not all(0 <= number < len(stamps) for number in [*written, *broken]):
            return None
        # A disk that loses power or bits gives other pixels without an error.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            found = pool.map(lambda number: _checksum(array[number]), written)
        intact = {
            number: crc
            for (number, crc), actual in zip(written.items(), found, strict=True)
            if crc == actual
        }
        return cls(array, stamps, intact, broken, len(intact) == len(written))


def _checksum(pixels: PixelArray) -> int:
    return zlib.crc32(np.ascontiguousarray(pixels).data)


def _stamp(image: str | None, files: ImageFiles) -> Stamp:
    if image is None or is_address(image):
        return None
    status = files.status(image)
    return None if status is None else [image, status.st_size, status.st_mtime_ns, DECODING]


def _fill(
    paths: CacheFiles,
    stamps: Sequence[Stamp],
    size: int,
    files: ImageFiles,
    progress: ProgressCallback,
) -> None:
    """Write a cache: images of an earlier one are copied, all others are read."""
    earlier = _images_by_stamp(paths.index.parent, size)
    # The process id in the name keeps two processes that build the same cache apart.
    temporary = paths.pixels.with_suffix(f".{os.getpid()}.npy")
    array = np.lib.format.open_memmap(
        temporary, mode="w+", dtype=np.uint8, shape=(len(stamps), 3, size, size)
    )

    checksums: dict[int, int] = {}
    to_read: dict[int, str] = {}
    for number, stamp in enumerate(stamps):
        if stamp is None:
            continue
        key = json.dumps(stamp)
        if key in earlier:
            content, earlier_number = earlier[key]
            array[number] = content.array[earlier_number]
            checksums[number] = content.checksums[earlier_number]
        else:
            to_read[number] = str(stamp[0])
    pixels = _read_all(list(to_read.values()), size, files, progress)
    for number, image in zip(to_read, pixels, strict=True):
        if image is not None:
            array[number] = image
            checksums[number] = _checksum(image)
    array.flush()
    temporary.replace(paths.pixels)

    index = {
        "broken": sorted(set(to_read) - set(checksums)),
        "checksums": dict(sorted(checksums.items())),
        "stamps": stamps,
    }
    # The index comes last: without it, a cache does not count and is built again.
    temporary = paths.index.with_suffix(f".{os.getpid()}.json")
    temporary.write_text(json.dumps(index))
    temporary.replace(paths.index)

    for path in paths.index.parent.glob("*.*"):
        key, _, owner = path.stem.partition(".")
        if _is_running(owner) if owner else key == paths.index.stem:
            continue
        # Other processes that have it mapped keep its content until they let go of it.
        path.unlink(missing_ok=True)


def _is_running(process: str) -> bool:
    """Return whether the process that a temporary file is named after may still write it."""
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, ValueError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _images_by_stamp(folder: Path, size: int) -> dict[str, tuple[_Content, int]]:
    """Return where earlier caches in a folder have each image: content and number, by stamp."""
    images: dict[str, tuple[_Content, int]] = {}
    for index in folder.glob("*.json"):
        content = _Content.open(CacheFiles(index.with_suffix(".npy"), index), size)
        if content is None:
            continue
        for number in content.checksums:
            images[json.dumps(content.stamps[number])] = (content, number)
    return images


def _any_readable(images: Sequence[str], size: int, files: ImageFiles) -> bool:
    """Return whether images can be read now that could not be: the reason may have been memory."""
    return any(each is not None for each in _read_all(images, size, files, no_progress))


def _read_all(
    images: Sequence[str], size: int, files: ImageFiles, progress: ProgressCallback
) -> Iterator[PixelArray | None]:
    """Read images in order, a chunk of them in memory at a time.

    Threads suffice: Pillow releases the interpreter's lock while it decodes and resizes.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(images), IMAGES_PER_CHUNK):
            chunk = images[start : start + IMAGES_PER_CHUNK]
            yield from pool.map(lambda image: files.pixels(image, size), chunk)
            progress(start + len(chunk), len(images))
