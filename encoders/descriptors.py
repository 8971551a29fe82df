"""Fixed image descriptors: histograms of oriented gradients and of colours, and thumbnails.

A convolution trained on a few thousand images learns less about outline and colour than these
descriptors state outright, so the joint model reads both.

Shapes: B images, S pixels per side, F features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from encoders.batch_norm import BatchNorm
from encoders.products import stable_product

ORIENTATIONS = 9
CELL = 8
"""Pixels per side of a cell of the gradient histograms."""

GRID = 4
"""Cells per side of the coarse colour histograms."""

WHITE = 0.93
"""A pixel counts as background if its darkest channel is at least this."""

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
    # In double precision, since single steps of a vectorised function differ in their last digits
    # where the pixels are shared out among threads.
    angle = torch.atan2(dy.double(), dx.double())
    angle = torch.remainder(angle, torch.pi) * (ORIENTATIONS / torch.pi)
    below = angle.floor()
    share_above = (angle - below).float()
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


def product_colours(pixels: Tensor) -> Tensor:
    """Return square roots of colour histograms of the product alone, without its background.

    ``pixels`` [B, 3, S, S] in [0, 1] become [B, 405]: 5 levels of lightness times 9 by 9 of the two
    colour axes of CIELAB, between which a pixel is shared smoothly. Nearly white pixels are taken
    for the background, and an image that has no others has an empty histogram.
    """
    is_product = (pixels.amin(1) < WHITE).float().flatten(1)  # [B, S*S]
    lightness, green_red, blue_yellow = lab(pixels).flatten(2).unbind(1)
    by_lightness = _shares(lightness / 100, 5) * is_product[:, :, None]
    by_green_red = _shares(green_red / 160 + 0.5, 9)
    by_blue_yellow = _shares(blue_yellow / 160 + 0.5, 9)
    by_both = (by_lightness[:, :, :, None] * by_green_red[:, :, None]).flatten(2)  # [B, S*S, 45]
    counts = stable_product(by_both.transpose(1, 2), by_blue_yellow).flatten(1)
    return (counts / is_product.sum(1, keepdim=True).clamp(min=1)).sqrt()


def _shares(position: Tensor, levels: int) -> Tensor:
    """Share positions [B, P] in [0, 1] among levels [B, P, levels] by their distances."""
    centres = torch.linspace(0, 1, levels, device=position.device)
    distances = (position[:, :, None] - centres) * (levels - 1)
    weights = torch.exp(-distances.square().double())
    return (weights / weights.sum(2, keepdim=True)).float()


def lab(pixels: Tensor) -> Tensor:
    """Return sRGB ``pixels`` [B, 3, S, S] in [0, 1] in CIELAB under D65 [B, 3, S, S]."""
    # In double precision for the same reason as the angles of gradients.
    pixels = pixels.double()
    linear = torch.where(pixels > 0.04045, ((pixels + 0.055) / 1.055) ** 2.4, pixels / 12.92)
    to_xyz = pixels.new_tensor(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    white = to_xyz.sum(1)[None, :, None, None]
    xyz = torch.einsum("ij,bjhw->bihw", to_xyz, linear) / white
    root = torch.where(xyz > 0.008856, xyz.clamp(min=1e-6) ** (1 / 3), 7.787 * xyz + 16 / 116)
    x, y, z = root.unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1).float()


def thumbnails(pixels: Tensor) -> Tensor:
    """Return the mean colours of 16 x 16 cells of ``pixels`` [B, 3, S, S]: [B, 768]."""
    return F.adaptive_avg_pool2d(pixels, 16).flatten(1)


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
        if self.training:
            return self.project(self.dropout(standardised))
        # The sums over thousands of features would be shared out among threads, and what a thread
        # more changes in their last digits is enough for other numbers to be rounded to other bf16.
        projected = stable_product(standardised, self.project.weight.T)
        return projected + self.project.bias
