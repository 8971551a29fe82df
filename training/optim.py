"""Optimizers, the learning rate schedule that fits a budget, and averaged weights."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.config import Recipe

TABLES = (
    "fusion.ngrams.bag.weight",
    "links.wide.weight",
    "links.known.weight",
    "knowledge.embedding.weight",
)
"""Embedding tables whose rows are seen rarely: they learn faster, and decay less."""


def build_optimizer(objective: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Build AdamW (Loshchilov and Hutter, 2019) or LAMB (You et al., 2020) for model and heads.

    Matrices decay; norms and biases do not. Tables learn ``table_rate`` times as fast. A group's
    ``scale`` multiplies the learning rate that the schedule gives.
    """
    tables: list[nn.Parameter] = []
    matrices: list[nn.Parameter] = []
    vectors: list[nn.Parameter] = []
    for name, parameter in objective.named_parameters():
        if name.removeprefix("model.") in TABLES:
            tables.append(parameter)
        elif parameter.ndim > 1:
            matrices.append(parameter)
        else:
            vectors.append(parameter)
    table_decay = recipe.weight_decay / recipe.table_rate
    groups = [
        {"params": matrices, "weight_decay": recipe.weight_decay, "scale": 1.0},
        {"params": vectors, "weight_decay": 0.0, "scale": 1.0},
        {"params": tables, "weight_decay": table_decay, "scale": recipe.table_rate},
    ]
    betas = (recipe.beta1, recipe.beta2)
    if recipe.optimizer == "lamb":
        # When PyKEEN is imported (an Interaction may need it later) it lists all optimizers there
        # are, and fails on the two of one name that pytorch_optimizer adds. So PyKEEN goes first.
        import pykeen.nn.modules  # noqa: F401
        from pytorch_optimizer import Lamb

        filled = [group for group in groups if group["params"]]
        # The loop clips gradients, whatever the optimizer.
        return Lamb(filled, lr=recipe.learning_rate, betas=betas, max_grad_norm=0.0)
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=betas, fused=True)


@dataclass
class Budget:
    """What a run may spend: ``steps``, ``minutes`` of wall clock, or both, whichever ends first.

    ``spent`` are the seconds that were spent before this start.
    """

    steps: int | None
    minutes: float | None
    spent: float = 0.0

    def __post_init__(self) -> None:
        self._start = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds spent, earlier starts of a resumed run included."""
        return self.spent + time.monotonic() - self._start

    def used(self, step: int) -> float:
        """Return the share of the budget that is used up at ``step``: 1 at its end."""
        by_steps = step / self.steps if self.steps else 0.0
        by_time = self.seconds / (60 * self.minutes) if self.minutes else 0.0
        return min(1.0, max(by_steps, by_time))


def learning_rate(recipe: Recipe, step: int, used: float) -> float:
    """Return the learning rate after ``step`` steps and the share ``used`` of a stage's budget.

    Linear warm-up over ``warmup_steps`` and over the share ``warmup``, whichever is longer; then
    linear decay to nothing.
    """
    by_steps = (step + 1) / max(1, recipe.warmup_steps)
    by_share = used / recipe.warmup if recipe.warmup else 1.0
    # The first step has used nothing of its share yet, and would stand still at a rate of 0.
    by_share = max(by_share, 1e-3)
    return recipe.learning_rate * min(1.0, by_steps, by_share) * (1.0 - used)


class AveragedWeights:
    """Exponential moving average of all floating-point tensors.

    The rate begins at (1 + step) / (10 + step) and rises up to ``decay``. After the first 20
    steps only every fourth step's weights are taken up, at the fourth power of the rate: the mean
    is as good at a fourth of the work, which was 4% of a bf16 step.
    """

    DENSE_STEPS = 20
    INTERVAL = 4

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.shadow: dict[str, Tensor] = {}
        # Tied weights, as word pieces that a head shares, have one average under all their names.
        copies: dict[int, Tensor] = {}
        for name, tensor in module.state_dict().items():
            key = tensor.data_ptr() or id(tensor)
            if key not in copies:
                copies[key] = tensor.detach().clone()
            self.shadow[name] = copies[key]

    def load(self, shadow: dict[str, Tensor]) -> None:
        """Take up averages that a checkpoint saved; those of a head that is gone are left out."""
        for name, tensor in shadow.items():
            if name in self.shadow:
                self.shadow[name].copy_(tensor)

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Move the averages towards the module's weights."""
        interval = 1 if step < self.DENSE_STEPS else self.INTERVAL
        if (step + 1) % interval:
            return
        rate = min(self.decay, (1 + step) / (10 + step)) ** interval
        averages: list[Tensor] = []
        weights: list[Tensor] = []
        seen: set[int] = set()
        for name, tensor in module.state_dict().items():
            average = self.shadow[name]
            if id(average) in seen:
                continue
            seen.add(id(average))
            if tensor.dtype.is_floating_point:
                averages.append(average)
                weights.append(tensor)
            else:
                average.copy_(tensor)
        torch._foreach_lerp_(averages, weights, 1 - rate)
