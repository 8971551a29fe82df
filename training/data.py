"""The snapshot as the model sees it: words of titles, candidates of statements, images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from encoders.batch import RegionBatch
from encoders.regions import RegionFiles, pad_regions
from encoders.tokenizer import CatalogTokenizer
from fusion.build import candidates
from schema.ontology import Ontology
from schema.wording import blind_title, value_words

if TYPE_CHECKING:
    from kg.image_cache import ImageCache
    from kg.snapshot import GraphSnapshot


@dataclass(frozen=True)
class TrainingData:
    """I items ready for batches.

    - ``words``, ``blind``: each title's words, whole and without value words; empty where there is none
    - ``indptr`` [I + 1], ``property`` [N], ``candidate`` [N]: known statements in CSR form; unknown values are left out
    - ``ranges`` [P + 1]: where each property's candidates begin
    - ``category`` [I]: a number each, items without one sharing theirs
    """

    items: list[str]
    words: list[list[str]]
    blind: list[list[str]]
    indptr: np.ndarray
    property: np.ndarray
    candidate: np.ndarray
    ranges: np.ndarray
    images: ImageCache
    category: np.ndarray
    regions: ItemRegions | None = None

    def item_images(self, index: np.ndarray) -> ItemImages:
        """The images of items ``index`` [B]: a detector's regions where the model reads those, else pixels."""
        if self.regions is not None:
            found = self.regions.batch([self.items[i] for i in index])
            return ItemImages(None, found.mask.any(1), found)
        present = self.images.present[index]
        pixels = torch.from_numpy(self.images.pixels(index)) if present.any() else None
        return ItemImages(pixels, torch.from_numpy(present), None)


class ItemImages(NamedTuple):
    """B items' images, the last fields of an :class:`encoders.batch.ItemBatch`: pixels, which are there [B], regions."""

    pixels: torch.Tensor | None
    has_image: torch.Tensor
    regions: RegionBatch | None


@dataclass(frozen=True)
class ItemRegions:
    """Regions of items by ``files``, ``most`` an image, ``width`` features each, with their ``classes`` where that is above 0."""

    files: RegionFiles
    most: int
    width: int
    classes: int = 0

    def batch(self, items: Sequence[str]) -> RegionBatch:
        """The regions [B, R] of items by their ids."""
        return pad_regions(
            [self.files.read(item) for item in items], self.most, self.width, self.classes
        )


def candidate_numbers(snapshot: GraphSnapshot, ontology: Ontology) -> np.ndarray:
    """The candidate (property-specific value) of every triple [N]; -1 where the ontology does not have it."""
    numbers = {pair: number for number, pair in enumerate(candidates(ontology)[1])}
    width = max(1, len(snapshot.values))
    pairs, inverse = np.unique(
        snapshot.triples[:, 1] * width + snapshot.triples[:, 2], return_inverse=True
    )
    found = [
        numbers.get((snapshot.properties[pair // width], snapshot.values[pair % width]), -1)
        for pair in pairs.tolist()
    ]
    return np.asarray(found, dtype=np.int64)[inverse] if len(pairs) else np.zeros(0, np.int64)


def prepare(
    snapshot: GraphSnapshot, ontology: Ontology, tokenizer: CatalogTokenizer, images: ImageCache
) -> TrainingData:
    """Words, candidates and images of a snapshot."""
    giveaways = value_words(value for spec in ontology.properties.values() for value in spec.values)
    words = [tokenizer.words(title) if title else [] for title in snapshot.titles]
    blinded = [blind_title(title, giveaways) if title else None for title in snapshot.titles]
    candidate = candidate_numbers(snapshot, ontology)
    kept = candidate >= 0
    ranges = np.cumsum([0] + [len(spec.values) for spec in ontology.properties.values()])
    counts = np.bincount(snapshot.triples[kept, 0], minlength=len(snapshot.items))
    return TrainingData(
        items=snapshot.items,
        words=words,
        blind=[tokenizer.words(title) if title else [] for title in blinded],
        indptr=np.concatenate([[0], counts.cumsum()]).astype(np.int64),
        property=(np.searchsorted(ranges, candidate[kept], side="right") - 1).astype(np.int64),
        candidate=candidate[kept],
        ranges=ranges.astype(np.int64),
        images=images,
        category=np.unique(
            [category or "" for category in snapshot.categories], return_inverse=True
        )[1].astype(np.int64),
    )
