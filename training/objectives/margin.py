"""Losses of link prediction against corrupted statements: K3M's margin, and NSSA."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from training.objectives.base import single_precision


def margin_loss(true: Tensor, corrupted: Tensor, margin: float = 1.0) -> Tensor:
    """Return K3M's l_LPM, max(S - S~ + margin, 0).

    It is the mean over a statement's N corruptions and over E statements. ``true`` [E] and
    ``corrupted`` [E, N] are the distances S and S~; inf marks a corruption that is true as well.
    """
    true = single_precision(true)
    corrupted = single_precision(corrupted)
    possible = corrupted.isfinite()
    distance = corrupted.masked_fill(~possible, 0.0)
    excess = F.relu(true[:, None] - distance + margin) * possible
    return (excess.sum(1) / possible.sum(1).clamp(min=1)).mean()


def self_adversarial_loss(
    true: Tensor,
    corrupted: Tensor,
    margin: float = 9.0,
    temperature: float = 1.0,
) -> Tensor:
    """Return the loss of NSSA, self-adversarial negative sampling (Sun et al., 2019).

        -mean_e log s(margin + f_e) - mean_e sum_n w_n log s(-f_n - margin)

    with w = softmax(temperature * f), which has no gradient, and s the sigmoid. ``true`` [E] and
    ``corrupted`` [E, N] are the scores f, higher for truer statements; -inf marks a corruption that
    is true as well.
    """
    true = single_precision(true)
    corrupted = single_precision(corrupted)
    possible = corrupted.isfinite()
    scores = corrupted.masked_fill(~possible, 0.0)
    # Not -inf: if all corruptions of a row are impossible, its softmax would be NaN.
    tempered = (scores * temperature).masked_fill(~possible, -1e9)
    weight = tempered.softmax(1).detach() * possible
    positive = F.logsigmoid(margin + true).mean()
    negative = (weight * F.logsigmoid(-scores - margin)).sum(1).mean()
    return -positive - negative
