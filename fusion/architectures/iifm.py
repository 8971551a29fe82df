"""K3M's initial-interactive feature fusion module (IIFM): what a token was before the modalities met, beside what it became."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Fusion = Literal["mean", "soft-spl", "hard-spl"]


class InitialInteractiveFusion(nn.Module):
    """h = fusion(h^0, h^I), of every token of a modality (K3M, section 3.2):

        mean      h = (h^0 + h^I) / 2
        soft-spl  h = r_0 h^0 + r_1 h^I,  r = softmax(W [h^0 || h^I])
        hard-spl  the same with r one-hot: drawn by Gumbel-softmax in training (straight-through: the gradient is the soft one's),
                  the likelier one otherwise

    A noisy or missing modality spoils h^I of the other; h^0 keeps that one as it was. Raises ValueError on another ``mode``.
    """

    def __init__(self, dim: int, mode: Fusion = "soft-spl", temperature: float = 1.0) -> None:
        super().__init__()
        if mode not in get_args(Fusion):
            raise ValueError(f"mode {mode!r} is unknown: choose {', '.join(get_args(Fusion))}")
        self.mode = mode
        self.temperature = temperature
        self.choose = None if mode == "mean" else nn.Linear(2 * dim, 2)

    def forward(self, initial: Tensor, interactive: Tensor) -> Tensor:
        """``initial`` h^0 and ``interactive`` h^I [B, L, D] to [B, L, D]."""
        if self.choose is None:
            return (initial + interactive) / 2
        scores = self.choose(torch.cat([initial, interactive], -1)).float()
        share = self._share(scores).to(interactive.dtype)
        return share[..., :1] * initial + share[..., 1:] * interactive

    def _share(self, scores: Tensor) -> Tensor:
        if self.mode == "soft-spl":
            return scores.softmax(-1)
        if self.training:
            return F.gumbel_softmax(scores, self.temperature, hard=True)
        return F.one_hot(scores.argmax(-1), 2).to(scores.dtype)
