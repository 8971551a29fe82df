"""Properties and values as vectors: their own embedding plus their text through the shared text encoder (K3M)."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from encoders.tokens import ModalTokens


class PieceEncoder(Protocol):
    """A module that reads word pieces, as titles' encoders do."""

    def __call__(self, pieces: Tensor) -> ModalTokens:
        """``pieces`` [B, L] (0 pads) to tokens [B, L, D]."""


class KnowledgeEncoder(nn.Module):
    """Strings to vectors: v = E[id] + mean over the string's own span of TextEncoder(string).

    ``strings`` [S, L] holds the word pieces of all properties, then of all candidates (property-specific values).
    """

    strings: Tensor

    def __init__(self, text: PieceEncoder, strings: Tensor, properties: int, dim: int) -> None:
        super().__init__()
        self.text = text
        self.properties = properties
        self.register_buffer("strings", strings, persistent=False)
        self.embedding = nn.Embedding(strings.shape[0], dim)

    def forward(self, index: Tensor) -> Tensor:
        """String numbers ``index`` [N] (unique, so that each string is encoded once a batch) to [N, D]."""
        pieces = self.strings[index]
        pieces = pieces[:, : max(1, int((pieces != 0).any(0).sum()))]
        return self.embedding(index) + self.text(pieces).mean()
