"""Find images that are nearly the same: perceptual hashes, confirmed by colours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schema.arrays import BoolArray, FloatArray
from schema.progress import ProgressCallback, no_progress

FINGERPRINT_IMAGE_SIZE = 72
"""The size in pixels at which images should be read; divisible by both sides of the hash's grid."""

HASH_GRID = 8
HASH_BITS = HASH_GRID * HASH_GRID
HASH_BANDS = 4
MAX_DIFFERENT_BITS = 3
COLOUR_GRID = 16

MAX_COLOUR_DIFFERENCE = 0.1
"""Relative to the contrast between the image and its background."""


@dataclass(frozen=True)
class ImageFingerprints:
    """The fingerprints of I images.

    ``hashes`` [I] are difference hashes, 0 if there is no image; ``colours`` [I, 3, 16, 16] uint8
    are the images at a very small size.
    """

    hashes: NDArray[np.uint64]
    colours: NDArray[np.uint8]


def fingerprint_images(
    paths: Sequence[str | None],
    read: Callable[[str], NDArray[np.uint8] | None],
    progress: ProgressCallback = no_progress,
) -> ImageFingerprints:
    """Compute the fingerprints of images [I], which ``read`` returns as pixels [3, S, S].

    The hash is a dHash of 64 bits: whether each cell of a grid of 8 x 9 is brighter than the one to
    its left. Many products on a plain background have the same hash, hence the colours.
    """
    hashes = np.zeros(len(paths), dtype=np.uint64)
    colours = np.zeros((len(paths), 3, COLOUR_GRID, COLOUR_GRID), dtype=np.uint8)
    for number, path in enumerate(paths):
        image = None if path is None else read(path)
        if image is not None:
            brightness = _cell_means(image.mean(0)[None], HASH_GRID, HASH_GRID + 1)[0]
            is_brighter = np.diff(brightness, axis=1) > 0
            hashes[number] = np.packbits(is_brighter.reshape(-1)).view(">u8")[0]
            colours[number] = _cell_means(image, COLOUR_GRID, COLOUR_GRID).astype(np.uint8)
        progress(number + 1, len(paths))
    return ImageFingerprints(hashes, colours)


def _cell_means(image: NDArray[Any], rows: int, columns: int) -> FloatArray:
    """Return the means [C, rows, columns] of the cells of an image [C, H, W]."""
    _, height, width = image.shape
    tops = np.linspace(0, height, rows + 1).astype(int)[:-1]
    lefts = np.linspace(0, width, columns + 1).astype(int)[:-1]
    row_sums = np.add.reduceat(image.astype(np.float64), tops, axis=1)
    sums = np.add.reduceat(row_sums, lefts, axis=2)
    areas = np.diff([*tops, height])[:, None] * np.diff([*lefts, width])[None, :]
    return np.asarray(sums / areas)


def near_duplicate_images(
    fingerprints: ImageFingerprints, train: BoolArray, held_out: BoolArray
) -> dict[int, int]:
    """Return the ``held_out`` [I] items whose image is nearly that of a ``train`` [I] item.

    Maps each one's index to the train item's. The hashes of near-duplicates differ in at most 3
    bits, and their colours by at most a tenth of the contrast of the held-out image.
    """
    hashes = fingerprints.hashes
    train_index = np.flatnonzero(train & (hashes != 0))
    held_out_index = np.flatnonzero(held_out & (hashes != 0))
    duplicates: dict[int, int] = {}
    # Comparing all pairs would be quadratic. Three different bits touch at most three of the four
    # bands, so near-duplicates agree in a band completely, and sorting by bands finds them.
    band_bits = HASH_BITS // HASH_BANDS
    for band in range(HASH_BANDS):
        bits = (hashes >> np.uint64(band * band_bits)) & np.uint64((1 << band_bits) - 1)
        by_bits = train_index[np.argsort(bits[train_index], kind="stable")]
        first = np.searchsorted(bits[by_bits], bits[held_out_index], "left").tolist()
        last = np.searchsorted(bits[by_bits], bits[held_out_index], "right").tolist()
        for number, low, high in zip(held_out_index.tolist(), first, last, strict=True):
            if number not in duplicates:
                match = _best_match(fingerprints, number, by_bits[low:high])
                if match is not None:
                    duplicates[number] = match
    return duplicates


def _best_match(
    fingerprints: ImageFingerprints, number: int, candidates: NDArray[np.intp]
) -> int | None:
    """Return the candidate that is closest to an image in colour, if it is near enough."""
    hashes = fingerprints.hashes
    different_bits = np.bitwise_count(hashes[candidates] ^ hashes[number])
    candidates = candidates[different_bits <= MAX_DIFFERENT_BITS]
    if not len(candidates):
        return None
    colours = fingerprints.colours[number].astype(np.int16)
    # Pale products on a white background differ little in absolute terms, so differences are
    # compared with the image's own contrast. The median colour stands for the background.
    background = np.median(colours, axis=(1, 2), keepdims=True)
    contrast = np.abs(colours - background).mean()
    differences = np.abs(fingerprints.colours[candidates] - colours).mean((1, 2, 3))
    if differences.min() > MAX_COLOUR_DIFFERENCE * contrast:
        return None
    return int(candidates[differences.argmin()])
