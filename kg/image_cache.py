"""The images of a catalogue as one memory-mapped uint8 array, which is built once and kept."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from schema.arrays import BoolArray, IntArray
from schema.documents import parse_json_object
from schema.errors import DataError
from schema.progress import ProgressCallback, no_progress

MAX_IMAGE_PIXELS = 64_000_000
"""A larger image is not decoded: a file of a few kilobytes can claim to be one of terabytes."""

IMAGES_PER_CHUNK = 256
"""How many decoded images wait in memory to be written."""

PixelArray = NDArray[np.uint8]
Stamp = list[str | int] | None
"""Identifies an image's content: path, size and modification time; None if there is no file."""


def read_pixels(path: Path, size: int) -> PixelArray | None:
    """Read an image as [3, size, size], letterboxed on white.

    Returns None if it cannot be decoded, or if its header claims too many pixels.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as opened:
            if opened.width * opened.height > MAX_IMAGE_PIXELS:
                return None
            # Lets a JPEG be decoded at a fraction of its size, which is several times as fast.
            opened.draft("RGB", (size, size))
            image: Image.Image = opened
            if opened.mode in ("RGBA", "LA", "P"):
                # Converted to RGB at once, transparent pixels would show the colour that they hide,
                # often black.
                transparent = opened.convert("RGBA")
                background = Image.new("RGBA", transparent.size, "white")
                image = Image.alpha_composite(background, transparent)
            padded = ImageOps.pad(
                image.convert("RGB"), (size, size), Image.Resampling.BILINEAR, color="white"
            )
            pixels = np.asarray(padded, dtype=np.uint8)
            return np.ascontiguousarray(pixels.transpose(2, 0, 1))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
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

    def pixels(self, index: IntArray) -> PixelArray:
        """Return the images [B, 3, S, S] at ``index`` [B]; missing ones are black."""
        return np.asarray(self.array[index])

    @classmethod
    def build(
        cls,
        paths: Sequence[str | None],
        size: int,
        folder: Path,
        progress: ProgressCallback = no_progress,
    ) -> ImageCache:
        """Open the cache of these images in ``folder``, reading those that are not in it yet.

        An image counts as unchanged if its path, size and modification time are the same.
        """
        stamps = [_stamp(path) for path in paths]
        files = CacheFiles.of(stamps, folder / f"images-{size}")
        found = files.open(size)
        if found is None:
            _fill(files, paths, stamps, size, progress)
            found = files.open(size)
        if found is None:
            raise DataError(f"{files.pixels} cannot be read: check the disk")
        present = np.zeros(len(paths), dtype=bool)
        present[found.present] = True
        return cls(found.array, present, found.broken)


@dataclass(frozen=True)
class OpenedCache:
    """A cache of I images as its files have it.

    ``array`` [I, 3, S, S] uint8; the indices of images that are ``present`` and of those that are
    ``broken``; and their ``stamps`` [I].
    """

    array: PixelArray
    present: list[int]
    broken: list[int]
    stamps: list[Stamp]


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

    def open(self, size: int) -> OpenedCache | None:
        """Open the cache, or return None if there is none, or if it is damaged."""
        try:
            index = parse_json_object(self.index.read_bytes())
            stamps = list(index["stamps"])
            present = [int(number) for number in index["present"]]
            broken = [int(number) for number in index["broken"]]
            # numpy cannot map an empty file into memory.
            array: PixelArray = np.zeros((0, 3, size, size), np.uint8)
            if stamps:
                array = np.load(self.pixels, mmap_mode="r", allow_pickle=False)
        except (OSError, EOFError, ValueError, KeyError, TypeError):
            return None
        shape = (len(stamps), 3, size, size)
        fits = array.shape == shape and array.dtype == np.uint8
        if not fits or any(not 0 <= number < len(stamps) for number in (*present, *broken)):
            return None
        return OpenedCache(array, present, broken, stamps)


def _stamp(path: str | None) -> Stamp:
    if path is None:
        return None
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return [path, status.st_size, status.st_mtime_ns]


def _fill(
    files: CacheFiles,
    paths: Sequence[str | None],
    stamps: Sequence[Stamp],
    size: int,
    progress: ProgressCallback,
) -> None:
    """Write a cache: images of an earlier one are copied, all others are read."""
    earlier = _images_by_stamp(files.index.parent, size)
    # The process id in the name keeps two processes that build the same cache apart.
    temporary = files.pixels.with_suffix(f".{os.getpid()}.npy")
    array = np.lib.format.open_memmap(
        temporary, mode="w+", dtype=np.uint8, shape=(len(paths), 3, size, size)
    )

    present: list[int] = []
    to_read: list[int] = []
    for number, stamp in enumerate(stamps):
        if stamp is None:
            continue
        key = json.dumps(stamp)
        if key in earlier:
            earlier_array, earlier_number = earlier[key]
            array[number] = earlier_array[earlier_number]
            present.append(number)
        else:
            to_read.append(number)
    images = _read_all([str(paths[number]) for number in to_read], size, progress)
    for number, image in zip(to_read, images, strict=True):
        if image is not None:
            array[number] = image
            present.append(number)
    array.flush()
    temporary.replace(files.pixels)

    index = {
        "present": sorted(present),
        "broken": sorted(set(to_read) - set(present)),
        "stamps": stamps,
    }
    # The index comes last: without it, a cache does not count and is built again.
    temporary = files.index.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps(index))
    temporary.replace(files.index)

    for path in files.index.parent.glob("*.*"):
        if path.stem != files.index.stem:
            # Other processes that have it mapped keep its content until they let go of it.
            path.unlink()


def _images_by_stamp(folder: Path, size: int) -> dict[str, tuple[PixelArray, int]]:
    """Return where earlier caches in a folder have each image: (array, index), by stamp as JSON."""
    images: dict[str, tuple[PixelArray, int]] = {}
    for path in folder.glob("*.json"):
        found = CacheFiles(path.with_suffix(".npy"), path).open(size)
        if found is not None:
            for number in found.present:
                images[json.dumps(found.stamps[number])] = (found.array, number)
    return images


def _read_all(
    paths: Sequence[str], size: int, progress: ProgressCallback
) -> Iterator[PixelArray | None]:
    """Read images in order, a chunk of them in memory at a time.

    Threads suffice: Pillow releases the interpreter's lock while it decodes and resizes.
    """

    def read(path: str) -> PixelArray | None:
        """Read one image at the size of the cache."""
        return read_pixels(Path(path), size)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(paths), IMAGES_PER_CHUNK):
            chunk = paths[start : start + IMAGES_PER_CHUNK]
            yield from pool.map(read, chunk)
            progress(start + len(chunk), len(paths))
