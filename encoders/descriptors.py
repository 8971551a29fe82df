"""Fixed image descriptors: histograms of oriented gradients and of colours.

A convolution trained on a few thousand images learns less about outline and colour than these
descriptors state outright, so the joint model reads both.

Shapes: B images, S pixels per side, F features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from encoders.batch_norm import BatchNorm

ORIENTATIONS = 9
CELL = 8
"""Pixels per side of a cell of the gradient histograms."""

GRID = 4
"""Cells per side of the coarse colour histograms."""

LEVELS = 4
"""Levels per channel of the coarse colour histograms; the fine one has twice as many."""


def oriented_gradients(pixels: Tensor) -> Tensor:
    """Return histograms of oriented gradients (HOG, Dalal and Triggs, 2005).

    ``pixels`` [B, 3, S, S] in [0, 1] become [B, C*C*36]: C = S / 8 - 1 blocks per side, each of 2x2
    cells with 9 unsigned orientations. Each pixel votes for the two nearest orientations, and each
    block is scaled to unit length.
    """
    grey = pixels.mean(1, keepdim=True)
    dx = F.pad(grey, (1, 1, 0, 0), mode="replicate")
    dx = dx[..., 2:] - dx[..., :-2]
    dy = F.pad(grey, (0, 0, 1, 1), mode="replicate")
    dy = dy[:, :, 2:] - dy[:, :, :-2]

    strength = (dx.square() + dy.square()).sqrt()
    angle = torch.remainder(torch.atan2(dy, dx), torch.pi) * (ORIENTATIONS / torch.pi)
    below = angle.floor()
    share_above = angle - below
    below = below.long() % ORIENTATIONS

    size = pixels.shape[-1]
    votes = pixels.new_zeros(pixels.shape[0], ORIENTATIONS, size, size)
    votes.scatter_add_(1, below, strength * (1 - share_above))
    votes.scatter_add_(1, (below + 1) % ORIENTATIONS, strength * share_above)
    cells = F.avg_pool2d(votes, CELL)
    blocks = F.unfold(cells, 2)  # [B, 36, C*C]
    return F.normalize(blocks, dim=1).flatten(1)


def colour_histograms(pixels: Tensor, grid: int = GRID, levels: int = LEVELS) -> Tensor:
    """Return square roots of joint RGB histograms of ``pixels`` [B, 3, S, S] in [0, 1].

    One fine histogram describes the whole image, and a coarse one each of ``grid`` x ``grid``
    cells: [B, (2*levels)**3 + grid*grid*levels**3].
    """
    fine = _histogram(pixels, 2 * levels, 1)
    return torch.cat([fine, _histogram(pixels, levels, grid)], 1).sqrt()


def _histogram(pixels: Tensor, levels: int, grid: int) -> Tensor:
    """Count the colours of each cell of each image in one pass over the pixels."""
    batch, _, size, _ = pixels.shape
    colours = levels**3
    bins = grid * grid * colours

    level = (pixels * levels).long().clamp(max=levels - 1)
    colour = (level[:, 0] * levels + level[:, 1]) * levels + level[:, 2]
    cell = torch.arange(size, device=pixels.device) * grid // size
    index = colour + (cell[:, None] * grid + cell[None, :]) * colours
    index = index + torch.arange(batch, device=pixels.device)[:, None, None] * bins
    # Not bincount, which on a GPU waits for the largest index. Sums of ones are exact.
    places = index.flatten()
    counts = pixels.new_zeros(batch * bins).scatter_add_(0, places, pixels.new_ones(len(places)))
    return counts.view(batch, bins) * (grid * grid / size**2)


class ImageDescriptors(nn.Module):
    """Both descriptors, standardised by running statistics and mapped to one vector per image.

    Args:
        size: pixels per side of the images
        width: the width W of the vector
        dropout: rate of dropout on the standardised descriptors
    """

    def __init__(self, size: int, width: int, dropout: float = 0.3) -> None:
        super().__init__()
        blocks = size // CELL - 1
        gradients = blocks * blocks * 4 * ORIENTATIONS
        colours = (2 * LEVELS) ** 3 + GRID * GRID * LEVELS**3
        self.features = gradients + colours
        self.norm = BatchNorm(self.features, affine=False)
        self.dropout = nn.Dropout(dropout)
        self.project = nn.Linear(self.features, width)

    def describe(self, pixels: Tensor) -> Tensor:
        """Return the raw descriptors [B, F] of ``pixels`` [B, 3, S, S] uint8."""
        with torch.no_grad():
            scaled = pixels.float() / 255
            return torch.cat([oriented_gradients(scaled), colour_histograms(scaled)], 1)

    def forward(self, pixels: Tensor) -> Tensor:
        """Map ``pixels`` [B, 3, S, S] uint8 to one vector per image [B, W]."""
        # A feature that is rare in the catalogue would otherwise be standardised to a huge value.
        standardised = self.norm(self.describe(pixels)).clamp(-4, 4)
        return self.project(self.dropout(standardised))
