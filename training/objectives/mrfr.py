"""MRFR: predict the features of masked patches or regions (VT-BERT Eq. 1; ViLBERT, K3M)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from encoders.layers import initialise
from fusion.config import ModelConfig
from fusion.model import ProductModel
from training.batches import StepBatch
from training.objectives.base import ItemReading, Need, Objective, apply_at, single_precision
from training.objectives.mpm import PatchHead, count_patches, masked_raw_patches

if TYPE_CHECKING:
    from training.config import Recipe
    from training.objectives.states import StepStates


def mask_features(
    present: Tensor,
    rows: Tensor,
    uniform: NDArray[np.float64],
    rate: float = 0.15,
    cover_rate: float = 0.8,
) -> tuple[Tensor, Tensor]:
    """Choose ``rate`` of the tokens to predict, and ``cover_rate`` of those to hide their content.

    The paper's shares add up to only 95% (80% masked, 15% kept); the remaining 5% are kept, too.

    Args:
        present: [B, P] True for the patches or regions that are present.
        rows: [B] True for the images to mask.
        uniform: random numbers [2, B, P] in [0, 1).
        rate: the share of tokens to predict.
        cover_rate: the share of these whose content is hidden.

    Returns:
        The tokens to predict and the covered ones, both [B, P] bool.
    """
    choice, action = torch.from_numpy(uniform)
    chosen = (choice < rate) & present & rows[:, None]
    return chosen, chosen & (action < cover_rate)


def feature_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Return 1/M sum |h - r|^2 over M masked tokens, both [M, F].

    The minus sign in VT-BERT's Eq. 1 is taken to be a misprint.
    """
    return (single_precision(predicted) - single_precision(target)).square().sum(1).mean()


def masked_features(states: StepStates) -> Tensor | None:
    """Return the features [M, F] to predict: a region's from the detector, or a patch's pixels."""
    view = states.batch.items
    masked = states.batch.masked
    if view is None or masked is None or not masked.patches.count:
        return None
    # K3M's objects: the model reads regions, so there are no pixels to predict.
    if view.items.regions is not None:
        features = view.items.regions.features.flatten(0, 1)
        return features.index_select(0, masked.patches.flat)
    return states.once(masked_raw_patches)


class MaskedRegionFeatureRegression(Objective):
    """Predict the features of 15% of an image's regions, or the pixels of its patches."""

    name = "mrfr"
    needs = frozenset((Need.ITEMS, Need.MASKED_IMAGES))
    reads = frozenset((ItemReading.ITEMS,))

    def __init__(self, head: nn.Linear) -> None:
        super().__init__()
        self.head = head

    @classmethod
    def build(cls, model: ProductModel, config: ModelConfig, recipe: Recipe) -> Self | None:
        """Build the objective; None for a model that reads neither regions nor pixels."""
        if config.image_encoder == "regions":
            head = nn.Linear(config.dim, config.region_width)
            initialise(head)
            return cls(head)
        if not model.patch_size:
            return None
        return cls(PatchHead(config.dim, model.patch_size))

    @staticmethod
    def count(batch: StepBatch) -> float:
        """Return the number of masked regions or patches."""
        return count_patches(batch)

    def forward(self, states: StepStates) -> Tensor | None:
        """Return the loss over images of P regions or patches [B, P, D]."""
        target = masked_features(states)
        masked = states.batch.masked
        if target is None or masked is None or states.patches is None:
            return None
        return feature_loss(apply_at(self.head, states.patches, masked.patches), target)
