"""Light text encoders of the joint model: word pieces through a transformer, and a bag of n-grams.

Shapes: B titles, L word pieces, M masked pieces, G n-grams of all titles, W the bag's width, D the
model's width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from encoders.base import TitleEncoder
from encoders.layers import TransformerLayer
from encoders.packing import PackedTokens
from encoders.tokens import ModalTokens


class TextEncoder(TitleEncoder):
    """Embeddings of word pieces and positions, then pre-norm transformer layers.

    Args:
        vocab_size: number of word pieces V
        dim: the width D
        heads: attention heads of each layer
        layers: number of layers
        max_length: number of positions
        dropout: dropout rate of the layers
    """

    def __init__(
        self,
        vocab_size: int,
        dim: int,
        heads: int,
        layers: int,
        max_length: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.pieces = nn.Embedding(vocab_size, dim, padding_idx=0)
        self.positions = nn.Embedding(max_length, dim)
        self.layers = nn.ModuleList(TransformerLayer(dim, heads, dropout) for _ in range(layers))

    @property
    def piece_embedding(self) -> nn.Embedding:
        """The embeddings of word pieces."""
        return self.pieces

    def position_vectors(self, index: Tensor) -> Tensor:
        """Return the position embeddings [M, D] of the pieces with numbers ``index`` [M]."""
        return self.positions(index)

    def forward(self, pieces: Tensor, limit: int | None = None) -> ModalTokens:
        """Encode ``pieces`` [B, L] (0 is padding) as tokens [B, L, D]."""
        mask = pieces != 0
        hidden = self.pieces(pieces) + self.positions.weight[: pieces.shape[1]]
        packed = PackedTokens.of(ModalTokens(hidden, mask, limit)).through(self.layers)
        return ModalTokens(packed.padded(), mask, limit)


class NgramBag(nn.Module):
    """The n-grams of a title as one narrow vector: a factorised TF-IDF.

    It is fastText's bag of n-grams with weights: sum_g w_g e_g / sqrt(sum_g w_g^2), where w_g is
    the inverse document frequency of n-gram g and e_g its embedding.

    Args:
        weights: inverse document frequency of each n-gram [V]; that of number 0 is 0
        width: the width W of the vector
    """

    weights: Tensor

    def __init__(self, weights: Tensor, width: int) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(weights.shape[0], width, mode="sum")
        # Not saved with the model's weights: the tokenizer's file of n-grams has them already.
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, ngrams: Tensor, offsets: Tensor) -> Tensor:
        """Map ``ngrams`` [G], which begin at ``offsets`` [B] for each title, to [B, W].

        A title without n-grams becomes zero.
        """
        weights = self.weights.index_select(0, ngrams)
        # Sums of squares per title, as differences of a running sum; in float64, since such
        # differences cancel.
        squares = torch.cat([weights.new_zeros(1), weights.square()]).double().cumsum(0)
        ends = torch.cat([offsets[1:], offsets.new_full((1,), ngrams.shape[0])])
        length = (squares[ends] - squares[offsets]).clamp(min=1e-12).sqrt().to(weights.dtype)
        # Autocast would convert the weights to a type that the embedding bag refuses.
        with torch.autocast(ngrams.device.type, enabled=False):
            return self.bag(ngrams, offsets, per_sample_weights=weights) / length[:, None]
