"""Find images that are nearly the same: perceptual hashes, confirmed by colours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kg.image_files import is_address
from schema.arrays import BoolArray, FloatArray, IntArray
from schema.progress import ProgressCallback, no_progress

if TYPE_CHECKING:
    from kg.image_files import ImageFiles

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


def read_fingerprints(
    images: Sequence[str | None], files: ImageFiles, progress: ProgressCallback = no_progress
) -> ImageFingerprints:
    """Read images [I] from ``files``, and compute their fingerprints.

    An image that cannot be read, or is an address on the network, counts as none.
    """
    return fingerprint_images(
        [image if image and not is_address(image) else None for image in images],
        lambda image: files.pixels(image, FINGERPRINT_IMAGE_SIZE),
        progress,
    )


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
    for band in range(HASH_BANDS):
        bits = _band(hashes, band)
        by_bits = train_index[np.argsort(bits[train_index], kind="stable")]
        first = np.searchsorted(bits[by_bits], bits[held_out_index], "left").tolist()
        last = np.searchsorted(bits[by_bits], bits[held_out_index], "right").tolist()
        for number, low, high in zip(held_out_index.tolist(), first, last, strict=True):
            if number not in duplicates:
                match = _best_match(fingerprints, number, by_bits[low:high])
                if match is not None:
                    duplicates[number] = match
    return duplicates


def near_duplicate_groups(fingerprints: ImageFingerprints) -> IntArray:
    """Return the group [I] of each image, -1 without one.

    Images are in one group if one is nearly the other by :func:`near_duplicate_images`, or if a
    chain of others connects them so.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    groups = np.full(len(fingerprints.hashes), -1)
    has_image = np.flatnonzero(fingerprints.hashes != 0)
    if not len(has_image):
        return groups
    # Equal ones count once: a shop may use one image for thousands of items.
    colours = fingerprints.colours[has_image].reshape(len(has_image), -1)
    rows = np.column_stack([fingerprints.hashes[has_image].view(np.uint8).reshape(-1, 8), colours])
    _, first, equal = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    once = ImageFingerprints(
        fingerprints.hashes[has_image][first], fingerprints.colours[has_image][first]
    )
    one, other = _near_pairs(once)
    edges = coo_array((np.ones(len(one), bool), (one, other)), shape=(len(first), len(first)))
    _, component = connected_components(edges, directed=False)
    groups[has_image] = component[equal.reshape(-1)]
    return groups


def _near_pairs(fingerprints: ImageFingerprints) -> tuple[IntArray, IntArray]:
    """Return pairs ([P], [P]) of images of which the second one is nearly the first one."""
    numbers = np.arange(len(fingerprints.hashes))
    pairs = [np.zeros((2, 0), np.int64)]
    for band in range(HASH_BANDS):
        bits = _band(fingerprints.hashes, band)
        order = np.argsort(bits, kind="stable")
        first = np.searchsorted(bits[order], bits, "left").tolist()
        last = np.searchsorted(bits[order], bits, "right").tolist()
        for number, low, high in zip(numbers.tolist(), first, last, strict=True):
            near, _ = _near(fingerprints, number, order[low:high])
            pairs.append(np.stack([np.full(len(near), number), near]))
    one, other = np.concatenate(pairs, axis=1)
    return one, other


def _band(hashes: NDArray[np.uint64], band: int) -> NDArray[np.uint64]:
    """Return the bits [I] of one of the four bands of hashes [I]."""
    bits = HASH_BITS // HASH_BANDS
    return (hashes >> np.uint64(band * bits)) & np.uint64((1 << bits) - 1)


def _best_match(
    fingerprints: ImageFingerprints, number: int, candidates: NDArray[np.intp]
) -> int | None:
    """Return the candidate that is closest to an image in colour, if it is near enough."""
    near, differences = _near(fingerprints, number, candidates)
    return int(near[differences.argmin()]) if len(near) else None


def _near(
    fingerprints: ImageFingerprints, number: int, candidates: NDArray[np.intp]
) -> tuple[NDArray[np.intp], FloatArray]:
    """Return the N candidates that are nearly an image, and how much their colours differ [N]."""
    hashes = fingerprints.hashes
    different_bits = np.bitwise_count(hashes[candidates] ^ hashes[number])
    candidates = candidates[different_bits <= MAX_DIFFERENT_BITS]
    if not len(candidates):
        return candidates, np.zeros(0)
    colours = fingerprints.colours[number].astype(np.int16)
    # Pale products on a white background differ little in absolute terms, so differences are
    # compared with the image's own contrast. The median colour stands for the background.
    background = np.median(colours, axis=(1, 2), keepdims=True)
    contrast = np.abs(colours - background).mean()
    differences = np.abs(fingerprints.colours[candidates] - colours).mean((1, 2, 3))
    is_near = differences <= MAX_COLOUR_DIFFERENCE * contrast
    return candidates[is_near], differences[is_near]
