"""LPM as K3M writes it: the margin between a true triple and corrupted ones; and NSSA (Sun et al., 2019)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def transe_distance(node: Tensor, known: Tensor, value: Tensor) -> Tensor:
    """TransE's |c* + p - v| (Bordes et al., 2013), K3M's S: ``node``, ``known`` and ``value`` [..., D] to [...]."""
    return torch.linalg.vector_norm(node + known - value, dim=-1)


def margin_loss(true: Tensor, corrupted: Tensor, margin: float = 1.0) -> Tensor:
    """Mean of max(S - S~ + margin, 0) over E triples and their N corruptions: distances ``true`` [E], ``corrupted`` [E, N]."""
    return F.relu(true[:, None] - corrupted + margin).mean()


def self_adversarial_loss(true: Tensor, corrupted: Tensor, margin: float = 9.0, temperature: float = 1.0) -> Tensor:
    """NSSA over scores (higher is truer) ``true`` [E] and ``corrupted`` [E, N], -inf where a corruption is true as well.

    -mean log s(margin + f) - mean_e sum_n w_n log s(-f_n - margin), w = softmax(temperature f) without gradient; s the sigmoid.
    """
    weight = (corrupted * temperature).softmax(1).detach()
    possible = corrupted.isfinite()
    against = torch.where(possible, F.logsigmoid(-corrupted.masked_fill(~possible, 0.0) - margin), 0.0)
    return -F.logsigmoid(margin + true).mean() - (weight * against).sum(1).mean()
