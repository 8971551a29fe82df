"""Query matching: QI, QT and QV (MBSD Eq. 3-5)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from training.objectives.precise import precise


def match_loss(logits: Tensor, label: Tensor) -> Tensor:
    """Binary cross-entropy of match logits [N] against labels [N] in {0, 1}."""
    logits = precise(logits)
    return F.binary_cross_entropy_with_logits(logits, label.to(logits.dtype))
