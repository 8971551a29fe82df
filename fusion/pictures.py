"""The pictures of a batch, those that are there: tokens by an encoder, and descriptors where the model has some."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from encoders.batch import rounded
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


class Pictures(nn.Module):
    """Reads the pictures that are there and leaves the other items masked."""

    def __init__(self, encoder: PictureEncoder, descriptors: ImageDescriptors | None = None) -> None:
        super().__init__()
        self.encoder, self.descriptors = encoder, descriptors

    def forward(self, pixels: Tensor | None, has_image: Tensor) -> ImageParts | None:
        """``pixels`` [B, 3, S, S] uint8, ``has_image`` [B] to parts over all B items; None where no item has a picture."""
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

    def _describe(self, pixels: Tensor) -> Tensor:
        if self.descriptors is None:
            return pixels.new_zeros(len(pixels), 0, dtype=torch.float32)
        with torch.autocast(pixels.device.type, enabled=False):
            return self.descriptors(pixels)
