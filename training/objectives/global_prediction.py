"""VT-BERT's predictor of a masked token from only [CLS] and the token's position (Eq. 3, 4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from encoders.layers import initialise


class GlobalPredictor(nn.Module):
    """The two layers of which GMLM and GMRFR each have their own:

        h_0 = [h([CLS]); p],  h_1 = LayerNorm(GELU(W_0 h_0)),  y = LayerNorm(GELU(W_1 h_1))

    Args:
        dim: the width D of states and positions.
        width: the width W of the prediction y.
    """

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(2 * dim, dim), nn.GELU(), nn.LayerNorm(dim))
        self.second = nn.Sequential(nn.Linear(dim, width), nn.GELU(), nn.LayerNorm(width))
        initialise(self)

    def forward(self, node: Tensor, positions: Tensor) -> Tensor:
        """Map ``node`` h([CLS]) and ``positions`` p, [M, D] of M masked tokens, to y [M, W]."""
        return self.second(self.first(torch.cat([node, positions], -1)))
