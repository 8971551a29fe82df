"""GMLM: predict masked title pieces from only [CLS] and their positions (VT-BERT Eq. 2-3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from torch import Tensor, nn
from torch.nn import functional as F

from fusion.config import ModelConfig
from fusion.model import ProductModel
from training.batches import StepBatch
from training.objectives.base import ItemReading, Need, Objective
from training.objectives.global_prediction import GlobalPredictor
from training.objectives.mlm import count_pieces, masked_piece_loss

if TYPE_CHECKING:
    from training.config import Recipe
    from training.objectives.states import StepStates


class GlobalPieceHead(nn.Module):
    """Predicts pieces from [CLS] and positions, with the piece embeddings as output weights.

    Args:
        embedding: the embedding table of V word pieces, shared with the text encoder.
        dim: the width D of the states.
    """

    def __init__(self, embedding: nn.Embedding, dim: int) -> None:
        super().__init__()
        self.predictor = GlobalPredictor(dim, embedding.embedding_dim)
        self.weight = embedding.weight

    def forward(self, node: Tensor, positions: Tensor) -> Tensor:
        """Map ``node`` h([CLS]) and ``positions``, both [M, D], to logits [M, V]."""
        return F.linear(self.predictor(node, positions), self.weight)


def global_piece_loss(
    head: GlobalPieceHead,
    node: Tensor,
    positions: Tensor,
    target: Tensor,
) -> Tensor:
    """Return the mean of -log p(t_n | h([CLS]), p_n) over M masked pieces.

    ``node`` and ``positions`` [M, D], ``target`` [M].
    """
    return masked_piece_loss(head(node, positions), target)


class GlobalMaskedLanguageModeling(Objective):
    """Predict masked pieces from the item's [CLS], so that it represents the whole title."""

    name = "gmlm"
    default_weight = 0.02
    needs = frozenset((Need.ITEMS, Need.MASKED_TITLES))
    reads = frozenset((ItemReading.ITEMS,))

    def __init__(self, head: GlobalPieceHead) -> None:
        super().__init__()
        self.head = head

    @classmethod
    def build(cls, model: ProductModel, config: ModelConfig, recipe: Recipe) -> Self | None:
        """Build the objective; None for a wrapped model, whose positions cannot be read."""
        if config.preset == "wrapped":
            return None
        return cls(GlobalPieceHead(model.fusion.piece_embedding, config.dim))

    @staticmethod
    def count(batch: StepBatch) -> float:
        """Return the number of masked pieces."""
        return count_pieces(batch)

    def forward(self, states: StepStates) -> Tensor | None:
        """Return the loss over titles of L pieces [B, L]."""
        masked = states.batch.masked
        if masked is None or states.items is None or not masked.pieces.count:
            return None
        node = states.items.node.index_select(0, masked.pieces.row)
        positions = states.model.title_positions(masked.pieces.column)
        return global_piece_loss(self.head, node, positions, masked.target)
