"""Contrastive loss of queries and items (InfoNCE), over the matching pairs of all processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from encoders.batch_norm import SumOver
from training.batches import StepBatch
from training.objectives.base import ItemReading, Need, Objective

if TYPE_CHECKING:
    from training.objectives.states import StepStates

MAX_LOG_SCALE = 4.6
"""CLIP's limit on the learned temperature: a scale of 100."""


@dataclass(frozen=True)
class Embeddings:
    """Unit vectors of N pairs: ``query`` and ``item`` [N, D]; row i is pair i."""

    query: Tensor
    item: Tensor


def contrastive_loss(
    own: Embeddings,
    everyone: Embeddings,
    log_scale: Tensor,
    query_matches: Tensor,
    item_matches: Tensor,
    first: int = 0,
) -> Tensor:
    """Return the symmetric InfoNCE of this process's N pairs among the G pairs of all processes.

    Args:
        own: the N pairs.
        everyone: the G pairs, which include the N.
        log_scale: logarithm of the inverse temperature, a scalar.
        query_matches: [N, G] True if a query also matches the item of another pair, which is then
            not a negative.
        item_matches: [N, G] True if an item also matches the query of another pair.
        first: the position of the first of the N pairs among the G.
    """
    target = first + torch.arange(len(own.query), device=own.query.device)
    scale = log_scale.clamp(max=MAX_LOG_SCALE).exp()
    sides = (
        (own.query, everyone.item, query_matches),
        (own.item, everyone.query, item_matches),
    )
    losses = []
    for anchors, others, matches in sides:
        not_negative = matches.index_put((target - first, target), matches.new_zeros(()))
        logits = (anchors @ others.T * scale).masked_fill(not_negative, -torch.inf)
        losses.append(F.cross_entropy(logits, target))
    return (losses[0] + losses[1]) / 2


class _RowsOfAllProcesses(torch.autograd.Function):
    """A gather of rows over all processes that sends gradients back.

    The gradient of a process's own rows is the sum over the losses of all processes.
    """

    @staticmethod
    def forward(context: Any, own: Tensor, first: int, count: int, sum_over: SumOver) -> Tensor:
        """Put ``own`` [N, D] at row ``first`` of ``count`` G rows, those of all processes."""
        context.first = first
        context.rows = len(own)
        context.sum_over = sum_over
        # A sum with zeros rather than a gather: processes may have different numbers of rows.
        rows = own.new_zeros(count, own.shape[1], dtype=torch.float32)
        rows[first : first + len(own)] = own
        sum_over(rows)
        return rows.to(own.dtype)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        """Return this process's rows [N, D] of the summed gradients [G, D]."""
        summed = gradient.to(torch.float32, copy=True, memory_format=torch.contiguous_format)
        context.sum_over(summed)
        own = summed[context.first : context.first + context.rows]
        return own.to(gradient.dtype), None, None, None


class Contrastive(Objective):
    """Embed queries and items so that a query is nearest to its item among those of a batch."""

    name = "contrastive"
    default_weight = 0.1
    needs = frozenset((Need.QUERY_PAIRS,))
    reads = frozenset((ItemReading.PAIR_ITEMS, ItemReading.PAIR_QUERIES))

    def __init__(self) -> None:
        super().__init__()
        self.sum_over: SumOver | None = None
        """Sums a tensor over all processes in place; None if there is only one."""

    @staticmethod
    def count(batch: StepBatch) -> float:
        """Return the number of matching pairs."""
        return 0.0 if batch.pairs is None else len(batch.pairs.label) / 2

    def forward(self, states: StepStates) -> Tensor | None:
        """Return the loss over N matching pairs, whose items [N, D] are encoded without a query."""
        pairs = states.batch.pairs
        # Each is read alone, since it is compared with all of the other side.
        item = states.reading(ItemReading.PAIR_ITEMS)
        query = states.reading(ItemReading.PAIR_QUERIES)
        if pairs is None or item is None or query is None:
            return None
        model = states.model
        own = Embeddings(
            query=model.match_head.embed(query.node),
            item=model.match_head.embed(item.node),
        )
        everyone = own
        if self.sum_over is not None:
            place = (pairs.first, pairs.query_matches.shape[1], self.sum_over)
            everyone = Embeddings(
                query=_RowsOfAllProcesses.apply(own.query, *place),  # type: ignore[no-untyped-call]
                item=_RowsOfAllProcesses.apply(own.item, *place),  # type: ignore[no-untyped-call]
            )
        return contrastive_loss(
            own,
            everyone,
            model.match_head.log_scale,
            pairs.query_matches,
            pairs.item_matches,
            pairs.first,
        )
