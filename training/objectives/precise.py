"""Losses are computed in single precision at least."""

from __future__ import annotations

import torch
from torch import Tensor


def precise(part: Tensor) -> Tensor:
    """The tensor as it is in single or double precision, else in single."""
    return part if part.dtype in (torch.float32, torch.float64) else part.float()
