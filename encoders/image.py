"""A small residual network as image encoder: overlapping convolutions, then a grid of tokens.

Shapes: B images, S pixels per side, C channels, P = grid * grid patches, D the model's width.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from encoders.base import ImageEncoder
from encoders.batch_norm import BatchNorm
from encoders.tokens import ModalTokens

ChannelValues = tuple[float, float, float]
"""One value for each of the channels red, green and blue."""

IMAGENET_MEAN: ChannelValues = (0.485, 0.456, 0.406)
IMAGENET_STD: ChannelValues = (0.229, 0.224, 0.225)
HALF: ChannelValues = (0.5, 0.5, 0.5)
"""Mean and deviation of the published ViTs and of ViLT, which expect pixels in [-1, 1]."""


class Standardise(nn.Module):
    """Standardises the channels of pixels; ``mean`` and ``std`` are in [0, 1].

    They are buffers because a GPU would have to fetch a constant from the CPU in every step.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, mean: ChannelValues = IMAGENET_MEAN, std: ChannelValues = IMAGENET_STD
    ) -> None:
        super().__init__()
        # Not saved with the weights: they never change.
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1) * 255, persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Standardise ``pixels`` [B, 3, S, S] uint8."""
        return (pixels.float() - self.mean) / self.std


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut (He et al., 2016); the first one halves the image."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
        self.norm_first = BatchNorm(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm_second = BatchNorm(outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` [B, C, H, W] to [B, C', H/2, W/2]."""
        out = F.relu(self.norm_first(self.first(x)), inplace=True)
        out = self.norm_second(self.second(out))
        # The mean of four pixels: a 1x1 convolution with a stride of 2 would ignore three of them.
        return F.relu(out + self.shortcut(F.avg_pool2d(x, 2)), inplace=True)


class ResidualStem(ImageEncoder):
    """Overlapping convolutions, pooled to a global token and a grid of patch tokens.

    Args:
        dim: the width D of the tokens
        size: pixels per side of the images
        channels: channels after the first convolution and after each residual block
        grid: patches per side
    """

    def __init__(
        self,
        dim: int,
        size: int = 112,
        channels: tuple[int, ...] = (32, 64, 128, 256),
        grid: int = 4,
    ) -> None:
        super().__init__()
        self.grid = grid
        self.global_tokens = 1
        self.patch_size = size // grid
        self.standardise = Standardise()
        self.enter = nn.Conv2d(3, channels[0], 3, stride=2, padding=1, bias=False)
        self.norm_enter = BatchNorm(channels[0])
        self.blocks = nn.Sequential(*(ResidualBlock(a, b) for a, b in itertools.pairwise(channels)))
        self.project = nn.Linear(channels[-1], dim)
        self.positions = nn.Parameter(torch.zeros(grid * grid + 1, dim))

    def forward(self, pixels: Tensor) -> ModalTokens:
        """Encode ``pixels`` [B, 3, S, S] uint8 as tokens [B, 1 + P, D], the global one first."""
        # Convolutions on a CPU are fastest with the channels last in memory.
        x = self.standardise(pixels).contiguous(memory_format=torch.channels_last)
        x = F.relu(self.norm_enter(self.enter(x)), inplace=True)
        x = self.blocks(x)

        whole_image = x.mean((2, 3))[..., None]
        patches = F.adaptive_avg_pool2d(x, self.grid).flatten(2)
        pooled = torch.cat([whole_image, patches], 2).transpose(1, 2)
        return ModalTokens.all_present(self.project(pooled) + self.positions)

    def masked_tokens(self, vector: Tensor) -> Tensor:
        """Return the tokens [P, D] of patches whose content is replaced by ``vector`` [D]."""
        return vector + self.positions[self.global_tokens :]

    def patch_positions(self, patch: Tensor) -> Tensor:
        """Return the position embeddings [M, D] of the patches with index ``patch`` [M]."""
        return self.positions.index_select(0, patch + self.global_tokens)
