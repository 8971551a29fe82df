"""Reading the images of a batch: tokens by an image encoder, and descriptors in the joint model.

Shapes: B items, S pixels per side, G global tokens, P patches, R regions, D the model's width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from encoders.base import ImageEncoder
from encoders.batch import ItemBatch, RegionBatch
from encoders.batch_norm import has_batch_norm, is_synchronised
from encoders.descriptors import ImageDescriptors
from encoders.image import ResidualStem
from encoders.patches import ConvPatches, CropPatches, GlobalToken, LinearPatches
from encoders.regions import RegionEncoder
from encoders.tokens import ModalTokens
from encoders.vision import PretrainedVision, VisionSettings
from encoders.vit import build_vit
from fusion.config import ModelConfig
from fusion.fused import ImageFeatures


class ImageReader(nn.Module):
    """Base class: a module from the images of a batch to their features.

    ``patch_size`` is a patch's side in pixels, or 0 if the model reads no pixels, which it could
    then predict.
    """

    patch_size: int = 0

    def forward(self, batch: ItemBatch) -> ImageFeatures | None:
        """Encode the images of B items, with tokens [B, G + P, D]; None if no item has an image."""
        raise NotImplementedError

    def masked_tokens(self, batch: ItemBatch, vector: Tensor) -> Tensor:
        """Return the tokens of patches or regions whose content is replaced by ``vector`` [D].

        [P, D], or [B, R, D] for the regions of a batch. Each keeps its position, or its box.
        """
        raise NotImplementedError

    def patch_positions(self, patch: Tensor) -> Tensor:
        """Return the position embeddings [M, D] of the patches with index ``patch`` [M].

        Raises TypeError if there are no position embeddings.
        """
        raise TypeError(f"{type(self).__name__} has no position embeddings of patches")


class NoImages(ImageReader):
    """The reader of a model of titles and statements alone, which ignores all images."""

    def forward(self, batch: ItemBatch) -> ImageFeatures | None:
        """Return None, whether or not any of the B items has pixels [B, 3, S, S]."""
        return None


class RegionImages(ImageReader):
    """A reader of regions that a detector found.

    Args:
        encoder: embeds regions, or passes them on to a model that does
    """

    def __init__(self, encoder: RegionEncoder | JoinedRegions) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, batch: ItemBatch) -> ImageFeatures | None:
        """Encode the regions as tokens [B, R, D]; None if no item has a region."""
        regions = batch.regions
        # Regions are padded to the longest image of the batch: to none if no image has any.
        if regions is None or not regions.mask.shape[1]:
            return None
        encoded: ModalTokens = self.encoder(regions)
        tokens = ModalTokens(encoded.hidden * encoded.mask[..., None], encoded.mask, regions.limit)
        return ImageFeatures(
            tokens=tokens,
            descriptor=tokens.hidden.new_zeros(len(batch), 0, dtype=torch.float32),
            described=tokens.mask.any(1),
            global_tokens=0,
        )

    def masked_tokens(self, batch: ItemBatch, vector: Tensor) -> Tensor:
        """Return the tokens [B, R, D] of regions without features, which keep their boxes."""
        if batch.regions is None:
            raise ValueError("a batch without regions has none to mask")
        return self.encoder.masked_tokens(batch.regions, vector)


class JoinedRegions(nn.Module):
    """Regions as they are, for models that embed regions themselves."""

    def masked_tokens(self, regions: RegionBatch, vector: Tensor) -> Tensor:
        """Return tokens [B, R, F + 4] of zeros and boxes, as LXMERT masks regions.

        These models have no mask vector of their own, so ``vector`` [D] is not used.
        """
        return torch.cat([torch.zeros_like(regions.features), regions.boxes], -1)

    def forward(self, regions: RegionBatch) -> ModalTokens:
        """Join features and boxes to tokens [B, R, F + 4]."""
        return ModalTokens(torch.cat([regions.features, regions.boxes], -1), regions.mask)


class PixelImages(ImageReader):
    """A reader of pixels. Items without an image are masked and cost nothing.

    Args:
        encoder: the image encoder
        descriptors: fixed descriptors to compute as well
    """

    def __init__(self, encoder: ImageEncoder, descriptors: ImageDescriptors | None = None) -> None:
        super().__init__()
        self.encoder = encoder
        self.descriptors = descriptors
        self.has_batch_norm = has_batch_norm(self)
        self.patch_size = encoder.patch_size

    def forward(self, batch: ItemBatch) -> ImageFeatures | None:
        """Encode the images [B, 3, S, S], with tokens [B, G + P, D]; None if no item has one."""
        pixels = batch.pixels
        has_image = batch.has_image
        count = batch.image_count
        # Other processes may have images, and batch norm waits for the statistics of this one.
        joins_others = self.training and is_synchronised(self)
        if pixels is None or not (count or joins_others):
            return None

        rows = batch.image_rows[:count]
        # The statistics of batch norm would count the repeated rows twice.
        once = self.training and self.has_batch_norm
        images = pixels.index_select(0, rows if once else batch.image_rows)
        encoded: ModalTokens = self.encoder(images)
        tokens = _spread(encoded.hidden[:count], rows, len(has_image))
        descriptor = _spread(self._describe(images)[:count], rows, len(has_image))
        mask = has_image[:, None].expand(tokens.shape[:2])
        return ImageFeatures(
            tokens=ModalTokens(tokens, mask, count * tokens.shape[1]),
            descriptor=descriptor,
            described=has_image,
            global_tokens=self.encoder.global_tokens,
        )

    def masked_tokens(self, batch: ItemBatch, vector: Tensor) -> Tensor:
        """Return the tokens [P, D] of patches whose content is replaced by ``vector`` [D]."""
        return self.encoder.masked_tokens(vector)

    def patch_positions(self, patch: Tensor) -> Tensor:
        """Return the position embeddings [M, D] of the patches with index ``patch`` [M].

        Raises TypeError if the encoder has none of its own.
        """
        return self.encoder.patch_positions(patch)

    def _describe(self, pixels: Tensor) -> Tensor:
        if self.descriptors is None:
            return pixels.new_zeros(len(pixels), 0, dtype=torch.float32)
        with torch.autocast(pixels.device.type, enabled=False):
            return self.descriptors(pixels)


def _spread(values: Tensor, rows: Tensor, count: int) -> Tensor:
    """Put ``values`` [M, ...] into the given ``rows`` [M] of ``count`` rows, zero elsewhere."""
    return values.new_zeros(count, *values.shape[1:]).index_copy(0, rows, values)


def build_image_reader(
    config: ModelConfig, descriptors: ImageDescriptors | None = None
) -> ImageReader:
    """Build the reader that ``config.image_encoder`` names; ``descriptors`` go with pixels only."""
    match config.image_encoder:
        case "none":
            return NoImages()
        case "regions":
            return RegionImages(RegionEncoder(config.dim, config.region_width))
        case _:
            return PixelImages(build_image_encoder(config), descriptors)


def build_image_encoder(config: ModelConfig) -> ImageEncoder:
    """Build the encoder of pixels that ``config.image_encoder`` names.

    ``patches`` are MBSD's convolutions, one per kernel; with a single kernel they are VT-BERT's
    linear map.
    """
    match config.image_encoder:
        case "stem":
            return ResidualStem(
                config.dim,
                size=config.image_size,
                channels=config.stem_channels,
                grid=config.image_grid,
            )
        case "crops":
            network = ResidualStem(
                config.dim,
                size=config.image_size // config.image_grid,
                channels=config.stem_channels,
                grid=1,
            )
            return CropPatches(
                GlobalToken(network),
                config.dim,
                size=config.image_size,
                grid=config.image_grid,
            )
        case "vit":
            return build_vit(
                width=config.vit_dim,
                layers=config.vit_layers,
                heads=config.vit_heads,
                image_size=config.image_size,
                patch_size=config.patch_kernels[0],
                dim=config.dim,
                frozen=config.frozen_image,
            )
        case "vision":
            return PretrainedVision(
                VisionSettings.from_json(config.vision), config.dim, config.frozen_image
            )
        case _ if len(config.patch_kernels) == 1:
            return LinearPatches(config.dim, size=config.image_size, patch=config.patch_kernels[0])
        case _:
            return ConvPatches(
                config.dim,
                size=config.image_size,
                kernels=config.patch_kernels,
                channels=config.stem_channels,
            )
