"""Items from outside to batches: any subset of title, image and known statements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from encoders.batch import ItemBatch, text_tensors
from encoders.regions import Regions, pad_regions
from encoders.tokenizer import CatalogTokenizer
from fusion.config import ModelConfig
from schema.errors import ModelError
from schema.modalities import CONTENT_MODALITIES, Modality

Pixels = NDArray[np.uint8]
PixelReader = Callable[[Path, int], Pixels | None]
PropertyValue = tuple[str, str]
"""A statement about an item that is clear from the context: (property, value)."""


@dataclass(frozen=True)
class ItemInput:
    """An item as a model reads it; each modality may be missing.

    ``image`` is a path, pixels [3, S, S] uint8, or the regions that an object detector found in it;
    ``known`` holds the item's statements.
    """

    id: str
    title: str | None = None
    image: str | Path | Pixels | Regions | None = None
    known: tuple[PropertyValue, ...] = ()

    def has(self, modality: Modality) -> bool:
        """Return whether the item has this modality; an empty title counts as missing."""
        match modality:
            case Modality.TITLE:
                return bool(self.title)
            case Modality.IMAGE:
                return self.image is not None
            case Modality.STATEMENTS:
                return bool(self.known)

    def without(self, modality: Modality) -> ItemInput:
        """Return the same item with this modality missing."""
        match modality:
            case Modality.TITLE:
                return replace(self, title=None)
            case Modality.IMAGE:
                return replace(self, image=None)
            case Modality.STATEMENTS:
                return replace(self, known=())

    def content_modalities(self) -> tuple[Modality, ...]:
        """Return the modalities that the item has, other than its statements."""
        return tuple(each for each in CONTENT_MODALITIES if self.has(each))


class Featurizer:
    """Turns :class:`ItemInput` into :class:`ItemBatch`; ``read_pixels`` opens an image at a size, or gives None where it cannot."""

    def __init__(
        self,
        tokenizer: CatalogTokenizer,
        config: ModelConfig,
        read_pixels: PixelReader | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.config = config
        self.read_pixels = read_pixels

    def batch(self, items: Sequence[ItemInput]) -> ItemBatch:
        """B items as tensors."""
        words = [self.tokenizer.words(item.title) if item.title else [] for item in items]
        pieces, grams, offsets = text_tensors(self.tokenizer, words, self.config.max_title)
        if self.config.image_encoder == "regions":
            found = [item.image if isinstance(item.image, Regions) else None for item in items]
            regions = pad_regions(found, self.config.max_regions, self.config.region_width)
            return ItemBatch(pieces, grams, offsets, None, regions.mask.any(1), regions)
        images = [self._pixels(item.image) for item in items]
        present = torch.tensor([image is not None for image in images], dtype=torch.bool)
        if not present.any():
            return ItemBatch(pieces, grams, offsets, None, present)
        size = self.config.image_size
        stacked = np.zeros((len(items), 3, size, size), dtype=np.uint8)
        for row, image in enumerate(images):
            if image is not None:
                stacked[row] = image
        return ItemBatch(pieces, grams, offsets, torch.from_numpy(stacked), present)

    def _pixels(self, image: Any) -> Pixels | None:
        if image is None or isinstance(image, Regions) or self.config.image_encoder == "none":
            return None
        size = self.config.image_size
        if isinstance(image, np.ndarray):
            if image.shape != (3, size, size):
                raise ModelError(
                    f"pixels of shape {image.shape} do not fit the model's (3, {size}, {size}): resize the image first"
                )
            return image
        if self.read_pixels is None:
            raise ModelError(
                f"no reader for the image {image}: give pixels, or load the scorer with read_pixels"
            )
        return self.read_pixels(Path(image), size)
