"""LPM: link prediction on c*, that is, from the item and its other statements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusion.config import ModelConfig
from fusion.fused import FusedItems, Knowledge
from fusion.model import ProductModel
from training.batches import ItemView, LinkTargets, StepBatch, TrueAlternatives
from training.objectives.base import ItemReading, Need, Objective, single_precision
from training.objectives.margin import margin_loss, self_adversarial_loss

if TYPE_CHECKING:
    from training.config import Recipe
    from training.objectives.states import StepStates


def softmax_loss(
    logits: Tensor,
    cell: Tensor,
    target: Tensor,
    alternatives: TrueAlternatives,
    smoothing: float = 0.0,
    log_weight: Tensor | None = None,
) -> Tensor:
    """Return the mean -log softmax of each true value among its property's candidates.

    Other true values of the same cell are left out (the filtered setting).

    If the candidates are a sample, each stands for exp(``log_weight``) candidates: its part of the
    softmax's denominator, and of the smoothed target, is that many times as large. See
    :func:`kg.sampling.negatives.type_constrained_candidates`.

    Args:
        logits: scores [N, C] of N cells over C candidates; -inf for those of other properties.
        cell: the cell [M] of each of M statements.
        target: the candidate [M] that is true.
        alternatives: candidates that are true as well, so do not count as negatives (filtered
            setting).
        smoothing: share of the target that is distributed over all candidates of the property
            (label smoothing, Szegedy et al., 2016).
        log_weight: logarithms [N, C] of how many candidates each stands for; None if one. A true
            value stands for itself.
    """
    scores = single_precision(logits)
    if log_weight is not None:
        scores = scores + log_weight
    scores = scores.index_select(0, cell)
    if alternatives.statement.numel():
        place = (alternatives.statement, alternatives.candidate)
        scores = scores.index_put(place, scores.new_full((), -torch.inf))
    loss = F.cross_entropy(scores, target)
    if smoothing == 0:
        return loss
    # The smoothed target covers only the property's own candidates; the others stay impossible.
    log_probabilities = scores.log_softmax(1)
    possible = scores.isfinite()
    if log_weight is None:
        # Zeros before the sum, which would be -inf otherwise.
        spread = log_probabilities.masked_fill(~possible, 0.0).sum(1) / possible.sum(1)
    else:
        # A candidate has its own probability, not that of all for which it stands.
        log_weight = log_weight.index_select(0, cell)
        weight = log_weight.exp() * possible
        log_probabilities = (log_probabilities - log_weight).masked_fill(~possible, 0.0)
        spread = (weight * log_probabilities).sum(1) / weight.sum(1)
    return (1 - smoothing) * loss - smoothing * spread.mean()


class SoftmaxLinks(nn.Module):
    """Scores the candidates of each cell and compares them by :func:`softmax_loss`."""

    def __init__(self, smoothing: float = 0.0) -> None:
        super().__init__()
        self.smoothing = smoothing

    def forward(
        self,
        model: ProductModel,
        fused: FusedItems,
        targets: LinkTargets,
        knowledge: Knowledge,
    ) -> Tensor:
        """Return the scalar loss of ``targets`` over B fused items [B, L, D]."""
        softmax = targets.softmax
        if softmax is None:
            raise ValueError("these link targets have no candidates to compare with")
        logits = model.score_own(fused, targets.flow, knowledge, softmax.own)
        weight = softmax.log_weight
        return softmax_loss(
            logits,
            targets.cell,
            softmax.target,
            TrueAlternatives(targets.alternatives.statement, softmax.alternative),
            self.smoothing,
            None if weight is None else softmax.own.gather(weight),
        )


class CorruptedLinks(nn.Module):
    """Scores true statements and their corruptions and compares them by a margin or by NSSA."""

    def __init__(self, adversarial: bool, margin: float, temperature: float = 1.0) -> None:
        super().__init__()
        self.adversarial = adversarial
        self.margin = margin
        self.temperature = temperature

    def forward(
        self,
        model: ProductModel,
        fused: FusedItems,
        targets: LinkTargets,
        knowledge: Knowledge,
    ) -> Tensor:
        """Return the scalar loss of ``targets``, with corruptions, over B fused items [B, L, D]."""
        corrupted = targets.corrupted
        if corrupted is None:
            raise ValueError("these link targets have no corrupted statements to compare with")
        # The true statement is the first column, its corruptions follow.
        cell = torch.cat([targets.cell[:, None], corrupted.cell], 1)
        candidate = torch.cat([targets.candidate[:, None], corrupted.candidate], 1)
        scores = model.score_pairs(
            fused,
            targets.flow,
            knowledge,
            cell=cell,
            candidate_row=knowledge.row_of[candidate],
        )
        true = scores[:, 0]
        negatives = scores[:, 1:].masked_fill(~corrupted.possible, -torch.inf)
        if self.adversarial:
            return self_adversarial_loss(true, negatives, self.margin, self.temperature)
        # Scores are negative distances.
        return margin_loss(-true, -negatives, self.margin)


class _HiddenStatements(Objective):
    """Base class of both objectives: the recipe's kind of loss over one reading of the items."""

    def __init__(self, links: SoftmaxLinks | CorruptedLinks) -> None:
        super().__init__()
        self.links = links

    @classmethod
    def build(cls, model: ProductModel, config: ModelConfig, recipe: Recipe) -> Self:
        """Build the objective with the recipe's kind of loss."""
        if recipe.link == "softmax":
            return cls(SoftmaxLinks(recipe.label_smoothing))
        adversarial = recipe.link == "nssa"
        return cls(CorruptedLinks(adversarial, recipe.margin, recipe.temperature))

    def loss(
        self,
        states: StepStates,
        view: ItemView | None,
        fused: FusedItems | None,
    ) -> Tensor | None:
        """Return the loss over B fused items [B, L, D]; None if no statement is hidden."""
        knowledge = states.knowledge
        if view is None or fused is None or view.links is None or knowledge is None:
            return None
        if not view.links.cell.numel():
            return None
        loss: Tensor = self.links(states.model, fused, view.links, knowledge)
        return loss


def count_links(view: ItemView | None) -> float:
    """Return the number of hidden statements of a view."""
    return 0.0 if view is None or view.links is None else float(len(view.links.cell))


class LinkPrediction(_HiddenStatements):
    """Predict hidden statements of items with title and image."""

    name = "lpm"
    default_weight = 1.0
    needs = frozenset((Need.ITEMS, Need.HIDDEN_STATEMENTS))
    reads = frozenset((ItemReading.ITEMS,))

    @staticmethod
    def count(batch: StepBatch) -> float:
        """Return the number of hidden statements."""
        return count_links(batch.items)

    def forward(self, states: StepStates) -> Tensor | None:
        """Return the loss over B items [B, L, D]."""
        return self.loss(states, states.batch.items, states.items)


class LinkPredictionWithoutImage(_HiddenStatements):
    """Predict hidden statements of the same items without their images.

    Without this objective the model relies on images, which many items of a catalogue lack.
    """

    name = "lpm_unseen"
    default_weight = 1.0
    needs = frozenset((Need.ITEMS_WITHOUT_IMAGE,))
    reads = frozenset((ItemReading.ITEMS_WITHOUT_IMAGE,))

    @staticmethod
    def count(batch: StepBatch) -> float:
        """Return the number of hidden statements."""
        return count_links(batch.items_without_image)

    def forward(self, states: StepStates) -> Tensor | None:
        """Return the loss over B items [B, L, D]."""
        return self.loss(states, states.batch.items_without_image, states.items_without_image)
