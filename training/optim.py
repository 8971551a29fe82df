"""AdamW with a schedule that fits a budget, and averaged weights."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fusion.model import ProductModel
from training.config import Recipe

TABLES = (
    "fusion.ngrams.bag.weight",
    "links.wide.weight",
    "links.known.weight",
    "knowledge.embedding.weight",
)
EACH_STEP = 20
EVERY = 4


def build_optimizer(model: ProductModel, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter, 2019) or LAMB (You et al., 2020): decay on matrices, none on norms, biases and tables.

    Tables learn ``table_rate`` as fast. A group's ``scale`` multiplies the schedule's rate.
    """
    tables: list[nn.Parameter] = []
    matrices: list[nn.Parameter] = []
    vectors: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        (tables if name in TABLES else matrices if parameter.ndim > 1 else vectors).append(
            parameter
        )
    groups = [
        {"params": matrices, "weight_decay": recipe.weight_decay, "scale": 1.0},
        {"params": vectors, "weight_decay": 0.0, "scale": 1.0},
        {
            "params": tables,
            "weight_decay": recipe.weight_decay / recipe.table_rate,
            "scale": recipe.table_rate,
        },
    ]
    betas = (recipe.beta1, recipe.beta2)
    if recipe.optimizer == "lamb":
        # PyKEEN, which may be asked for an Interaction later, lists every optimizer there is when it is imported, and stumbles over the
        # two of one name that pytorch_optimizer would add; so it goes first.
        import pykeen.nn.modules  # noqa: F401
        from pytorch_optimizer import Lamb

        # Gradients are clipped by the loop, whatever the optimizer.
        return Lamb(
            [group for group in groups if group["params"]],
            lr=recipe.learning_rate,
            betas=betas,
            max_grad_norm=0.0,
        )
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=betas, fused=True)


@dataclass
class Budget:
    """What a run may spend: ``steps``, or ``minutes`` of wall clock of which ``spent`` seconds went before this start."""

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
        """The share of the budget that is used at ``step``: 1 when it is at its end."""
        by_steps = step / self.steps if self.steps else 0.0
        by_time = self.seconds / (60 * self.minutes) if self.minutes else 0.0
        return min(1.0, max(by_steps, by_time))


def learning_rate(recipe: Recipe, step: int, used: float) -> float:
    """Linear warm-up, then linear decay to nothing, over a stage of which ``step`` steps and the share ``used`` of its budget are done.

    It warms up over ``warmup_steps`` and over the share ``warmup``, whichever is longer.
    """
    by_steps = (step + 1) / max(1, recipe.warmup_steps)
    by_share = used / recipe.warmup if recipe.warmup else 1.0
    # The first step of a share has used nothing of it, and would stand still.
    return recipe.learning_rate * min(1.0, by_steps, max(by_share, 1e-3)) * (1.0 - used)


class AveragedWeights:
    """Exponential moving average of all floating-point tensors, quick at first: rate (1 + step) / (10 + step) up to ``decay``.

    After its first 20 steps it takes up every fourth step's weights, by the fourth power of the rate: as good a mean, a fourth of the work.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.shadow: dict[str, Tensor] = {
            name: tensor.detach().clone() for name, tensor in model.state_dict().items()
        }

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move the averages towards the model's weights."""
        every = 1 if step < EACH_STEP else EVERY
        if (step + 1) % every:
            return
        rate = min(self.decay, (1 + step) / (10 + step)) ** every
        current = model.state_dict()
        floating = [name for name, tensor in current.items() if tensor.dtype.is_floating_point]
        torch._foreach_lerp_(
            [self.shadow[name] for name in floating], [current[name] for name in floating], 1 - rate
        )
        for name in current.keys() - set(floating):
            self.shadow[name].copy_(current[name])
