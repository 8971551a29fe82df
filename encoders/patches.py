"""Images cut into patches that do not overlap: MBSD's, VT-BERT's and FashionBERT's image encoders.

A convolution whose stride equals its kernel is a matrix product over cut-up pixels, and is computed
as one here.

Shapes: B images, S pixels per side, P patches of p x p pixels, D the model's width.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from encoders.base import ImageEncoder
from encoders.image import Standardise
from encoders.tokens import ModalTokens


def cut_into_patches(grid: Tensor, patch: int) -> Tensor:
    """Join p x p neighbours, p = ``patch``: [B, H, W, C] to [B, H/p, W/p, p*p*C]."""
    batch, height, width, channels = grid.shape
    rows = height // patch
    columns = width // patch
    cut = grid.view(batch, rows, patch, columns, patch, channels).permute(0, 1, 3, 2, 4, 5)
    return cut.reshape(batch, rows, columns, patch * patch * channels)


class PatchEncoder(ImageEncoder):
    """Base class: a learned position embedding per patch, and no global token.

    MBSD gives positions to words alone; but a transformer without positions cannot know where in
    the image a patch was. Raises ValueError if ``size`` is not a multiple of ``patch``.

    Args:
        dim: the width D of the tokens
        size: pixels per side of the images
        patch: pixels per side of a patch
    """

    def __init__(self, dim: int, size: int, patch: int) -> None:
        super().__init__()
        if size % patch:
            raise ValueError(f"size {size} is not a multiple of patch {patch}")
        self.grid = size // patch
        self.patch_size = patch
        self.global_tokens = 0
        self.positions = nn.Parameter(torch.randn(self.grid**2, dim) * 0.02)

    def with_positions(self, patches: Tensor) -> ModalTokens:
        """Add the position embeddings to ``patches`` [B, P, D]."""
        return ModalTokens.all_present(patches + self.positions)

    def masked_tokens(self, vector: Tensor) -> Tensor:
        """Return the tokens [P, D] of patches whose content is replaced by ``vector`` [D]."""
        return vector + self.positions

    def patch_positions(self, patch: Tensor) -> Tensor:
        """Return the position embeddings [M, D] of the patches with index ``patch`` [M]."""
        return self.positions.index_select(0, patch)


class ConvPatches(PatchEncoder):
    """MBSD's mini network (its 3.3 and Figure 3): a cascade of non-overlapping convolutions.

    Layer normalisation and ReLU stand between every two convolutions. The patch is as large as the
    product of the kernels: 4 * 2 * 2 * 2 = 32 pixels cut an image of 224 pixels into 7 x 7 patches.
    The paper prefers them to ViT's linear map because that makes training unstable. It gives
    neither kernels nor channels; the presets have those of the released code.

    Args:
        dim: the width D of the tokens
        size: pixels per side of the images
        kernels: kernel, and thus stride, of each convolution
        channels: channels between the convolutions, one number fewer than there are kernels
    """

    def __init__(
        self,
        dim: int,
        size: int = 224,
        kernels: Sequence[int] = (4, 2, 2, 2),
        channels: Sequence[int] = (64, 128, 256),
    ) -> None:
        needed = len(kernels) - 1
        if len(channels) != needed:
            raise ValueError(
                f"{len(kernels)} kernels need {needed} inner channels, not {len(channels)}"
            )
        super().__init__(dim, size, math.prod(kernels))
        self.standardise = Standardise()
        self.kernels = tuple(kernels)
        widths = itertools.pairwise((3, *channels, dim))
        self.convolutions = nn.ModuleList(
            nn.Linear(kernel * kernel * before, after)
            for kernel, (before, after) in zip(kernels, widths, strict=True)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in channels)

    def forward(self, pixels: Tensor) -> ModalTokens:
        """Encode ``pixels`` [B, 3, S, S] uint8 as tokens [B, P, D]."""
        # With the channels last, a patch is cut out as one vector, on which a linear map can act.
        x = self.standardise(pixels).permute(0, 2, 3, 1)
        layers = zip(self.kernels, self.convolutions, strict=True)
        for number, (kernel, convolution) in enumerate(layers):
            x = convolution(cut_into_patches(x, kernel))
            if number < len(self.norms):
                x = F.relu(self.norms[number](x))
        return self.with_positions(x.flatten(1, 2))


class LinearPatches(PatchEncoder):
    """A linear map of raw patches, as in VT-BERT (4.1), ViT and ViLT.

    With patches of 16 pixels an image of 224 pixels becomes 196 tokens.
    """

    def __init__(self, dim: int, size: int = 224, patch: int = 16) -> None:
        super().__init__(dim, size, patch)
        self.standardise = Standardise()
        self.project = nn.Linear(3 * patch * patch, dim)

    def forward(self, pixels: Tensor) -> ModalTokens:
        """Encode ``pixels`` [B, 3, S, S] uint8 as tokens [B, P, D]."""
        patches = cut_into_patches(self.standardise(pixels).permute(0, 2, 3, 1), self.patch_size)
        return self.with_positions(self.project(patches).flatten(1, 2))


class GlobalToken(nn.Module):
    """The global token of an image encoder, without its patches."""

    def __init__(self, encoder: ImageEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode ``pixels`` [N, 3, p, p] uint8 as one vector per image [N, D]."""
        tokens: ModalTokens = self.encoder(pixels)
        return tokens.hidden[:, 0]


class CropPatches(PatchEncoder):
    """FashionBERT's image encoder: the image is cut into a grid, and a network reads each crop.

    Args:
        network: a module from crops [N, 3, p, p] uint8 to vectors [N, D]; in the paper a ResNet-50
        dim: the width D of the tokens
        size: pixels per side of the images
        grid: crops per side; FashionBERT has 4 * 4 = 16 crops
    """

    def __init__(self, network: nn.Module, dim: int, size: int = 224, grid: int = 4) -> None:
        super().__init__(dim, size, size // grid)
        self.network = network

    def forward(self, pixels: Tensor) -> ModalTokens:
        """Encode ``pixels`` [B, 3, S, S] uint8 as tokens [B, P, D]."""
        side = self.patch_size
        crops = cut_into_patches(pixels.permute(0, 2, 3, 1), side)
        crops = crops.reshape(-1, side, side, 3).permute(0, 3, 1, 2)
        return self.with_positions(self.network(crops).view(pixels.shape[0], self.grid**2, -1))
