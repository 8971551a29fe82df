"""VTM: does the title belong to the image (VT-BERT 4.2)?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from encoders.layers import initialise
from fusion.config import ModelConfig
from fusion.model import ProductModel
from kg.sampling.keyed_random import KeyedRandom
from schema.arrays import BoolArray, IntArray
from training.batches import StepBatch
from training.objectives.base import ItemReading, Need, Objective
from training.objectives.matching import match_loss

if TYPE_CHECKING:
    from training.config import Recipe
    from training.objectives.states import StepStates


def swap_titles(
    complete: BoolArray,
    item: IntArray,
    pool: IntArray,
    random: KeyedRandom,
    rate: float = 0.5,
) -> tuple[NDArray[np.bool_], IntArray]:
    """Choose ``rate`` of the items that have title and image, and another item's title for each.

    Args:
        complete: [B] True for the items that have both a title and an image.
        item: the numbers [B] of the items.
        pool: the numbers of the items whose titles may be used.
        random: random numbers for this step.
        rate: the share of titles to swap.

    Returns:
        Which items get another item's title [B], and the number of that item [B].
    """
    # Any product of the train split may be the donor (VT-BERT 4.2), not only one of the batch.
    swapped = complete & (random.uniform("swap", item) < rate)
    return swapped, pool[random.integers(len(pool), "other title", item)]


class VisualTextMatching(Objective):
    """Distinguish an item's own title from another item's, by the global embedding e_g."""

    name = "vtm"
    needs = frozenset((Need.ITEMS, Need.SWAPPED_TITLES))
    reads = frozenset((ItemReading.ITEMS,))

    def __init__(self, head: nn.Linear) -> None:
        super().__init__()
        self.head = head

    @classmethod
    def build(cls, model: ProductModel, config: ModelConfig, recipe: Recipe) -> Self:
        """Build the objective with a linear head."""
        head = nn.Linear(config.dim, 1)
        initialise(head)
        return cls(head)

    @staticmethod
    def count(batch: StepBatch) -> float:
        """Return the number of items that have a title and an image."""
        return 0.0 if batch.title_pairs is None else float(len(batch.title_pairs.complete))

    def forward(self, states: StepStates) -> Tensor | None:
        """Return the loss over those of B items [B, D] that have a title and an image."""
        pairs = states.batch.title_pairs
        if pairs is None or states.items is None or not len(pairs.complete):
            return None
        node = states.items.node.index_select(0, pairs.complete)
        logits = self.head(states.model.pooler(node))[:, 0]
        return match_loss(logits, pairs.matching)
