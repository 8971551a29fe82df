"""VTM: does the title belong to the picture (VT-BERT 4.2)?"""

from __future__ import annotations

import torch
from torch import Tensor


def swap_titles(pairs: Tensor, rate: float = 0.5) -> tuple[Tensor, Tensor]:
    """Give ``rate`` of the items that have a title and a picture (``pairs`` [B] bool) another such item's title.

    Returns whose title each item gets [B], and whether it is its own [B] bool. Fewer than two pairs leave all as they are.
    """
    source = torch.arange(len(pairs), device=pairs.device)
    both = pairs.nonzero()[:, 0]
    if len(both) < 2:
        return source, torch.ones_like(pairs)
    # A neighbour in a shuffled ring is never the item itself.
    ring = both[torch.randperm(len(both), device=pairs.device)]
    other = source.index_copy(0, ring, ring.roll(1))
    swapped = pairs & (torch.rand(len(pairs), device=pairs.device) < rate)
    return torch.where(swapped, other, source), ~swapped
