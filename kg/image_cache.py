"""Images as one memory-mapped uint8 array, made once and kept."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MOST_PIXELS = 64_000_000
CHUNK = 256

Read = tuple[int, NDArray[np.uint8] | None]


def read_pixels(path: Path, size: int) -> NDArray[np.uint8] | None:
    """An image as [3, S, S] uint8, letterboxed on white; None where it cannot be read or its header claims too many pixels."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                return None
            opened.draft("RGB", (size, size))
            image: Image.Image = opened
            if opened.mode in ("RGBA", "LA", "P"):
                clear = opened.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear)
            fitted = ImageOps.pad(
                image.convert("RGB"), (size, size), Image.Resampling.BILINEAR, color="white"
            )
            return np.ascontiguousarray(np.asarray(fitted, dtype=np.uint8).transpose(2, 0, 1))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


@dataclass(frozen=True)
class ImageCache:
    """I images: ``array`` [I, 3, S, S] uint8, memory-mapped; ``present`` [I]; ``broken`` indexes of images that cannot be read."""

    array: NDArray[np.uint8]
    present: NDArray[np.bool_]
    broken: list[int]

    def pixels(self, index: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Images [B, 3, S, S] at ``index`` [B]; black where there is none."""
        return np.asarray(self.array[index])

    @classmethod
    def build(
        cls,
        paths: Sequence[str | None],
        size: int,
        folder: Path,
        progress: Callable[[int, int], None] | None = None,
    ) -> ImageCache:
        """Read what is not in the folder's cache yet; an image is known by its path, size and time of change."""
        target = folder / f"images-{size}"
        target.mkdir(parents=True, exist_ok=True)
        stamps = [_stamp(path) for path in paths]
        key = hashlib.sha256(json.dumps(stamps).encode()).hexdigest()[:16]
        data = target / f"{key}.npy"
        index = target / f"{key}.json"
        if not index.is_file():
            _fill(paths, stamps, size, (target, data, index), progress)
        kept = json.loads(index.read_text())
        present = np.zeros(len(paths), dtype=bool)
        present[kept["present"]] = True
        array = (
            np.load(data, mmap_mode="r") if len(paths) else np.zeros((0, 3, size, size), np.uint8)
        )
        return cls(array, present, list(kept["broken"]))


def _stamp(path: str | None) -> list[str | int] | None:
    if path is None:
        return None
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return [path, found.st_size, found.st_mtime_ns]


def _fill(
    paths: Sequence[str | None],
    stamps: Sequence[list[str | int] | None],
    size: int,
    files: tuple[Path, Path, Path],
    progress: Callable[[int, int], None] | None,
) -> None:
    target, data, index = files
    before = _known(target)
    temporary = data.with_suffix(f".{os.getpid()}.npy")
    array = np.lib.format.open_memmap(
        temporary, mode="w+", dtype=np.uint8, shape=(len(paths), 3, size, size)
    )
    present: list[int] = []
    wanted: list[int] = []
    for number, stamp in enumerate(stamps):
        if stamp is None:
            continue
        if (found := before.get(json.dumps(stamp))) is not None:
            array[number] = found[0][found[1]]
            present.append(number)
        else:
            wanted.append(number)
    for number, image in _read_all([(n, str(paths[n])) for n in wanted], size, progress):
        if image is not None:
            array[number] = image
            present.append(number)
    array.flush()
    temporary.replace(data)
    record = {
        "present": sorted(present),
        "broken": sorted(set(wanted) - set(present)),
        "stamps": stamps,
    }
    marker = index.with_suffix(f".{os.getpid()}")
    marker.write_text(json.dumps(record))
    marker.replace(index)
    for old in target.glob("*.*"):
        if old.stem != data.stem:
            old.unlink()


def _known(target: Path) -> dict[str, tuple[NDArray[np.uint8], int]]:
    """Images of an earlier cache by their stamp."""
    known: dict[str, tuple[NDArray[np.uint8], int]] = {}
    for index in target.glob("*.json"):
        kept = json.loads(index.read_text())
        array = np.load(index.with_suffix(".npy"), mmap_mode="r")
        known.update(
            {json.dumps(kept["stamps"][number]): (array, number) for number in kept["present"]}
        )
    return known


def _read_all(
    jobs: Sequence[tuple[int, str]], size: int, progress: Callable[[int, int], None] | None
) -> Iterator[Read]:
    """Images in the order of ``jobs`` (number, path), a few hundred in memory at a time.

    Threads do, since Pillow lets go of the interpreter where it decodes and scales.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(jobs), CHUNK):
            part = jobs[start : start + CHUNK]
            yield from zip(
                (number for number, _ in part),
                pool.map(lambda job: read_pixels(Path(job[1]), size), part),
                strict=True,
            )
            if progress is not None:
                progress(start + len(part), len(jobs))
