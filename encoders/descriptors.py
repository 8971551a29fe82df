"""Fixed image descriptors: oriented gradients and colour histograms.

A few thousand images teach a convolution less about outline and colour than these say at once, so the joint model reads both.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ORIENTATIONS = 9
CELL = 8


def oriented_gradients(pixels: Tensor) -> Tensor:
    """Histograms of oriented gradients (Dalal and Triggs, 2005).

    ``pixels`` [B, 3, S, S] in [0, 1] to [B, C*C*36], C = S / 8 - 1 blocks a side of 2x2 cells with 9 unsigned orientations,
    each cell's votes shared between the two nearest orientations, each block scaled to unit length.
    """
    grey = pixels.mean(1, keepdim=True)
    dx = F.pad(grey, (1, 1, 0, 0), mode="replicate")
    dx = dx[..., 2:] - dx[..., :-2]
    dy = F.pad(grey, (0, 0, 1, 1), mode="replicate")
    dy = dy[:, :, 2:] - dy[:, :, :-2]
    strength = (dx.square() + dy.square()).sqrt()
    angle = torch.remainder(torch.atan2(dy, dx), torch.pi) * (ORIENTATIONS / torch.pi)
    low = angle.floor()
    share = angle - low
    low = low.long() % ORIENTATIONS
    size = pixels.shape[-1]
    votes = pixels.new_zeros(pixels.shape[0], ORIENTATIONS, size, size)
    votes.scatter_add_(1, low, strength * (1 - share))
    votes.scatter_add_(1, (low + 1) % ORIENTATIONS, strength * share)
    cells = F.avg_pool2d(votes, CELL)
    blocks = F.unfold(cells, 2)  # [B, 36, C*C]
    return F.normalize(blocks, dim=1).flatten(1)


def colour_histograms(pixels: Tensor, grid: int = 4, levels: int = 4) -> Tensor:
    """Square roots of joint RGB histograms: ``pixels`` [B, 3, S, S] in [0, 1] to [B, (2*levels)**3 + grid*grid*levels**3].

    One fine histogram of the whole image, one coarse histogram a grid cell.
    """
    fine = _histogram(pixels, 2 * levels, 1)
    return torch.cat([fine, _histogram(pixels, levels, grid)], 1).sqrt()


def _histogram(pixels: Tensor, levels: int, grid: int) -> Tensor:
    batch, _, size, _ = pixels.shape
    level = (pixels * levels).long().clamp(max=levels - 1)
    colour = (level[:, 0] * levels + level[:, 1]) * levels + level[:, 2]
    place = torch.arange(size, device=pixels.device) * grid // size
    index = colour + (place[:, None] * grid + place[None, :]) * levels**3
    index = index + torch.arange(batch, device=pixels.device)[:, None, None] * (
        grid * grid * levels**3
    )
    counts = torch.bincount(index.flatten(), minlength=batch * grid * grid * levels**3).to(
        pixels.dtype
    )
    return counts.view(batch, -1) * (grid * grid / size**2)


class ImageDescriptors(nn.Module):
    """Both descriptors, standardised by running moments and mapped to one vector an image."""

    def __init__(self, size: int, width: int, dropout: float = 0.3) -> None:
        super().__init__()
        blocks = size // CELL - 1
        self.features = blocks * blocks * 4 * ORIENTATIONS + 8**3 + 16 * 4**3
        self.norm = nn.BatchNorm1d(self.features, affine=False)
        self.dropout = nn.Dropout(dropout)
        self.project = nn.Linear(self.features, width)

    def describe(self, pixels: Tensor) -> Tensor:
        """``pixels`` [B, 3, S, S] uint8 to raw features [B, F]."""
        with torch.no_grad():
            scaled = pixels.float() / 255
            return torch.cat([oriented_gradients(scaled), colour_histograms(scaled)], 1)

    def forward(self, pixels: Tensor) -> Tensor:
        """``pixels`` [B, 3, S, S] uint8 to [B, W]."""
        normed = self.norm(self.describe(pixels)).clamp(-4, 4)
        return self.project(self.dropout(normed))
