"""Query matching: QI, QT and QV (MBSD Eq. 3-5)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def match_loss(logits: Tensor, label: Tensor) -> Tensor:
    """Binary cross-entropy of match logits [N] against labels [N] in {0, 1}."""
    return F.binary_cross_entropy_with_logits(logits.float(), label.float())
