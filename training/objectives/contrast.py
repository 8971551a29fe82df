"""In-batch contrast of queries and items, over the pairs of all processes."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F


def contrastive_loss(query: Tensor, item: Tensor, log_scale: Tensor, same: Tensor) -> Tensor:
    """Symmetric InfoNCE over N pairs of unit vectors ``query`` [N, D] and ``item`` [N, D].

    ``same`` [N, N] is True off the diagonal where a query also matches another pair's item, which is no negative there.
    """
    return one_of_all(query, item, item, query, log_scale, (same, same.T), 0)


def one_of_all(
    query: Tensor,
    item: Tensor,
    items: Tensor,
    queries: Tensor,
    log_scale: Tensor,
    same: tuple[Tensor, Tensor],
    first: int,
) -> Tensor:
    """The same of N pairs against all G of them: ``items`` and ``queries`` [G, D], of which one's own begin at ``first``.

    ``same`` says of each query which items it matches, and of each item which queries: two of [N, G].
    """
    target = first + torch.arange(len(query), device=query.device)
    scale = log_scale.clamp(max=4.6).exp()
    losses = []
    for mine, theirs, matches in ((query, items, same[0]), (item, queries, same[1])):
        others = matches.index_put((target - first, target), matches.new_tensor(False))
        losses.append(
            F.cross_entropy((mine @ theirs.T * scale).masked_fill(others, -torch.inf), target)
        )
    return (losses[0] + losses[1]) / 2


class _Gather(torch.autograd.Function):
    """Everyone's parts forward, the sum of what everyone's losses want of one's own part backward."""

    @staticmethod
    def forward(context: Any, part: Tensor) -> Tensor:
        """``part`` [N, D] of each of W processes to [W, N, D]."""
        parts = [torch.empty_like(part) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, part.contiguous())
        return torch.stack(parts)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        """[W, N, D] to one's own [N, D]."""
        gradient = gradient.contiguous()
        dist.all_reduce(gradient)
        return gradient[dist.get_rank()]


def of_all_processes(part: Tensor) -> Tensor:
    """``part`` [N, D] of every process, in order of their ranks, [G, D]; gradients flow back to where they are from."""
    if not (dist.is_available() and dist.is_initialized()):
        return part
    gathered: Tensor = _Gather.apply(part)  # type: ignore[no-untyped-call]
    return gathered.flatten(0, 1)
