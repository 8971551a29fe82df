"""The snapshot in the form that batches are built from: words, candidates, images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoders.batch import RegionBatch
from encoders.regions import RegionFiles, pad_regions
from encoders.tokenizer import CatalogTokenizer
from fusion.build import first_candidates
from schema.arrays import FloatArray, IntArray
from schema.errors import TrainingError
from schema.ontology import Ontology
from schema.wording import blind_title, value_words
from training.augment import augmented_images

if TYPE_CHECKING:
    from kg.image_cache import ImageCache
    from kg.snapshot import GraphSnapshot
    from training.titles import TitleTable


@dataclass(frozen=True)
class ItemImages:
    """Images of B items: ``pixels`` [B, 3, S, S] or ``regions`` [B, R], and ``has_image`` [B]."""

    pixels: Tensor | None
    has_image: Tensor
    regions: RegionBatch | None = None


@dataclass(frozen=True)
class ItemRegions:
    """The regions that an object detector found in the items' images, read from ``files``.

    At most ``max_regions`` per image are used. Each has ``width`` features and ``classes`` class
    probabilities (0 if there are none).
    """

    files: RegionFiles
    max_regions: int
    width: int
    classes: int = 0

    def batch(self, items: Sequence[str]) -> RegionBatch:
        """Read the regions [B, R] of items by their ids."""
        regions = [self.files.read(item) for item in items]
        return pad_regions(regions, self.max_regions, self.width, self.classes)


@dataclass(frozen=True)
class Shifts:
    """How B images are shifted, by up to ``limit`` pixels, and mirrored.

    ``uniform`` [B, 3] are the random numbers of :func:`training.augment.augmented_images`.
    """

    limit: int
    uniform: FloatArray


@dataclass(frozen=True)
class TrainingData:
    """The data of I items, from which batches are built.

    - ``words``, ``blind``: the words of each title, with and without the words of values; empty
      for an item without a title
    - ``indptr`` [I + 1], ``property`` [N], ``candidate`` [N]: statements in CSR form, by item;
      a candidate is a value of one property. Values that the ontology lacks are left out.
    - ``ranges`` [P + 1]: where the candidates of each property begin
    - ``images``: the pixels of all images, memory-mapped
    - ``category`` [I]: the number of each item's category; items without one share a number
    - ``titles``: the words by their numbers, if that was made already

    All that grows with the catalogue may be memory-mapped.
    """

    items: Sequence[str]
    words: Sequence[Sequence[str]]
    blind: Sequence[Sequence[str]]
    indptr: IntArray
    property: IntArray | NDArray[np.int32]
    candidate: IntArray
    ranges: IntArray
    images: ImageCache
    category: IntArray
    regions: ItemRegions | None = None
    titles: TitleTable | None = None

    def item_images(self, index: IntArray, shifts: Shifts | None = None) -> ItemImages:
        """Read the images of items ``index`` [B]: a detector's regions if there are, or pixels.

        Pixels are shifted and mirrored if ``shifts`` are given.
        """
        if self.regions is not None:
            regions = self.regions.batch([self.items[i] for i in index])
            return ItemImages(None, regions.mask.any(1), regions)
        present = self.images.present[index]
        # A batch without images still has pixels, all black: batch norm reads them in step with the
        # other processes, whose batches may have some.
        has_pixels = self.images.has_pixels
        pixels = None
        if has_pixels and shifts is None:
            pixels = torch.from_numpy(self.images.pixels(index))
        elif has_pixels and shifts is not None:
            pixels = augmented_images(self.images.array, index, shifts.limit, shifts.uniform)
        return ItemImages(pixels, torch.from_numpy(present))


def empty_train_split(items: int) -> TrainingError:
    """Return the error that none of a home's items is to be learned from."""
    return TrainingError(
        f"none of this home's {items} items is in the train split: "
        "ingest more items, or choose another --split file"
    )


def candidate_ranges(ontology: Ontology) -> IntArray:
    """Return where the candidates of each property begin [P + 1]."""
    sizes = [len(spec.values) for spec in ontology.properties.values()]
    return np.cumsum([0, *sizes]).astype(np.int64)


def candidates_of(pairs: Sequence[tuple[str, str]], ontology: Ontology) -> IntArray:
    """Return the candidate of each pair of property and value [D]; -1 if the ontology lacks it."""
    firsts = first_candidates(ontology)
    found = []
    for name, value in pairs:
        position = ontology.position(name, value)
        found.append(-1 if position is None else firsts[name] + position)
    return np.asarray(found, dtype=np.int64)


def candidate_numbers(snapshot: GraphSnapshot, ontology: Ontology) -> IntArray:
    """Return the candidate of every triple [N]; -1 if the ontology does not have the value."""
    if not len(snapshot.triples):
        return np.zeros(0, np.int64)
    # Distinct pairs of property and value are few; each is looked up once.
    width = max(1, len(snapshot.values))
    keys = snapshot.triples[:, 1] * width + snapshot.triples[:, 2]
    distinct, inverse = np.unique(keys, return_inverse=True)
    pairs = [
        (snapshot.properties[key // width], snapshot.values[key % width])
        for key in distinct.tolist()
    ]
    return candidates_of(pairs, ontology)[inverse]


def revealing_words(ontology: Ontology) -> frozenset[str]:
    """Return the words of the values that are learned: a blind title has none of them."""
    specs = ontology.properties.values()
    return value_words(text for spec in specs if spec.is_learned for text in spec.texts())


def prepare(
    snapshot: GraphSnapshot,
    ontology: Ontology,
    tokenizer: CatalogTokenizer,
    images: ImageCache,
) -> TrainingData:
    """Convert a snapshot to training data in memory.

    A training reads the same from files, by :func:`training.mapped_data.map_data`.
    """
    revealing = revealing_words(ontology)
    blinded = [blind_title(title, revealing) if title else None for title in snapshot.titles]
    candidate = candidate_numbers(snapshot, ontology)
    # The ontology lacks values that only held-out items have: there is nothing to predict them by.
    kept = candidate >= 0
    ranges = candidate_ranges(ontology)
    counts = np.bincount(snapshot.triples[kept, 0], minlength=len(snapshot.items))
    categories = [category or "" for category in snapshot.categories]
    _, category_number = np.unique(categories, return_inverse=True)
    return TrainingData(
        items=snapshot.items,
        words=[tokenizer.words(title) if title else [] for title in snapshot.titles],
        blind=[tokenizer.words(title) if title else [] for title in blinded],
        indptr=np.concatenate([[0], counts.cumsum()]).astype(np.int64),
        property=(np.searchsorted(ranges, candidate[kept], side="right") - 1).astype(np.int64),
        candidate=candidate[kept],
        ranges=ranges,
        images=images,
        category=category_number.astype(np.int64),
    )
