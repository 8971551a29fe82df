"""MPM: predict the raw pixels of masked patches (MBSD Eq. 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from encoders.layers import initialise
from fusion.config import ModelConfig
from fusion.model import ProductModel
from training.batches import StepBatch, TokenPlaces
from training.objectives.base import ItemReading, Need, Objective, apply_at, single_precision

if TYPE_CHECKING:
    from training.config import Recipe
    from training.objectives.states import StepStates


def mask_patches(
    present: Tensor,
    rows: Tensor,
    uniform: NDArray[np.float64],
    rate: float = 0.5,
) -> Tensor:
    """Choose ``rate`` of the patches in ``rows`` [B] that are ``present`` [B, P]; returns a mask.

    ``uniform`` [B, P] are random numbers in [0, 1).
    """
    # All of them are covered. The released code masks 80/10/10, as it does word pieces; the paper
    # replaces every one by the mask vector.
    return (torch.from_numpy(uniform) < rate) & present & rows[:, None]


def raw_patches(pixels: Tensor, size: int, places: TokenPlaces) -> Tensor:
    """Cut M patches of ``size`` p pixels per side out of ``pixels`` [B, 3, S, S] uint8.

    Returns their raw RGB in [0, 1], [M, 3*p*p]. ``places`` number the S/p * S/p patches of each
    image row by row. Most images of a batch have no masked patch, so only those asked for are cut.
    """
    grid = pixels.shape[-1] // size
    cut = pixels.view(-1, 3, grid, size, grid, size).permute(0, 2, 4, 1, 3, 5)
    chosen = cut[places.row, places.column // grid, places.column % grid]
    return chosen.flatten(1).float() / 255


def masked_raw_patches(states: StepStates) -> Tensor | None:
    """Return the raw pixels [M, 3*p*p] of the M patches to predict; None if the batch has none."""
    view = states.batch.items
    masked = states.batch.masked
    if view is None or view.items.pixels is None or masked is None or not masked.patches.count:
        return None
    return raw_patches(view.items.pixels, states.model.patch_size, masked.patches)


def count_patches(batch: StepBatch) -> float:
    """Return the number of patches or regions to predict."""
    return 0.0 if batch.masked is None else float(batch.masked.patches.count)


def masked_patch_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Return the L1 loss of the raw pixels of M masked patches, both [M, 3*p*p] (MBSD Eq. 2).

    It is a mean over pixels, where the paper's norm is a sum over those of a patch.
    """
    return torch.mean(torch.abs(single_precision(predicted) - target))


class PatchHead(nn.Linear):
    """MBSD's affine map from the states [M, D] of patches to raw pixels [M, 3*p*p] in [0, 1].

    p is the width of a patch in pixels.
    """

    def __init__(self, dim: int, patch: int) -> None:
        super().__init__(dim, 3 * patch * patch)
        initialise(self)


class MaskedPatchModeling(Objective):
    """Predict the pixels of half of an image's patches, all of them covered."""

    name = "mpm"
    default_weight = 0.1
    needs = frozenset((Need.ITEMS, Need.MASKED_IMAGES, Need.COVERED_PATCHES))
    reads = frozenset((ItemReading.ITEMS,))

    def __init__(self, head: PatchHead) -> None:
        super().__init__()
        self.head = head

    @classmethod
    def build(cls, model: ProductModel, config: ModelConfig, recipe: Recipe) -> Self | None:
        """Build the objective; None for a model that reads no pixels."""
        if not model.patch_size:
            return None
        return cls(PatchHead(config.dim, model.patch_size))

    @staticmethod
    def count(batch: StepBatch) -> float:
        """Return the number of masked patches."""
        return count_patches(batch)

    def forward(self, states: StepStates) -> Tensor | None:
        """Return the loss over images of P patches [B, P, D]."""
        target = states.once(masked_raw_patches)
        masked = states.batch.masked
        if target is None or masked is None or states.patches is None:
            return None
        return masked_patch_loss(apply_at(self.head, states.patches, masked.patches), target)
