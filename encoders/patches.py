"""Images cut into patches that do not overlap: MBSD's convolutions, VT-BERT's linear map, FashionBERT's crops.

A convolution whose stride is its kernel is a matrix product over cut-up pixels, and is computed as one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from encoders.image import normalise
from encoders.tokens import ModalTokens


def cut(grid: Tensor, patch: int) -> Tensor:
    """Group ``patch`` x ``patch`` neighbours: [B, H, W, C] to [B, H/patch, W/patch, patch*patch*C]."""
    batch, height, width, channels = grid.shape
    parts = grid.view(batch, height // patch, patch, width // patch, patch, channels)
    return parts.permute(0, 1, 3, 2, 4, 5).reshape(
        batch, height // patch, width // patch, patch * patch * channels
    )


class PatchTokens(nn.Module):
    """Patches as tokens: what the three share, their positions [P, D] and their raw pixels."""

    def __init__(self, dim: int, size: int, patch: int) -> None:
        super().__init__()
        if size % patch:
            raise ValueError(f"size {size} is no multiple of patch {patch}")
        self.grid = size // patch
        self.size_of_patch = patch
        self.global_tokens = 0
        self.positions = nn.Parameter(torch.randn(self.grid**2, dim) * 0.02)

    def tokens(self, patches: Tensor) -> ModalTokens:
        """``patches`` [B, P, D] with their positions added, all of them there."""
        return ModalTokens.whole(patches + self.positions)


class ConvPatches(PatchTokens):
    """MBSD's mini network: cascaded convolutions with stride = kernel, layer norm and ReLU between each two (its Figure 3).

    The kernels' product is the patch: 4*2*2*2 = 32 cuts 224 pixels into 7x7.
    """

    def __init__(
        self,
        dim: int,
        size: int = 224,
        kernels: Sequence[int] = (4, 2, 2, 2),
        channels: Sequence[int] = (64, 128, 256),
    ) -> None:
        if len(channels) != len(kernels) - 1:
            raise ValueError(
                f"{len(kernels)} kernels need {len(kernels) - 1} inner channels, not {len(channels)}"
            )
        super().__init__(dim, size, math.prod(kernels))
        self.kernels = tuple(kernels)
        widths = [
            (kernel * kernel * before, after)
            for kernel, (before, after) in zip(
                kernels, itertools.pairwise((3, *channels, dim)), strict=True
            )
        ]
        self.convolutions = nn.ModuleList(nn.Linear(before, after) for before, after in widths)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in channels)

    def forward(self, pixels: Tensor) -> ModalTokens:
        """``pixels`` [B, 3, S, S] uint8 to tokens [B, P, D]."""
        x = normalise(pixels).permute(0, 2, 3, 1)
        for number, (kernel, convolution) in enumerate(
            zip(self.kernels, self.convolutions, strict=True)
        ):
            x = convolution(cut(x, kernel))
            if number < len(self.norms):
                x = F.relu(self.norms[number](x))
        return self.tokens(x.flatten(1, 2))


class LinearPatches(PatchTokens):
    """VT-BERT's (and ViT's and ViLT's) linear map of raw patches, 16 pixels a side: 196 tokens of a 224-pixel image."""

    def __init__(self, dim: int, size: int = 224, patch: int = 16) -> None:
        super().__init__(dim, size, patch)
        self.project = nn.Linear(3 * patch * patch, dim)

    def forward(self, pixels: Tensor) -> ModalTokens:
        """``pixels`` [B, 3, S, S] uint8 to tokens [B, P, D]."""
        return self.tokens(
            self.project(cut(normalise(pixels).permute(0, 2, 3, 1), self.size_of_patch)).flatten(
                1, 2
            )
        )


class GlobalOnly(nn.Module):
    """The first, global token of an image encoder alone: images [N, 3, s, s] to [N, D]."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, pixels: Tensor) -> Tensor:
        """``pixels`` [N, 3, s, s] to [N, D]."""
        tokens: ModalTokens = self.encoder(pixels)
        return tokens.hidden[:, 0]


class CropPatches(PatchTokens):
    """FashionBERT's crops: the image cut into a grid, each crop read alone by the same network, 16 tokens by default.

    ``network`` maps crops [N, 3, s, s] to [N, D]; the paper's is a ResNet-50.
    """

    def __init__(self, network: nn.Module, dim: int, size: int = 224, grid: int = 4) -> None:
        super().__init__(dim, size, size // grid)
        self.network = network

    def forward(self, pixels: Tensor) -> ModalTokens:
        """``pixels`` [B, 3, S, S] uint8 to tokens [B, grid*grid, D]."""
        crops = cut(pixels.permute(0, 2, 3, 1), self.size_of_patch)
        side = self.size_of_patch
        crops = crops.reshape(-1, side, side, 3).permute(0, 3, 1, 2)
        return self.tokens(self.network(crops).view(pixels.shape[0], self.grid**2, -1))
