"""Images to tokens: a small residual stem of overlapping convolutions."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from encoders.tokens import ModalTokens

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)

Channels = tuple[float, float, float]


def normalise(pixels: Tensor, mean_of: Channels = MEAN, std_of: Channels = STD) -> Tensor:
    """Standardisation by channel, ImageNet's by default: ``pixels`` [B, 3, S, S] uint8 to float of about unit variance."""
    mean = torch.tensor(mean_of, device=pixels.device).view(3, 1, 1) * 255
    std = torch.tensor(std_of, device=pixels.device).view(3, 1, 1) * 255
    return (pixels.float() - mean) / std


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut (He et al., 2016); the first halves the side."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
        self.norm_first = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm_second = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` [B, C, H, W] to [B, C', H/2, W/2]."""
        out = F.relu(self.norm_first(self.first(x)), inplace=True)
        out = self.norm_second(self.second(out))
        return F.relu(out + self.shortcut(F.avg_pool2d(x, 2)), inplace=True)


class ResidualStem(nn.Module):
    """Overlapping convolutions, 1/16 of the side, pooled to a grid of tokens and a global one."""

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
        self.size_of_patch = size // grid
        self.enter = nn.Conv2d(3, channels[0], 3, stride=2, padding=1, bias=False)
        self.norm_enter = nn.BatchNorm2d(channels[0])
        self.blocks = nn.Sequential(*(ResidualBlock(a, b) for a, b in itertools.pairwise(channels)))
        self.project = nn.Linear(channels[-1], dim)
        self.positions = nn.Parameter(torch.zeros(grid * grid + 1, dim))

    def forward(self, pixels: Tensor) -> ModalTokens:
        """``pixels`` [B, 3, S, S] uint8 to tokens [B, 1 + grid*grid, D], the global one first."""
        x = normalise(pixels).contiguous(memory_format=torch.channels_last)
        x = F.relu(self.norm_enter(self.enter(x)), inplace=True)
        x = self.blocks(x)
        cells = F.adaptive_avg_pool2d(x, self.grid).flatten(2)
        pooled = torch.cat([x.mean((2, 3), keepdim=False)[..., None], cells], 2).transpose(1, 2)
        return ModalTokens.whole(self.project(pooled) + self.positions)
