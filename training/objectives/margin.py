"""LPM's losses against corrupted statements: K3M's margin, and NSSA (Sun et al., 2019)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from training.objectives.precise import precise


def margin_loss(true: Tensor, corrupted: Tensor, margin: float = 1.0) -> Tensor:
    """K3M's l_LPM: max(S - S~ + margin, 0), a mean over each triple's corruptions and over E triples.

    Distances ``true`` [E] and ``corrupted`` [E, N], inf where a corruption is true as well.
    """
    true = precise(true)
    corrupted = precise(corrupted)
    possible = corrupted.isfinite()
    excess = F.relu(true[:, None] - corrupted.masked_fill(~possible, 0.0) + margin) * possible
    return (excess.sum(1) / possible.sum(1).clamp(min=1)).mean()


def self_adversarial_loss(
    true: Tensor, corrupted: Tensor, margin: float = 9.0, temperature: float = 1.0
) -> Tensor:
    """NSSA over scores (higher is truer) ``true`` [E] and ``corrupted`` [E, N], -inf where a corruption is true as well.

    -mean log s(margin + f) - mean_e sum_n w_n log s(-f_n - margin), w = softmax(temperature f) without gradient; s the sigmoid.
    """
    true = precise(true)
    corrupted = precise(corrupted)
    possible = corrupted.isfinite()
    plain = corrupted.masked_fill(~possible, 0.0)
    weight = (plain * temperature).masked_fill(~possible, -1e9).softmax(1).detach() * possible
    return (
        -F.logsigmoid(margin + true).mean() - (weight * F.logsigmoid(-plain - margin)).sum(1).mean()
    )
