"""The images of a batch, those that are there: tokens by an encoder, and descriptors where the model has some."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from encoders.batch import ItemBatch, RegionBatch, rounded
from encoders.descriptors import ImageDescriptors
from encoders.image import ResidualStem
from encoders.patches import ConvPatches, CropPatches, GlobalOnly, LinearPatches
from encoders.regions import RegionEncoder
from encoders.tokens import ModalTokens
from encoders.vit import vit_from_numbers
from fusion.config import ModelConfig
from fusion.fused import ImageParts


class ImageEncoder(Protocol):
    """A module that reads images: ``global_tokens`` tokens first, then those of ``grid`` x ``grid`` patches."""

    grid: int
    size_of_patch: int
    global_tokens: int

    def __call__(self, pixels: Tensor) -> ModalTokens:
        """``pixels`` [B, 3, S, S] uint8 to tokens [B, L, D]."""


class ImageReader(nn.Module):
    """Base class: a module from a batch's images to their parts.

    ``size_of_patch`` is a patch's side in pixels, 0 if the model reads no pixels that it could predict.
    """

    size_of_patch: int = 0

    def forward(self, batch: ItemBatch) -> ImageParts | None:
        """Parts of the images of all B items, tokens [B, P, D]; None if no item has an image."""
        raise NotImplementedError

    def patch_positions(self, place: Tensor) -> Tensor:
        """Position embeddings [M, D] of patches at ``place`` [M]; raises TypeError if there are none."""
        raise TypeError(f"{type(self).__name__} has no position embeddings of patches")


class NoImages(ImageReader):
    """A model of titles and statements alone."""

    def forward(self, batch: ItemBatch) -> ImageParts | None:
        """None, whatever images [B, 3, S, S] the items have."""
        return None


class RegionImages(ImageReader):
    """Reads a detector's regions by ``encoder``, a module from :class:`encoders.batch.RegionBatch` to tokens."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, batch: ItemBatch) -> ImageParts | None:
        """Region tokens [B, R, D] of the items; None where no item has a region."""
        regions = batch.regions
        if regions is None or not regions.mask.any():
            return None
        tokens: ModalTokens = self.encoder(regions)
        tokens = ModalTokens(tokens.hidden * tokens.mask[..., None], tokens.mask)
        descriptor = tokens.hidden.new_zeros(len(batch), 0, dtype=torch.float32)
        return ImageParts(tokens, descriptor, tokens.mask.any(1), global_tokens=0)


class JoinedRegions(nn.Module):
    """Regions as they are, features beside the box: what models with a visual embedding of their own take."""

    def forward(self, regions: RegionBatch) -> ModalTokens:
        """Regions to tokens [B, R, F + 4]."""
        return ModalTokens(torch.cat([regions.features, regions.boxes], -1), regions.mask)


class PixelImages(ImageReader):
    """Reads the images that are there and leaves the other items masked."""

    def __init__(self, encoder: ImageEncoder, descriptors: ImageDescriptors | None = None) -> None:
        super().__init__()
        self.encoder = encoder
        self.descriptors = descriptors
        self.size_of_patch = encoder.size_of_patch

    def forward(self, batch: ItemBatch) -> ImageParts | None:
        """Parts of the images [B, 3, S, S] over all B items; None where no item has one."""
        pixels = batch.pixels
        has_image = batch.has_image
        rows = has_image.nonzero()[:, 0]
        # Batch norm cannot learn from one image, so a training step takes it for absent.
        if pixels is None or rows.numel() < (2 if self.training else 1):
            return None
        count = rows.numel()
        # Some images twice make up a round number, since a CPU prepares its convolutions anew for each shape.
        shown = pixels[torch.cat([rows, rows[: min(count, rounded(count, 8) - count)]])]
        tokens = self.encoder(shown).hidden[:count]
        hidden = tokens.new_zeros(len(has_image), *tokens.shape[1:]).index_copy(0, rows, tokens)
        described = self._describe(shown)[:count]
        descriptor = described.new_zeros(len(has_image), described.shape[1]).index_copy(
            0, rows, described
        )
        mask = has_image[:, None].expand(hidden.shape[:2])
        return ImageParts(
            ModalTokens(hidden, mask), descriptor, has_image, self.encoder.global_tokens
        )

    def patch_positions(self, place: Tensor) -> Tensor:
        """The position embeddings [M, D] of patches at ``place`` [M]; raises TypeError where the encoder keeps them to itself."""
        positions = getattr(self.encoder, "positions", None)
        if not isinstance(positions, Tensor):
            raise TypeError(f"{type(self.encoder).__name__} has no position embeddings of patches")
        return positions.index_select(0, place + self.encoder.global_tokens)

    def _describe(self, pixels: Tensor) -> Tensor:
        if self.descriptors is None:
            return pixels.new_zeros(len(pixels), 0, dtype=torch.float32)
        with torch.autocast(pixels.device.type, enabled=False):
            return self.descriptors(pixels)


def image_reader(config: ModelConfig, descriptors: ImageDescriptors | None = None) -> ImageReader:
    """What reads images or a detector's regions, with the joint model's ``descriptors`` or without."""
    match config.image_encoder:
        case "none":
            return NoImages()
        case "regions":
            return RegionImages(RegionEncoder(config.dim, config.region_width))
        case _:
            return PixelImages(image_encoder(config), descriptors)


def image_encoder(config: ModelConfig) -> ImageEncoder:
    """A stem, patches (by as many convolutions as there are kernels: one is VT-BERT's linear map), crops, or a vision transformer."""
    size = config.image_size
    kernels = config.patch_kernels
    match config.image_encoder:
        case "stem":
            return ResidualStem(config.dim, size, config.stem_channels, config.image_grid)
        case "crops":
            network = GlobalOnly(
                ResidualStem(config.dim, size // config.image_grid, config.stem_channels, 1)
            )
            return CropPatches(network, config.dim, size, config.image_grid)
        case "vit":
            return vit_from_numbers(
                (config.vit_dim, config.vit_layers, config.vit_heads),
                size,
                kernels[0],
                config.dim,
                config.frozen_image,
            )
        case _ if len(kernels) == 1:
            return LinearPatches(config.dim, size, kernels[0])
        case _:
            return ConvPatches(config.dim, size, kernels, config.stem_channels)
