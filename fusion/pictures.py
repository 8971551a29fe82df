"""The pictures of a batch, those that are there: tokens by an encoder, and descriptors where the model has some."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from encoders.batch import ItemBatch, RegionBatch, rounded
from encoders.descriptors import ImageDescriptors
from encoders.tokens import ModalTokens
from fusion.fused import ImageParts


class PictureEncoder(Protocol):
    """A module that reads pictures: ``global_tokens`` tokens first, then those of ``grid`` x ``grid`` patches."""

    grid: int
    size_of_patch: int
    global_tokens: int

    def __call__(self, pixels: Tensor) -> ModalTokens:
        """``pixels`` [B, 3, S, S] uint8 to tokens [B, L, D]."""


class PictureReader(Protocol):
    """A module from a batch's pictures to their parts; ``size_of_patch`` is 0 where it reads no pixels that could be predicted."""

    size_of_patch: int

    def __call__(self, batch: ItemBatch) -> ImageParts | None:
        """Parts over all B items; None where no item has a picture."""

    def patch_positions(self, place: Tensor) -> Tensor:
        """The position embeddings [M, D] of patches at ``place`` [M]; raises TypeError where there are none."""


class NoPictures(nn.Module):
    """A model of titles and statements alone."""

    size_of_patch = 0

    def forward(self, batch: ItemBatch) -> ImageParts | None:
        """None, whatever pictures [B, 3, S, S] the items have."""
        return None

    def patch_positions(self, place: Tensor) -> Tensor:
        """Raises TypeError."""
        raise TypeError("a model without pictures has no patch")


class RegionPictures(nn.Module):
    """Reads a detector's regions by ``encoder``, a module from :class:`encoders.batch.RegionBatch` to tokens."""

    size_of_patch = 0

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

    def patch_positions(self, place: Tensor) -> Tensor:
        """Raises TypeError: a region has a box, not one of a few places."""
        raise TypeError("regions have no position embeddings")


class JoinedRegions(nn.Module):
    """Regions as they are, features beside the box: what models with a visual embedding of their own take."""

    def forward(self, regions: RegionBatch) -> ModalTokens:
        """Regions to tokens [B, R, F + 4]."""
        return ModalTokens(torch.cat([regions.features, regions.boxes], -1), regions.mask)


class Pictures(nn.Module):
    """Reads the pictures that are there and leaves the other items masked."""

    def __init__(self, encoder: PictureEncoder, descriptors: ImageDescriptors | None = None) -> None:
        super().__init__()
        self.encoder, self.descriptors = encoder, descriptors
        self.size_of_patch = encoder.size_of_patch

    def forward(self, batch: ItemBatch) -> ImageParts | None:
        """Parts of the pictures [B, 3, S, S] over all B items; None where no item has one."""
        pixels, has_image = batch.pixels, batch.has_image
        rows = has_image.nonzero()[:, 0]
        # Batch norm cannot learn from one picture, so a training step takes it for absent.
        if pixels is None or rows.numel() < (2 if self.training else 1):
            return None
        count = rows.numel()
        # Some pictures twice make up a round number, since a CPU prepares its convolutions anew for each shape.
        shown = pixels[torch.cat([rows, rows[: min(count, rounded(count, 8) - count)]])]
        tokens = self.encoder(shown).hidden[:count]
        hidden = tokens.new_zeros(len(has_image), *tokens.shape[1:]).index_copy(0, rows, tokens)
        described = self._describe(shown)[:count]
        descriptor = described.new_zeros(len(has_image), described.shape[1]).index_copy(0, rows, described)
        mask = has_image[:, None].expand(hidden.shape[:2])
        return ImageParts(ModalTokens(hidden, mask), descriptor, has_image, self.encoder.global_tokens)

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
