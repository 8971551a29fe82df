"""The joint objective: the weighted sum of all objectives of a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from fusion.config import ModelConfig
from fusion.model import ProductModel
from training.batches import StepBatch
from training.objectives import OBJECTIVES, Objective
from training.objectives.base import readings_of
from training.objectives.states import StepStates

if TYPE_CHECKING:
    from training.config import Recipe


@dataclass(frozen=True)
class LossReport:
    """The weighted sum of a step's losses, and each unweighted term by its objective's name.

    ``terms`` lacks those that the step does not have. The report of a micro-batch contains its
    shares of the batch's losses: the reports of all micro-batches add up to that of the batch.
    """

    total: Tensor
    terms: dict[str, Tensor]

    def detached(self) -> LossReport:
        """Return the same numbers without the autograd graph."""
        terms = {name: term.detach() for name, term in self.terms.items()}
        return LossReport(self.total.detach(), terms)

    @staticmethod
    def sum(reports: Sequence[LossReport]) -> LossReport:
        """Add up the reports of a batch's micro-batches."""
        terms: dict[str, Tensor] = {}
        for report in reports:
            for name, term in report.terms.items():
                terms[name] = terms[name] + term if name in terms else term
        total = torch.stack([report.total for report in reports]).sum()
        return LossReport(total, terms)


class JointObjective(nn.Module):
    """A model with its objectives; each step computes those of its stage.

    Args:
        model: the model whose states the objectives read.
        config: its configuration.
        recipe: the settings of the objectives, and the weights of all stages together.
        weights: the weights of the current stage; the recipe's if None.
    """

    def __init__(
        self,
        model: ProductModel,
        config: ModelConfig,
        recipe: Recipe,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.heads = nn.ModuleDict()
        self.unavailable: list[str] = []
        self.reaches_all_parameters = False
        """Whether every parameter gets a gradient, zero if the batch has no use for it."""
        # The heads of all stages: the optimizer and the checkpoints hold them from the first step.
        for kind in OBJECTIVES:
            if recipe.weights.get(kind.name, 0.0) > 0:
                objective = kind.build(model, config, recipe)
                if objective is None:
                    self.unavailable.append(kind.name)
                else:
                    self.heads[kind.name] = objective
        chosen = recipe.weights if weights is None else weights
        self.weights = {name: weight for name, weight in chosen.items() if weight > 0}

    @property
    def objectives(self) -> dict[str, Objective]:
        """The objectives that were built, by name."""
        return {name: part for name, part in self.heads.items() if isinstance(part, Objective)}

    def load_heads(self, weights: Mapping[str, Tensor]) -> None:
        """Load the weights of heads that another run saved; a head that it lacks keeps its own."""
        self.heads.load_state_dict(dict(weights), strict=False)

    def forward(self, batch: StepBatch, shares: Mapping[str, float] | None = None) -> LossReport:
        """Return the losses of a step's batch, or of a micro-batch, of titles [B, L] and pairs [N].

        ``shares`` gives for each term which share of the whole batch's examples are in ``batch``;
        None if it is the whole batch.
        """
        terms_of_batch = [name for name in self.weights if batch.counts.get(name, 1.0)]
        wanted = readings_of(terms_of_batch, self.objectives.values())
        states = StepStates(self.model, batch, wanted)
        # The batch may have no example of any term, and its loss must still have a gradient.
        nothing = self.model.patch_mask.sum() * 0.0
        # So must the images: batch norm exchanges its statistics with other processes in the same
        # order in all of them, forward and backward, whatever their batches have to learn from.
        images = (states.image, states.pair_image)
        for image in images:
            if image is not None:
                nothing = nothing + image.tokens.hidden[:0].sum().to(nothing.dtype)
        if self.reaches_all_parameters:
            empty = [part.reshape(-1)[:0] for part in self.parameters() if part.requires_grad]
            nothing = nothing + torch.cat(empty).sum().to(nothing.dtype)
        terms: dict[str, Tensor] = {}
        for name, objective in self.objectives.items():
            if name not in terms_of_batch:
                continue
            loss = objective(states)
            if loss is not None:
                terms[name] = loss if shares is None else loss * shares[name]
        total = sum((self.weights[name] * term for name, term in terms.items()), start=nothing)
        return LossReport(total, terms)
