"""MLM: predict masked title pieces from their context (Devlin et al., 2019; MBSD Eq. 1)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from encoders.layers import initialise
from encoders.tokenizer import SpecialPieces
from fusion.config import ModelConfig
from fusion.model import ProductModel
from training.batches import StepBatch
from training.objectives.base import ItemReading, Need, Objective, apply_at, single_precision

if TYPE_CHECKING:
    from training.config import Recipe
    from training.objectives.states import StepStates


def mask_pieces(
    pieces: Tensor,
    rows: Tensor,
    special: SpecialPieces,
    vocab_size: int,
    uniform: NDArray[np.float64],
    rate: float = 0.15,
    cumulative: NDArray[np.float64] | None = None,
) -> tuple[Tensor, Tensor]:
    """Choose ``rate`` of the pieces in ``rows``: 80% become [MASK], 10% another piece, 10% stay.

    Args:
        pieces: word pieces [B, L], padded with 0.
        rows: [B] True for the titles to mask.
        special: the ids of the special pieces.
        vocab_size: the number of pieces to draw replacements from.
        uniform: random numbers [3, B, L] in [0, 1).
        rate: the share of pieces to choose.
        cumulative: the distribution of the replacements, see :func:`cumulative_frequencies`; even
            over the pieces of words if None.

    Returns:
        The masked pieces [B, L], and which of them were chosen [B, L].
    """
    choice, action, replacement = torch.from_numpy(uniform)
    chosen = (choice < rate) & (pieces != 0) & rows[:, None]
    if cumulative is None:
        words = special.word_ids(vocab_size)
        random_pieces = words.start + (replacement * len(words)).long()
    else:
        random_pieces = torch.from_numpy(np.searchsorted(cumulative, uniform[2], side="right"))
    masked = torch.where(chosen & (action < 0.8), torch.full_like(pieces, special.mask), pieces)
    return torch.where(chosen & (action >= 0.9), random_pieces, masked), chosen


def cumulative_frequencies(
    titles: Iterable[Sequence[int]], special: SpecialPieces, vocab_size: int
) -> NDArray[np.float64] | None:
    """Return the unigram distribution of pieces in ``titles``, summed up over their ids [V].

    VT-BERT (4.2) draws random pieces by it. Special pieces have no share, as they are not words.
    Returns None if there is no piece of a word.
    """
    counts = np.zeros(vocab_size)
    for pieces in titles:
        np.add.at(counts, np.asarray(pieces, np.int64), 1.0)
    counts[[0, special.unk, special.cls, special.sep, special.mask]] = 0.0
    cumulative = counts.cumsum()
    return cumulative / cumulative[-1] if cumulative[-1] > 0 else None


def count_pieces(batch: StepBatch) -> float:
    """Return the number of masked title pieces of a batch."""
    return 0.0 if batch.masked is None else float(batch.masked.pieces.count)


def masked_piece_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return the mean of -log p(piece) over M chosen pieces: ``logits`` [M, V], ``target`` [M]."""
    return F.cross_entropy(single_precision(logits), target)


class PieceHead(nn.Module):
    """BERT's masked-language head: dense, GELU, norm, and the piece embeddings as output weights.

    Args:
        embedding: the embedding table of V word pieces, shared with the text encoder.
        dim: the width D of the states.
    """

    def __init__(self, embedding: nn.Embedding, dim: int) -> None:
        super().__init__()
        width = embedding.embedding_dim
        self.transform = nn.Sequential(nn.Linear(dim, width), nn.GELU(), nn.LayerNorm(width))
        self.weight = embedding.weight
        self.bias = nn.Parameter(torch.zeros(embedding.num_embeddings))
        initialise(self.transform)

    def forward(self, hidden: Tensor) -> Tensor:
        """Map ``hidden`` [M, D] of M masked tokens to logits [M, V]."""
        return F.linear(self.transform(hidden), self.weight, self.bias)


class MaskedLanguageModeling(Objective):
    """Predict the masked pieces of titles."""

    name = "mlm"
    default_weight = 0.1
    needs = frozenset((Need.ITEMS, Need.MASKED_TITLES))
    reads = frozenset((ItemReading.ITEMS,))

    def __init__(self, head: PieceHead) -> None:
        super().__init__()
        self.head = head

    @classmethod
    def build(cls, model: ProductModel, config: ModelConfig, recipe: Recipe) -> Self:
        """Build the objective with a head over the model's own word pieces."""
        return cls(PieceHead(model.fusion.piece_embedding, config.dim))

    @staticmethod
    def count(batch: StepBatch) -> float:
        """Return the number of masked pieces."""
        return count_pieces(batch)

    def forward(self, states: StepStates) -> Tensor | None:
        """Return the loss over titles of L pieces [B, L]."""
        masked = states.batch.masked
        if masked is None or states.items is None or not masked.pieces.count:
            return None
        logits = apply_at(self.head, states.items.title.hidden, masked.pieces)
        return masked_piece_loss(logits, masked.target)
