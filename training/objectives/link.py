"""LPM: link prediction on c* by a type-constrained softmax."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusion.fused import FusedItems, Knowledge
from fusion.model import ProductModel
from kg.message_flow import MessageFlow


def link_loss(logits: Tensor, cell: Tensor, target: Tensor, others: tuple[Tensor, Tensor], smoothing: float = 0.0) -> Tensor:
    """-log softmax of each true value among its property's candidates, other true values of the cell left out (filtered).

    ``logits`` [N, C]; statement m of M asks ``cell`` [M] and answers ``target`` [M]; ``others`` are pairs (statement [K], candidate [K])
    that are true as well and so no negatives. ``smoothing`` of the target goes evenly to the property's candidates (Szegedy et al., 2016).
    """
    asked = logits.index_select(0, cell)
    if others[0].numel():
        asked = asked.index_put(others, asked.new_tensor(-torch.inf))
    loss = F.cross_entropy(asked, target)
    if smoothing == 0:
        return loss
    # Spread over the property's own candidates: the others are impossible and stay so.
    log = asked.log_softmax(1)
    possible = asked.isfinite()
    spread = -(log.masked_fill(~possible, 0.0).sum(1) / possible.sum(1)).mean()
    return (1 - smoothing) * loss + smoothing * spread


class LinkPrediction(nn.Module):
    """Scores a flow's cells and holds :func:`link_loss` against their true values."""

    def __init__(self, smoothing: float = 0.0) -> None:
        super().__init__()
        self.smoothing = smoothing

    def forward(self, model: ProductModel, fused: FusedItems, asked: LinkTargets, knowledge: Knowledge) -> Tensor:
        """Scalar loss of ``asked`` over B fused items [B, L, D]."""
        logits = model.score(fused, asked.flow, knowledge)
        others = (asked.other_statement, knowledge.local[asked.other_candidate])
        return link_loss(logits, asked.cell, knowledge.local[asked.candidate], others, self.smoothing)


class LinkTargets:
    """A flow and the M statements that it hides: ``cell`` [M], ``candidate`` [M], and K further true values to leave out."""

    def __init__(self, flow: MessageFlow, cell: Tensor, candidate: Tensor, others: tuple[Tensor, Tensor]) -> None:
        self.flow, self.cell, self.candidate = flow, cell, candidate
        self.other_statement, self.other_candidate = others

    def to(self, device: str | torch.device) -> LinkTargets:
        """The same targets on another device."""
        others = (self.other_statement.to(device), self.other_candidate.to(device))
        return LinkTargets(self.flow.to(str(device)), self.cell.to(device), self.candidate.to(device), others)
