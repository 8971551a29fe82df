"""SDMI: the weaker modality learns from the stronger one (MBSD Eq. 6-10)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from training.objectives.precise import precise


def distillation_losses(
    title: tuple[Tensor, Tensor], image: tuple[Tensor, Tensor], label: Tensor
) -> tuple[Tensor, Tensor]:
    """L_KL and L_RS of N query-item pairs read by title alone and by image alone.

    ``title`` and ``image`` are each states h [N, D] and match logits [N]; ``label`` [N] in {0, 1}. The stronger side s, that whose
    probability is nearer the label (Eq. 6), teaches and gets no gradient; the weight w is the gap between both where s is right (Eq. 9),
    a number as well.

        L_KL = 1/N sum w_i KL(p_i^w || p_i^s),  L_RS = 1/N sum w_i / D |h_i^s - h_i^w|^2
    """
    (h_t, z_t) = title
    (h_v, z_v) = image
    z_t = precise(z_t)
    z_v = precise(z_v)
    positive = label > 0.5
    title_strong = torch.where(positive, z_t > z_v, z_t < z_v)
    z_strong = torch.where(title_strong, z_t, z_v).detach()
    z_weak = torch.where(title_strong, z_v, z_t)
    h_strong = torch.where(title_strong[:, None], h_t, h_v).detach()
    h_weak = torch.where(title_strong[:, None], h_v, h_t)
    gap = (z_strong.sigmoid() - z_weak.sigmoid()).abs().detach()
    weight = gap * torch.where(positive, z_strong > 0, z_strong < 0)
    distance = (precise(h_strong) - precise(h_weak)).square().mean(1)
    return (weight * bernoulli_divergence(z_weak, z_strong)).mean(), (weight * distance).mean()


def bernoulli_divergence(first: Tensor, second: Tensor) -> Tensor:
    """KL(p || q) of two Bernoulli distributions given as logits [N]: p (ln p - ln q) + (1 - p) (ln (1 - p) - ln (1 - q))."""
    p = first.sigmoid()
    return p * (F.logsigmoid(first) - F.logsigmoid(second)) + (1 - p) * (
        F.logsigmoid(-first) - F.logsigmoid(-second)
    )
