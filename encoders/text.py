"""Titles to tokens: word pieces through a transformer, and one token of hashed n-grams."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from encoders.layers import TransformerLayer
from encoders.tokens import ModalTokens


class TextEncoder(nn.Module):
    """Word pieces to contextual tokens: embeddings of piece and position, then transformer layers."""

    def __init__(self, vocab_size: int, dim: int, heads: int, layers: int, max_length: int) -> None:
        super().__init__()
        self.pieces = nn.Embedding(vocab_size, dim, padding_idx=0)
        self.positions = nn.Embedding(max_length, dim)
        self.layers = nn.ModuleList(TransformerLayer(dim, heads) for _ in range(layers))

    def forward(self, pieces: Tensor) -> ModalTokens:
        """``pieces`` [B, L] (0 pads) to tokens [B, L, D]."""
        mask = pieces != 0
        hidden = self.pieces(pieces) + self.positions.weight[: pieces.shape[1]]
        # An empty row would be a softmax over nothing: let it attend to its first pad and stay masked afterwards.
        attend = mask.clone()
        attend[:, 0] = True
        for layer in self.layers:
            hidden = layer(hidden, attend)
        return ModalTokens(hidden, mask)


class NgramBag(nn.Module):
    """Hashed n-grams of a title to one narrow vector, scaled by the root of their number (fastText's bag, TF-IDF's reach)."""

    def __init__(self, buckets: int, width: int) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(buckets, width, mode="sum")

    def forward(self, ngrams: Tensor, offsets: Tensor) -> Tensor:
        """``ngrams`` [G], ``offsets`` [B] to [B, W] of width W; zero where a title has none."""
        ends = torch.cat([offsets[1:], offsets.new_tensor([ngrams.shape[0]])])
        count = (ends - offsets).clamp(min=1).to(self.bag.weight.dtype)
        return self.bag(ngrams, offsets) / count.sqrt()[:, None]
