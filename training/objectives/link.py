"""LPM: link prediction on c*, told by a type-constrained softmax, or by a margin or NSSA against corrupted statements."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusion.fused import FusedItems, Knowledge
from fusion.model import ProductModel
from kg.message_flow import MessageFlow
from training.objectives.margin import margin_loss, self_adversarial_loss
from training.objectives.precise import precise


@dataclass(frozen=True)
class Corruptions:
    """K corrupted statements for each of M: ``cell`` and ``candidate`` [M, K], and which are ``possible`` [M, K]: not true as well."""

    cell: Tensor
    candidate: Tensor
    possible: Tensor


@dataclass(frozen=True)
class LinkTargets:
    """A flow and the M statements that it hides: ``cell`` [M], ``candidate`` [M].

    ``others`` are K pairs (statement, candidate) that are true as well and so no negatives; ``corrupted`` those to tell them from.
    """

    flow: MessageFlow
    cell: Tensor
    candidate: Tensor
    others: tuple[Tensor, Tensor]
    corrupted: Corruptions | None = None


def link_loss(
    logits: Tensor,
    cell: Tensor,
    target: Tensor,
    others: tuple[Tensor, Tensor],
    smoothing: float = 0.0,
) -> Tensor:
    """-log softmax of each true value among its property's candidates, other true values of the cell left out (filtered).

    ``logits`` [N, C]; statement m of M asks ``cell`` [M] and answers ``target`` [M]; ``others`` are pairs (statement [K], candidate [K])
    that are true as well and so no negatives. ``smoothing`` of the target goes evenly to the property's candidates (Szegedy et al., 2016).
    """
    asked = precise(logits).index_select(0, cell)
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


class SoftmaxLinks(nn.Module):
    """Scores a flow's cells and holds :func:`link_loss` against their true values."""

    def __init__(self, smoothing: float = 0.0) -> None:
        super().__init__()
        self.smoothing = smoothing

    def forward(
        self, model: ProductModel, fused: FusedItems, asked: LinkTargets, knowledge: Knowledge
    ) -> Tensor:
        """Scalar loss of ``asked`` over B fused items [B, L, D]."""
        logits = model.score(fused, asked.flow, knowledge)
        statement, candidate = asked.others
        others = (statement, knowledge.local[candidate])
        return link_loss(
            logits, asked.cell, knowledge.local[asked.candidate], others, self.smoothing
        )


class CorruptedLinks(nn.Module):
    """Scores true statements and their corruptions and holds K3M's margin, or NSSA, against them."""

    def __init__(self, adversarial: bool, margin: float, temperature: float = 1.0) -> None:
        super().__init__()
        self.adversarial = adversarial
        self.margin = margin
        self.temperature = temperature

    def forward(
        self, model: ProductModel, fused: FusedItems, asked: LinkTargets, knowledge: Knowledge
    ) -> Tensor:
        """Scalar loss of ``asked``, which has corruptions, over B fused items [B, L, D]."""
        if asked.corrupted is None:
            raise ValueError("no corrupted statement to tell the true ones from")
        cell = torch.cat([asked.cell[:, None], asked.corrupted.cell], 1)
        candidate = torch.cat([asked.candidate[:, None], asked.corrupted.candidate], 1)
        scores = model.score_pairs(fused, asked.flow, knowledge, (cell, knowledge.local[candidate]))
        true = scores[:, 0]
        corrupted = scores[:, 1:].masked_fill(~asked.corrupted.possible, -torch.inf)
        if self.adversarial:
            return self_adversarial_loss(true, corrupted, self.margin, self.temperature)
        return margin_loss(-true, -corrupted, self.margin)
