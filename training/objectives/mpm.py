"""MPM: masked patches against raw pixels (MBSD Eq. 2)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from training.objectives.precise import precise


def mask_patches(
    there: Tensor, rows: Tensor, luck: NDArray[np.float64], rate: float = 0.5
) -> Tensor:
    """Choose ``rate`` of the patches that are ``there`` [B, P] in ``rows`` [B], by ``luck`` [B, P] in [0, 1): [B, P] bool."""
    return (torch.from_numpy(luck) < rate) & there & rows[:, None]


def raw_patches(pixels: Tensor, grid: int) -> Tensor:
    """Cut ``pixels`` [B, 3, S, S] uint8 into grid*grid patches of raw RGB in [0, 1]: [B, grid*grid, 3*p*p], p = S / grid."""
    size = pixels.shape[-1] // grid
    return F.unfold(pixels.float() / 255, size, stride=size).transpose(1, 2)


def masked_patch_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """L1 over the raw pixels of M masked patches, a mean over pixels: ``predicted`` and ``target`` [M, 3*p*p]."""
    return torch.mean(torch.abs(precise(predicted) - target))
