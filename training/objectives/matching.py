"""Query matching: QI, QT and QV (MBSD Eq. 3-5) and in-batch contrast of queries and items."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def match_loss(logits: Tensor, label: Tensor) -> Tensor:
    """Binary cross-entropy of match logits [N] against labels [N] in {0, 1}."""
    return F.binary_cross_entropy_with_logits(logits.float(), label.float())


def contrastive_loss(query: Tensor, item: Tensor, log_scale: Tensor, same: Tensor) -> Tensor:
    """Symmetric InfoNCE over N pairs of unit vectors ``query`` [N, D] and ``item`` [N, D].

    ``same`` [N, N] is True off the diagonal where a query also matches another pair's item, which is no negative there.
    """
    logits = query @ item.T * log_scale.clamp(max=4.6).exp()
    logits = logits.masked_fill(same & ~torch.eye(len(query), dtype=torch.bool, device=query.device), -torch.inf)
    target = torch.arange(len(query), device=query.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
