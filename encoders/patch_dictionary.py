"""A dictionary of image patches, learned without labels (Coates, Lee and Ng, 2011).

Patches of 6 x 6 pixels are scaled to equal contrast, whitened, and clustered by k-means. An image
is described by how near its patches come to each centroid, in each of 3 x 3 cells. Of a few
thousand product images it tells what histograms do not: beside them, it names the kind and the
colour of one product in 200 more.

Shapes: B images, S pixels per side, P patches, D = 3 * 6 * 6 numbers of a patch, K centroids.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from encoders.products import stable_product

PATCH = 6
CELLS = 3
CENTROIDS = 300
PATCH_NUMBERS = 3 * PATCH * PATCH
SIZE = 32
"""Pixels per side of the images that are described."""
_SAMPLED_IMAGES = 2000
_SAMPLED_PATCHES = 100_000
_ROUNDS = 10
_CONTRAST = 1.5e-3
"""Added to the variance of a patch: noise in an even surface must not look like a pattern."""
_WHITENING = 0.1
_LEAST_CONTENT = 1.0
"""The least sum of the absolute numbers of a scaled patch that is learned from."""
_SAMPLED_TOGETHER = 32
_DESCRIBED_TOGETHER = 4
"""Images that are described at once: what more of them need does not fit into a processor's caches,
and with 32 an image takes twice as long."""


@dataclass(frozen=True)
class PatchDictionary:
    """Centroids [K, D] of patches whitened by ``whitening`` [D, D] around ``mean`` [D]."""

    mean: Tensor
    whitening: Tensor
    centroids: Tensor

    @classmethod
    def checked(cls, mean: Tensor, whitening: Tensor, centroids: Tensor) -> PatchDictionary:
        """Make a dictionary from stored tensors; raises ValueError if they do not fit."""
        fits = (
            mean.shape == (PATCH_NUMBERS,)
            and whitening.shape == (PATCH_NUMBERS, PATCH_NUMBERS)
            and centroids.dim() == 2
            and centroids.shape[1] == PATCH_NUMBERS
            and 0 < len(centroids) <= CENTROIDS
        )
        if not fits:
            raise ValueError(
                f"a dictionary of patches has {len(centroids)} centroids that do not fit"
            )
        return cls(mean, whitening, centroids)

    @property
    def features(self) -> int:
        """The number of features of an image."""
        return len(self.centroids) * CELLS * CELLS

    @classmethod
    def learn(cls, images: Tensor, seed: int = 0) -> PatchDictionary:
        """Learn a dictionary from ``images`` [B, 3, 32, 32] uint8, at least one."""
        generator = torch.Generator().manual_seed(seed)
        chosen = torch.randperm(len(images), generator=generator)[:_SAMPLED_IMAGES]
        # A few patches of each image: all of them would not fit into memory.
        count = -(-_SAMPLED_PATCHES // len(chosen))
        parts = []
        for start in range(0, len(chosen), _SAMPLED_TOGETHER):
            patches = _patches(images[chosen[start : start + _SAMPLED_TOGETHER]])
            order = torch.randperm(patches.shape[1], generator=generator)[:count]
            parts.append(patches[:, order].flatten(0, 1))
        every = torch.cat(parts)
        with_content = every[every.abs().sum(1) > _LEAST_CONTENT]
        if len(with_content) >= CENTROIDS:
            every = with_content
        mean = every.mean(0)
        values, vectors = torch.linalg.eigh(torch.cov((every - mean).T))
        whitening = vectors @ torch.diag((values.clamp(min=0) + _WHITENING).rsqrt()) @ vectors.T
        white = (every - mean) @ whitening
        return cls(mean, whitening, _k_means(white, generator))

    def describe(self, images: Tensor) -> Tensor:
        """Return the features [B, K * 9] of ``images`` [B, 3, 32, 32] uint8."""
        if not len(images):
            return torch.zeros(0, self.features)
        return torch.cat([self._describe(part) for part in images.split(_DESCRIBED_TOGETHER)])

    def _describe(self, images: Tensor) -> Tensor:
        patches = _patches(images)
        white = stable_product(patches - self.mean, self.whitening)
        squares = white.square().sum(2, keepdim=True) + self.centroids.square().sum(1)
        products = stable_product(white, self.centroids.T)
        distances = squares.sub_(products, alpha=2).clamp_(min=0).sqrt_()
        # The "triangle" activation: zero for centroids that are farther than the mean.
        nearness = (distances.mean(2, keepdim=True) - distances).clamp_(min=0)
        side = (SIZE - PATCH + 1) // CELLS
        by_cell = nearness.view(-1, CELLS, side, CELLS, side, len(self.centroids)).mean((2, 4))
        return by_cell.permute(0, 3, 1, 2).flatten(1).sqrt()


def _patches(images: Tensor) -> Tensor:
    """Return all patches of images [B, 3, S, S] uint8, scaled to equal contrast: [B, P, D]."""
    windows = (images.float() / 255).unfold(2, PATCH, 1).unfold(3, PATCH, 1)
    patches = windows.permute(0, 2, 3, 1, 4, 5).reshape(len(images), -1, PATCH_NUMBERS)
    centred = patches - patches.mean(2, keepdim=True)
    variance = centred.square().sum(2, keepdim=True) / (PATCH_NUMBERS - 1)
    return centred.div_((variance + _CONTRAST).sqrt())


def _k_means(points: Tensor, generator: torch.Generator) -> Tensor:
    """Return at most K centroids of points [P, D]; one without any point is drawn anew."""
    order = torch.randperm(len(points), generator=generator)
    centroids = points[order[:CENTROIDS]]
    for _ in range(_ROUNDS):
        half_squares = centroids.square().sum(1) / 2
        nearest = torch.cat(
            [(part @ centroids.T - half_squares).argmax(1) for part in points.split(20_000)]
        )
        sums = torch.zeros_like(centroids).index_add_(0, nearest, points)
        counts = torch.bincount(nearest, minlength=len(centroids))[:, None]
        drawn = torch.randint(len(points), (len(centroids),), generator=generator)
        centroids = torch.where(counts > 0, sums / counts.clamp(min=1), points[drawn])
    return centroids
