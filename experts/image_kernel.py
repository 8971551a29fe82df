"""How alike two items are by their images.

Two images are alike by descriptors of several kinds, and two items are as alike as their images are
on average. It is the kernel of their mean embeddings, with k(A, B) the mean of k(a, b) over a in A
and b in B:

    K(A, B) = D k(A, B) / sqrt(k(A, A) k(B, B))

for D kinds of descriptors, so that an item is as like itself as one of a single image, D. With one
image each it is k(a, b).

Shapes: N items, M landmarks, I images of the items, J images of the landmarks, F features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from encoders import patch_dictionary
from encoders.descriptors import (
    colour_histograms,
    oriented_gradients,
    product_colours,
    thumbnails,
)
from encoders.patch_dictionary import PatchDictionary
from experts.kernels import Arrays, KernelRows
from experts.pretrained import NARROWER, RememberedImages, kept_images, name_of
from schema.arrays import BoolArray, IntArray

_Block: TypeAlias = NDArray[np.float32] | NDArray[np.float64]

DESCRIPTOR_SIZE = 64
"""Pixels per side of the images that descriptors are computed from."""
MAX_IMAGES = 5
"""Images of an item that are read at most, the first ones: comparing takes their number squared."""
_BANDWIDTH_SAMPLE = 1000
_LEAST_DISTANCE = 1e-5
_DESCRIBED_TOGETHER = 4
"""Images that are described at once: what more of them need does not fit into a processor's caches,
and with 64 an image takes nearly twice as long."""
_COMPARED_TOGETHER = 2048
"""Images that are compared with those of the landmarks at once."""


@dataclass(frozen=True)
class Descriptors:
    """Descriptors of the I images of N items, one item after the other.

    Of each kind there is a block of features [I, F]; ``small`` are the images themselves [I, 3, 32,
    32], for the descriptor that is learned, and ``counts`` says how many images each item has [N].
    """

    blocks: tuple[NDArray[np.float32], ...]
    small: NDArray[np.uint8]
    counts: IntArray

    @property
    def present(self) -> BoolArray:
        """Which items have an image [N]."""
        return self.counts > 0

    def select(self, index: IntArray | BoolArray) -> Descriptors:
        """Return those of the items at ``index``."""
        counts = self.counts[index]
        images = _images_of(self.counts, index)
        return Descriptors(
            tuple(block[images] for block in self.blocks), self.small[images], counts
        )

    def small_of(self, item: int) -> NDArray[np.uint8]:
        """Return the small images of an item [I, 3, 32, 32]."""
        return self.small[_images_of(self.counts, np.array([item]))]


DESCRIPTORS = (oriented_gradients, colour_histograms, product_colours, thumbnails)
"""What images are compared by: outline, colours and where they are, and colours of the product."""


def describe(
    items: Sequence[Sequence[NDArray[np.uint8]]], vectors: NDArray[np.float32] | None = None
) -> Descriptors:
    """Describe the images [3, 64, 64] of N items.

    The ``vectors`` [I, F] that a pretrained encoder gives all of them are one more block.
    """
    images = [image for of_item in items for image in of_item]
    blank = torch.zeros(1, 3, DESCRIPTOR_SIZE, DESCRIPTOR_SIZE)
    blocks = tuple(
        np.zeros((len(images), descriptor(blank).shape[1]), np.float32)
        for descriptor in DESCRIPTORS
    )
    small = np.zeros((len(images), 3, patch_dictionary.SIZE, patch_dictionary.SIZE), np.uint8)
    for start in range(0, len(images), _DESCRIBED_TOGETHER):
        part = slice(start, start + _DESCRIBED_TOGETHER)
        scaled = torch.from_numpy(np.stack(images[part])).float() / 255
        for block, descriptor in zip(blocks, DESCRIPTORS, strict=True):
            block[part] = descriptor(scaled).numpy()
        halved = functional.adaptive_avg_pool2d(scaled, patch_dictionary.SIZE)
        small[part] = (halved * 255).round().byte().numpy()
    if vectors is not None:
        blocks = (*blocks, vectors)
    return Descriptors(blocks, small, np.array([len(each) for each in items], np.int64))


class ImageKernel:
    """The sum of Gaussian (RBF) kernels, one on each kind of descriptors, averaged over images.

    The last kind is learned from the catalogue's images: a dictionary of their patches. The
    bandwidths are the median squared distances of images that differ.

    Args:
        blocks: features of the landmarks' images, of each kind a block [J, F]
        counts: how many images each landmark has [M]
        bandwidths: one for each kind
        patches: the dictionary; None if no item has an image
        encoder: makes the vectors that are one kind of the descriptors, if there are such
    """

    def __init__(
        self,
        blocks: Sequence[_Block],
        counts: IntArray,
        bandwidths: Sequence[float],
        patches: PatchDictionary | None,
        encoder: RememberedImages | None = None,
    ) -> None:
        self.encoder = encoder
        self._blocks = [block.astype(np.float64, copy=False) for block in blocks]
        self._squares = [np.square(block).sum(1) for block in self._blocks]
        self._counts = counts
        self._bandwidths = bandwidths
        self._patches = patches
        self._sizes = self._sizes_of(self._blocks, counts)

    @classmethod
    def fit(
        cls,
        images: Descriptors,
        landmarks: Descriptors,
        seed: int = 0,
        encoder: RememberedImages | None = None,
    ) -> ImageKernel:
        """Learn the patches of ``images``, and take the bandwidths from a sample of them.

        An ``encoder`` is the one that made vectors of both.
        """
        patches = None
        count = len(images.small)
        if count:
            patches = PatchDictionary.learn(torch.from_numpy(images.small), seed)
        sampled = np.random.default_rng(seed).permutation(count)[:_BANDWIDTH_SAMPLE]
        sample = Descriptors(
            tuple(block[sampled] for block in images.blocks),
            images.small[sampled],
            np.ones(len(sampled), np.int64),
        )
        bandwidths = [_median_distance(block) for block in _features(sample, patches)]
        if encoder is not None:
            bandwidths[len(DESCRIPTORS)] /= NARROWER
        return cls(_features(landmarks, patches), landmarks.counts, bandwidths, patches, encoder)

    @property
    def reads_several(self) -> bool:
        """Whether any landmark has more than one image."""
        return bool((self._counts > 1).any())

    def select(self, index: IntArray) -> ImageKernel:
        """Return the kernel with some of its landmarks alone."""
        images = _images_of(self._counts, index)
        blocks = [block[images] for block in self._blocks]
        return ImageKernel(
            blocks, self._counts[index], self._bandwidths, self._patches, self.encoder
        )

    def own_rows(self) -> KernelRows:
        """Compare the landmarks with each other: [M, M]."""
        rows = np.zeros((len(self._counts), len(self._counts)), np.float32)
        for items in _parts(self._counts):
            images = _images_of(self._counts, items)
            blocks = [block[images] for block in self._blocks]
            rows[items] = self._compare(blocks, self._counts[items], self._sizes[items])
        return rows

    def rows(self, images: Descriptors) -> KernelRows:
        """Compare N items with the landmarks by their images: [N, M]."""
        rows = np.zeros((len(images.counts), len(self._counts)), np.float32)
        for items in _parts(images.counts):
            part = images.select(items)
            blocks = _features(part, self._patches)
            sizes = self._sizes_of(blocks, part.counts)
            rows[items] = self._compare(blocks, part.counts, sizes)
        return rows

    def _compare(
        self, blocks: Sequence[_Block], counts: IntArray, sizes: NDArray[np.float32]
    ) -> KernelRows:
        """Compare items that have images, ``blocks`` [I, F], with the landmarks: [N, M]."""
        alike = np.zeros((len(blocks[0]), len(self._blocks[0])), np.float32)
        for own, others, squares, bandwidth in zip(
            blocks, self._blocks, self._squares, self._bandwidths, strict=True
        ):
            distances = _squared_distances(own, others, squares)
            distances /= -bandwidth
            alike += np.exp(distances, out=distances)
        pooled = _means(_means(alike, counts).T, self._counts).T
        is_plain = counts.max(initial=1) == 1 and self._counts.max(initial=1) == 1
        return pooled if is_plain else pooled / sizes[:, None] / self._sizes

    def _sizes_of(self, blocks: Sequence[_Block], counts: IntArray) -> NDArray[np.float32]:
        """Return sqrt(k(A, A) / D) of each item's images; 1 with one or none, [N]."""
        sizes = np.ones(len(counts), np.float32)
        starts = np.cumsum(counts) - counts
        for item in np.flatnonzero(counts > 1).tolist():
            own = slice(starts[item], starts[item] + counts[item])
            kinds = [
                np.exp(_distances_within(block[own]) / -h)
                for block, h in zip(blocks, self._bandwidths, strict=True)
            ]
            sizes[item] = np.sqrt(np.mean(kinds))
        return sizes

    def arrays(self) -> Arrays:
        """Return what :meth:`from_arrays` makes the kernel from again."""
        arrays: Arrays = {
            f"{number}.landmarks": block.astype(np.float16)
            for number, block in enumerate(self._blocks)
        }
        if self.encoder is not None:
            arrays["encoder"] = name_of(self.encoder)
        if self._patches is not None:
            arrays["patches.mean"] = self._patches.mean.numpy()
            arrays["patches.whitening"] = self._patches.whitening.numpy()
            arrays["patches.centroids"] = self._patches.centroids.numpy()
        return {**arrays, "counts": self._counts, "bandwidths": np.array(self._bandwidths)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]], folder: Path) -> ImageKernel:
        """Make a kernel from what :meth:`arrays` returned; raises ValueError or KeyError.

        A pretrained encoder is in the model ``folder``.
        """
        counts = arrays["counts"].astype(np.int64)
        if counts.ndim != 1 or counts.min(initial=0) < 0:
            raise ValueError(f"numbers of images are {counts}")
        bandwidths = [float(each) for each in arrays["bandwidths"].tolist()]
        patches = None
        if "patches.mean" in arrays:
            patches = PatchDictionary.checked(
                *(
                    torch.from_numpy(arrays[f"patches.{name}"].astype(np.float32))
                    for name in ("mean", "whitening", "centroids")
                )
            )
        encoder = kept_images(arrays["encoder"], folder) if "encoder" in arrays else None
        none = None if encoder is None else encoder.encode([])
        widths = [block.shape[1] for block in _features(describe([], none), patches)]
        blocks = []
        for number, width in enumerate(widths):
            block = arrays[f"{number}.landmarks"].astype(np.float32)
            if block.shape != (counts.sum(), width):
                raise ValueError(f"descriptors have the shape {block.shape}")
            blocks.append(block)
        if len(bandwidths) != len(blocks) or not all(each > 0 for each in bandwidths):
            raise ValueError(f"bandwidths are {bandwidths}")
        return cls(blocks, counts, bandwidths, patches, encoder)


def _images_of(counts: IntArray, index: IntArray | BoolArray) -> IntArray:
    """Return the numbers of the images of the items at ``index``, of which each has ``counts``."""
    starts = (np.cumsum(counts) - counts)[index]
    own = counts[index]
    before = np.cumsum(own) - own
    images: IntArray = np.repeat(starts - before, own) + np.arange(own.sum())
    return images


def _parts(counts: IntArray) -> list[IntArray]:
    """Return the items that have images, in parts of a few thousand images."""
    items = np.flatnonzero(counts)
    part = np.cumsum(counts[items]) // _COMPARED_TOGETHER
    return [items[part == number] for number in np.unique(part)]


def _means(rows: NDArray[np.float32], counts: IntArray) -> NDArray[np.float32]:
    """Return the means [N, J] of the rows [I, J] of each item; 0 of none."""
    if len(counts) == len(rows) and counts.min(initial=1) == 1:
        return rows
    means = np.zeros((len(counts), rows.shape[1]), np.float32)
    there = np.flatnonzero(counts)
    if len(there):
        starts = (np.cumsum(counts) - counts)[there]
        means[there] = np.add.reduceat(rows, starts, axis=0) / counts[there, None]
    return means


def _features(images: Descriptors, patches: PatchDictionary | None) -> list[NDArray[np.float32]]:
    """Return the features of the images, of each kind a block [I, F]."""
    if patches is None:
        return list(images.blocks)
    return [*images.blocks, patches.describe(torch.from_numpy(images.small)).numpy()]


def _median_distance(features: NDArray[np.float32]) -> float:
    """Return the median squared distance of rows [N, F] that differ; 1 if none do."""
    distances = _distances_within(features)
    # Of equal rows it is not quite zero, for rounding.
    least = _LEAST_DISTANCE * np.square(features).sum(1).max(initial=0)
    apart = distances[distances > least]
    return float(np.median(apart)) if len(apart) else 1.0


def _distances_within(rows: _Block) -> NDArray[np.float32]:
    """Return the squared Euclidean distances [N, N] of rows [N, F] from each other."""
    rows = rows.astype(np.float64, copy=False)
    return _squared_distances(rows, rows, np.square(rows).sum(1))


def _squared_distances(
    one: _Block, other: NDArray[np.float64], squares: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Return squared Euclidean distances [N, M] of rows [N, F] and [M, F].

    ``squares`` [M] are the squared lengths of the latter. What is small is the difference of large
    numbers, which takes double precision (see :mod:`encoders.products`).
    """
    one = one.astype(np.float64, copy=False)
    distances = (torch.from_numpy(one) @ torch.from_numpy(other).T).numpy()
    distances *= -2
    distances += squares
    distances += np.square(one).sum(1)[:, None]
    return np.maximum(distances, 0, out=distances).astype(np.float32)
