"""MRFR: masked patches or regions against what they were (VT-BERT Eq. 1), and regions' classes (ViLBERT's, which K3M takes over)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from training.objectives.precise import precise


def mask_features(
    there: Tensor, rows: Tensor, luck: NDArray[np.float64], rate: float = 0.15, covered: float = 0.8
) -> tuple[Tensor, Tensor]:
    """Choose ``rate`` of the tokens that are ``there`` [B, P] in ``rows`` [B]; ``covered`` of them lose their content, the rest keep it.

    ``luck`` [2, B, P] in [0, 1). Returns chosen [B, P] and covered [B, P] bool. The paper's shares add to 95% (80% masked, 15% kept); the
    remaining 5% are kept.
    """
    choice, fate = torch.from_numpy(luck)
    chosen = (choice < rate) & there & rows[:, None]
    return chosen, chosen & (fate < covered)


def feature_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """1/M sum |h - r|^2 of M masked tokens, ``predicted`` and ``target`` [M, F]; Eq. 1's minus is read as a slip."""
    return (precise(predicted) - precise(target)).square().sum(1).mean()


def class_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Mean KL(target || softmax(logits)) of M masked regions over the detector's C classes: ``logits`` and ``target`` [M, C]."""
    return F.kl_div(precise(logits).log_softmax(1), precise(target), reduction="batchmean")
