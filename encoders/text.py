"""Titles to tokens: word pieces through a transformer, and one token of n-grams."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from encoders.layers import TransformerLayer
from encoders.packing import Packed
from encoders.tokens import ModalTokens


class TextEncoder(nn.Module):
    """Word pieces to contextual tokens: embeddings of piece and position, then transformer layers."""

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

    def forward(self, pieces: Tensor) -> ModalTokens:
        """``pieces`` [B, L] (0 pads) to tokens [B, L, D]."""
        mask = pieces != 0
        hidden = self.pieces(pieces) + self.positions.weight[: pieces.shape[1]]
        return ModalTokens(Packed.of(ModalTokens(hidden, mask)).through(self.layers).padded(), mask)


class NgramBag(nn.Module):
    """The n-grams of a title as one narrow vector: TF-IDF, its columns factorised (fastText's bag with weights).

    sum_g w_g e_g / sqrt(sum_g w_g^2), w the inverse document frequencies ``weights`` [G], number 0's being 0.
    """

    weights: Tensor

    def __init__(self, weights: Tensor, width: int) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(weights.shape[0], width, mode="sum")
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, ngrams: Tensor, offsets: Tensor) -> Tensor:
        """``ngrams`` [N], ``offsets`` [B] to [B, W] of width W; zero where a title has none."""
        weights = self.weights.index_select(0, ngrams)
        squares = torch.cat([weights.new_zeros(1), weights.square()]).double().cumsum(0)
        ends = torch.cat([offsets[1:], offsets.new_tensor([ngrams.shape[0]])])
        length = (squares[ends] - squares[offsets]).clamp(min=1e-12).sqrt().to(weights.dtype)
        # Autocast would turn the weights to a type that the bag refuses.
        with torch.autocast(ngrams.device.type, enabled=False):
            return self.bag(ngrams, offsets, per_sample_weights=weights) / length[:, None]
