"""GMRFR: predict masked patches from only [CLS] and their positions (VT-BERT Eq. 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self, cast

from torch import Tensor, nn

from fusion.config import ModelConfig
from fusion.model import ProductModel
from training.batches import StepBatch
from training.objectives.base import ItemReading, Need, Objective
from training.objectives.global_prediction import GlobalPredictor
from training.objectives.mpm import count_patches, masked_raw_patches
from training.objectives.mrfr import feature_loss

if TYPE_CHECKING:
    from training.config import Recipe
    from training.objectives.states import StepStates

# The mean of the first predictions, and about their deviation; pixels are in [0, 1].
GREY = 0.5
PIXEL_SPREAD = 0.25


def global_patch_head(dim: int, features: int) -> GlobalPredictor:
    """Build the predictor of a patch's F raw pixels.

    Its predictions are initially grey, with about the spread of pixels in [0, 1]. With LayerNorm's
    default scale of 1, this term would begin about 20 times as large, and dominate all others.
    """
    head = GlobalPredictor(dim, features)
    norm = cast(nn.LayerNorm, head.second[2])
    nn.init.constant_(norm.weight, PIXEL_SPREAD)
    nn.init.constant_(norm.bias, GREY)
    return head


def global_patch_loss(
    head: GlobalPredictor,
    node: Tensor,
    positions: Tensor,
    target: Tensor,
) -> Tensor:
    """Return 1/M sum |z - r|^2 over M masked patches.

    ``node`` and ``positions`` [M, D], ``target`` [M, F].
    """
    return feature_loss(head(node, positions), target)


class GlobalMaskedRegionFeatureRegression(Objective):
    """Predict masked patches from the item's [CLS], so that it represents the whole image."""

    name = "gmrfr"
    # The loss is a sum over the thousands of pixels of a patch, unlike that of MPM.
    default_weight = 2e-5
    needs = frozenset((Need.ITEMS, Need.MASKED_IMAGES))
    reads = frozenset((ItemReading.ITEMS,))

    def __init__(self, head: GlobalPredictor) -> None:
        super().__init__()
        self.head = head

    @classmethod
    def build(cls, model: ProductModel, config: ModelConfig, recipe: Recipe) -> Self | None:
        """Build the objective; None for a model whose patches have no positions or no pixels."""
        if config.preset == "wrapped" or not model.patch_size:
            return None
        return cls(global_patch_head(config.dim, 3 * model.patch_size**2))

    @staticmethod
    def count(batch: StepBatch) -> float:
        """Return the number of masked patches."""
        return count_patches(batch)

    def forward(self, states: StepStates) -> Tensor | None:
        """Return the loss over images of P patches [B, P]."""
        target = states.once(masked_raw_patches)
        masked = states.batch.masked
        if target is None or masked is None or states.items is None or states.image is None:
            return None
        node = states.items.node.index_select(0, masked.patches.row)
        positions = states.model.patch_positions(masked.patches.column)
        return global_patch_loss(self.head, node, positions, target)
