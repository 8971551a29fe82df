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
FusionGates = Literal["feature", "token"]


class InitialInteractiveFusion(nn.Module):
    """h = fusion(h^0, h^I) for every token of a modality (K3M, section 3.2).

    A noisy or missing modality corrupts h^I of the other one; h^0 preserves it. The paper names
    soft-spl and hard-spl without writing them out. With a gate for each ``feature`` they are those
    of its released code, s being the sigmoid and * the product of single features:

        u_0 = ReLU(h^0),  u_1 = ReLU(h^I),  g_k = s(W_k [u_0 || u_1] + b_k)   [B, L, D], k = 0, 1

        mean      h = (h^0 + h^I) / 2
        soft-spl  h = W [g_0 * u_0 || g_1 * u_1] + b
        hard-spl  h = r_0 * u_0 + r_1 * u_1, where r is one-hot in each feature: in training it is
                  drawn by Gumbel-softmax from the scores g, and the gradient is that of the soft
                  sample (straight-through); otherwise the larger g is taken

    With a gate for each ``token``, our own, a token chooses between h^0 and h^I as a whole:

        soft-spl  h = r_0 h^0 + r_1 h^I,  r = softmax(W [h^0 || h^I] + b)   [B, L, 2]
        hard-spl  the same with a one-hot r, drawn from the scores W [h^0 || h^I] + b as above

    The released code draws hard-spl outside training as well; here an answer does not depend on
    chance. Raises ValueError on another ``mode`` or other ``gates``.

    Args:
        dim: the width D
        mode: one of the above
        temperature: temperature of the Gumbel-softmax
        gates: ``feature`` or ``token``
    """

    def __init__(
        self,
        dim: int,
        mode: FusionMode = "soft-spl",
        temperature: float = 1.0,
        gates: FusionGates = "feature",
    ) -> None:
        super().__init__()
        if mode not in get_args(FusionMode):
            raise ValueError(f"mode {mode!r} is unknown: choose {', '.join(get_args(FusionMode))}")
        if gates not in get_args(FusionGates):
            allowed = ", ".join(get_args(FusionGates))
            raise ValueError(f"gates {gates!r} are unknown: choose {allowed}")
        self.mode = mode
        self.temperature = temperature
        by_token = mode != "mean" and gates == "token"
        by_feature = mode != "mean" and gates == "feature"
        self.choose = nn.Linear(2 * dim, 2) if by_token else None
        # W_0 and W_1 as one matrix.
        self.gate = nn.Linear(2 * dim, 2 * dim) if by_feature else None
        self.mix = nn.Linear(2 * dim, dim) if by_feature and mode == "soft-spl" else None

    def forward(self, initial: Tensor, interactive: Tensor) -> Tensor:
        """Fuse ``initial`` h^0 and ``interactive`` h^I [B, L, D]: [B, L, D]."""
        if self.gate is not None:
            return self._by_feature(self.gate, F.relu(initial), F.relu(interactive))
        if self.choose is not None:
            scores = self.choose(torch.cat([initial, interactive], -1)).float()
            shares = scores.softmax(-1) if self.mode == "soft-spl" else self._one_hot(scores)
            shares = shares.to(interactive.dtype)
            return shares[..., :1] * initial + shares[..., 1:] * interactive
        return (initial + interactive) / 2

    def _by_feature(self, gate: nn.Linear, initial: Tensor, interactive: Tensor) -> Tensor:
        """Fuse u_0 and u_1 [B, L, D], which are not negative: [B, L, D]."""
        gates = gate(torch.cat([initial, interactive], -1)).sigmoid()
        if self.mix is not None:
            return self.mix(gates * torch.cat([initial, interactive], -1))
        scores = gates.float().unflatten(-1, (2, -1)).transpose(-1, -2)
        shares = self._one_hot(scores).to(interactive.dtype)
        return shares[..., 0] * initial + shares[..., 1] * interactive

    def _one_hot(self, scores: Tensor) -> Tensor:
        """Return shares [..., 2] of h^0 and h^I, one of which is 1, by ``scores`` [..., 2]."""
        if self.training:
            return F.gumbel_softmax(scores, self.temperature, hard=True)
        # Not by one_hot(), which waits for a GPU to check its numbers.
        takes_initial = scores[..., :1] >= scores[..., 1:]
        return torch.cat([takes_initial, ~takes_initial], -1).to(scores.dtype)
