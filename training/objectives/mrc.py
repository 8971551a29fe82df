"""MRC: predict the classes that a detector gave to masked regions (ViLBERT, which K3M follows)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from torch import Tensor, nn
from torch.nn import functional as F

from encoders.layers import initialise
from fusion.config import ModelConfig
from fusion.model import ProductModel
from training.batches import StepBatch
from training.objectives.base import ItemReading, Need, Objective, apply_at, single_precision
from training.objectives.mpm import count_patches

if TYPE_CHECKING:
    from training.config import Recipe
    from training.objectives.states import StepStates


def class_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return the mean KL(target || softmax(logits)) over M masked regions, both [M, C]."""
    log_probabilities = single_precision(logits).log_softmax(1)
    return F.kl_div(log_probabilities, single_precision(target), reduction="batchmean")


class MaskedRegionClassification(Objective):
    """Predict the detector's class distribution of masked regions."""

    name = "mrc"
    needs = frozenset((Need.ITEMS, Need.MASKED_IMAGES))
    reads = frozenset((ItemReading.ITEMS,))

    def __init__(self, head: nn.Linear) -> None:
        super().__init__()
        self.head = head

    @classmethod
    def build(cls, model: ProductModel, config: ModelConfig, recipe: Recipe) -> Self | None:
        """Build the objective; None for a model that reads no regions with classes."""
        if config.image_encoder != "regions" or not config.region_classes:
            return None
        head = nn.Linear(config.dim, config.region_classes)
        initialise(head)
        return cls(head)

    @staticmethod
    def count(batch: StepBatch) -> float:
        """Return the number of masked regions."""
        return count_patches(batch)

    def forward(self, states: StepStates) -> Tensor | None:
        """Return the loss over images of P regions [B, P, D]."""
        view = states.batch.items
        masked = states.batch.masked
        regions = None if view is None else view.items.regions
        if regions is None or regions.classes is None or masked is None or states.patches is None:
            return None
        if not masked.patches.count:
            return None
        logits = apply_at(self.head, states.patches, masked.patches)
        target = regions.classes.flatten(0, 1).index_select(0, masked.patches.flat)
        return class_loss(logits, target)
