"""Items from outside the training data, with any subset of what may be known, and as batches.

Shapes: B items, S pixels per side.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from encoders.batch import ItemBatch, title_tensors
from encoders.regions import Regions, pad_regions
from encoders.tokenizer import CatalogTokenizer
from fusion.config import ModelConfig
from schema.errors import ModelError
from schema.modalities import CONTENT_MODALITIES, Modality

Pixels = NDArray[np.uint8]
"""An image [3, S, S]."""

PixelReader = Callable[[Path, int], Pixels | None]
"""Reads an image file at a size in pixels per side; None if it cannot be read."""


class LazyImage(ABC):
    """An image that is read when it is needed."""

    @abstractmethod
    def pixels(self, size: int) -> Pixels | None:
        """Read the image as [3, size, size]; None if it cannot be read."""


PropertyValue = tuple[str, str]
"""A statement about an item that is clear from the context: (property, value)."""


ItemImage = str | Path | Pixels | LazyImage | Regions | None


@dataclass(frozen=True)
class ItemInput:
    """An item as a model reads it. Each modality may be missing.

    Attributes:
        id: the item's id
        title: its title, or None
        image: a path, pixels, something that reads them, a detector's regions, or None
        known: its known statements
        description: a longer text about it, or None
        category: the levels of its category, the broadest first
        more_images: its images behind the first one
    """

    id: str
    title: str | None = None
    image: ItemImage = None
    known: tuple[PropertyValue, ...] = ()
    description: str | None = None
    category: tuple[str, ...] = ()
    more_images: tuple[ItemImage, ...] = ()

    @property
    def images(self) -> tuple[ItemImage, ...]:
        """All of its images, the first one first; none if it lacks that."""
        return () if self.image is None else (self.image, *self.more_images)

    def has(self, modality: Modality) -> bool:
        """Return whether the item has this modality; an empty text counts as missing."""
        match modality:
            case Modality.TITLE:
                return bool(self.title)
            case Modality.DESCRIPTION:
                return bool(self.description)
            case Modality.CATEGORY:
                return bool(self.category)
            case Modality.IMAGE:
                return self.image is not None
            case Modality.STATEMENTS:
                return bool(self.known)

    def without(self, modality: Modality) -> ItemInput:
        """Return the same item with this modality missing."""
        match modality:
            case Modality.TITLE:
                return replace(self, title=None)
            case Modality.DESCRIPTION:
                return replace(self, description=None)
            case Modality.CATEGORY:
                return replace(self, category=())
            case Modality.IMAGE:
                return replace(self, image=None, more_images=())
            case Modality.STATEMENTS:
                return replace(self, known=())

    def content_modalities(
        self, read: Collection[Modality] = CONTENT_MODALITIES
    ) -> tuple[Modality, ...]:
        """Return those of the modalities ``read`` that the item has, other than its statements."""
        return tuple(each for each in CONTENT_MODALITIES if each in read and self.has(each))


class Featurizer:
    """Turns titles and first images of :class:`ItemInput` into :class:`ItemBatch`.

    Args:
        tokenizer: the model's tokenizer
        config: the model's configuration
        read_pixels: reads images that are given as paths
    """

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
        """Return B items as tensors.

        Raises ModelError if pixels have the wrong shape, or if an image is given by its path and
        there is no reader.
        """
        words = [self.tokenizer.words(item.title) if item.title else [] for item in items]
        titles = title_tensors(self.tokenizer, words, self.config.max_title)
        pixels = None
        regions = None
        if self.config.image_encoder == "regions":
            detected = [item.image if isinstance(item.image, Regions) else None for item in items]
            regions = pad_regions(detected, self.config.max_regions, self.config.region_width)
            has_image = regions.mask.any(1)
        else:
            images = [self._pixels(item.image) for item in items]
            has_image = torch.tensor([image is not None for image in images], dtype=torch.bool)
            if has_image.any():
                pixels = self._stack(images)
        return ItemBatch.of(titles, pixels, has_image, regions)

    def _stack(self, images: Sequence[Pixels | None]) -> torch.Tensor:
        """Stack images as [B, 3, S, S]; a missing one is black, and masked by ``has_image``."""
        size = self.config.image_size
        stacked = np.zeros((len(images), 3, size, size), dtype=np.uint8)
        for row, image in enumerate(images):
            if image is not None:
                stacked[row] = image
        return torch.from_numpy(stacked)

    def _pixels(self, image: ItemImage) -> Pixels | None:
        if image is None or isinstance(image, Regions) or self.config.image_encoder == "none":
            return None
        size = self.config.image_size
        if isinstance(image, np.ndarray):
            if image.shape != (3, size, size):
                raise ModelError(
                    f"pixels of shape {image.shape} do not fit the model's (3, {size}, {size}): "
                    "resize the image first"
                )
            return image
        if isinstance(image, LazyImage):
            return image.pixels(size)
        if self.read_pixels is None:
            raise ModelError(
                f"no reader for the image {image}: give pixels, or load the scorer with read_pixels"
            )
        return self.read_pixels(Path(image), size)
