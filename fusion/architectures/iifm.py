"""K3M's initial-interactive feature fusion module (IIFM).

It fuses what a token was before the modalities met with what it became afterwards.
Shapes: B items, L tokens, D the model's width.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FusionMode = Literal["mean", "soft-spl", "hard-spl"]


class InitialInteractiveFusion(nn.Module):
    """h = fusion(h^0, h^I) for every token of a modality (K3M, section 3.2).

        mean      h = (h^0 + h^I) / 2
        soft-spl  h = r_0 h^0 + r_1 h^I,  r = softmax(W [h^0 || h^I])
        hard-spl  the same with a one-hot r: in training it is drawn by Gumbel-softmax, and the
                  gradient is that of the soft sample (straight-through); otherwise the more
                  probable one is taken

    A noisy or missing modality corrupts h^I of the other one; h^0 preserves it. The paper names
    soft-spl and hard-spl without writing them out. Raises ValueError on another ``mode``.

    Args:
        dim: the width D
        mode: one of the above
        temperature: temperature of the Gumbel-softmax
    """

    def __init__(self, dim: int, mode: FusionMode = "soft-spl", temperature: float = 1.0) -> None:
        super().__init__()
        if mode not in get_args(FusionMode):
            raise ValueError(f"mode {mode!r} is unknown: choose {', '.join(get_args(FusionMode))}")
        self.mode = mode
        self.temperature = temperature
        self.choose = None if mode == "mean" else nn.Linear(2 * dim, 2)

    def forward(self, initial: Tensor, interactive: Tensor) -> Tensor:
        """Fuse ``initial`` h^0 and ``interactive`` h^I [B, L, D]: [B, L, D]."""
        if self.choose is None:
            return (initial + interactive) / 2
        scores = self.choose(torch.cat([initial, interactive], -1)).float()
        shares = self._shares(scores).to(interactive.dtype)
        return shares[..., :1] * initial + shares[..., 1:] * interactive

    def _shares(self, scores: Tensor) -> Tensor:
        """Return the shares r [B, L, 2] of h^0 and h^I."""
        if self.mode == "soft-spl":
            return scores.softmax(-1)
        if self.training:
            return F.gumbel_softmax(scores, self.temperature, hard=True)
        return F.one_hot(scores.argmax(-1), 2).to(scores.dtype)
