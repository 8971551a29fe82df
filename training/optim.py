"""Optimizers, a run's budget, the learning rate over that budget, and averaged weights."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from encoders.bert import BertText
from encoders.text_model import PretrainedTextModel
from encoders.vision import PretrainedVision
from training.config import Recipe
from training.lamb import Lamb
from training.sharding import own_slice, sharded_like

TABLES = (
    "fusion.ngrams.bag.weight",
    "links.wide.weight",
    "links.known.weight",
    "knowledge.embedding.weight",
)
"""Embedding tables. As each row occurs rarely, they learn faster and decay less."""


def build_optimizer(
    objective: nn.Module, recipe: Recipe, pretrained_text: bool = False
) -> torch.optim.Optimizer:
    """Build AdamW (Loshchilov and Hutter, 2019) or LAMB (You et al., 2020) for model and heads.

    Weight decay applies to matrices, but not to norms and biases. A group's ``scale`` is the factor
    of its learning rate, which is ``table_rate`` for the tables, ``text_rate`` for a text model,
    and ``pretrained_rate`` for a vision model and for the BERT if that is pretrained
    (``pretrained_text``).
    """
    tables: list[nn.Parameter] = []
    matrices: list[nn.Parameter] = []
    vectors: list[nn.Parameter] = []
    pretrained_matrices: list[nn.Parameter] = []
    pretrained_vectors: list[nn.Parameter] = []
    text_matrices: list[nn.Parameter] = []
    text_vectors: list[nn.Parameter] = []
    of_text_model = _text_model_parameters(objective)
    pretrained = _vision_parameters(objective)
    if pretrained_text:
        pretrained |= _text_parameters(objective)
    # A group of their own: in a sharded model they alone are whole.
    scalars: list[nn.Parameter] = []
    for name, parameter in objective.named_parameters():
        if name.removeprefix("model.") in TABLES:
            tables.append(parameter)
        elif parameter in of_text_model:
            (text_matrices if parameter.ndim > 1 else text_vectors).append(parameter)
        elif parameter in pretrained:
            (pretrained_matrices if parameter.ndim > 1 else pretrained_vectors).append(parameter)
        elif parameter.ndim > 1:
            matrices.append(parameter)
        elif parameter.ndim == 0:
            scalars.append(parameter)
        else:
            vectors.append(parameter)
    # Decay is multiplied by the learning rate; divided here, it is the same as that of matrices.
    table_decay = recipe.weight_decay / recipe.table_rate
    decay = recipe.weight_decay
    pretrained_rate = recipe.pretrained_rate
    groups = [
        {"params": matrices, "weight_decay": decay, "scale": 1.0},
        {"params": vectors, "weight_decay": 0.0, "scale": 1.0},
        {"params": scalars, "weight_decay": 0.0, "scale": 1.0},
        {"params": tables, "weight_decay": table_decay, "scale": recipe.table_rate},
        {"params": pretrained_matrices, "weight_decay": decay, "scale": pretrained_rate},
        {"params": pretrained_vectors, "weight_decay": 0.0, "scale": pretrained_rate},
        {"params": text_matrices, "weight_decay": decay, "scale": recipe.text_rate},
        {"params": text_vectors, "weight_decay": 0.0, "scale": recipe.text_rate},
    ]
    groups = [group for group in groups if group["params"]]
    betas = (recipe.beta1, recipe.beta2)
    if recipe.optimizer == "lamb":
        return Lamb(groups, lr=recipe.learning_rate, betas=betas)
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=betas, fused=True)


def _vision_parameters(objective: nn.Module) -> set[nn.Parameter]:
    """Return the parameters of a vision model, without those that map its states."""
    encoders = (each for each in objective.modules() if isinstance(each, PretrainedVision))
    return {parameter for encoder in encoders for parameter in encoder.vision.parameters()}


def _text_model_parameters(objective: nn.Module) -> set[nn.Parameter]:
    """Return the parameters of a text model, without those that map its states."""
    encoders = (each for each in objective.modules() if isinstance(each, PretrainedTextModel))
    return {parameter for encoder in encoders for parameter in encoder.text_model.parameters()}


def _text_parameters(objective: nn.Module) -> set[nn.Parameter]:
    """Return the parameters of BERT, which takes the pretrained weights of a text encoder."""
    encoders = (module for module in objective.modules() if isinstance(module, BertText))
    return {parameter for encoder in encoders for parameter in encoder.parameters()}


def step_if_finite(
    optimizer: torch.optim.Optimizer,
    norm: Tensor,
    rate: float,
    is_sharded: bool = False,
) -> Tensor:
    """Take a step at the learning rate ``rate``, unless the gradient's ``norm`` is not finite.

    Neither weights nor state change then. Returns a scalar, 1 if the step was not taken and else 0.
    It is computed on the device, and the host does not wait for it.
    """
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]
    is_bad = torch.isfinite(norm).logical_not().float()
    if is_sharded:
        # The kernel of a sharded model takes no such flag. The norm is on the host already.
        if not is_bad.item():
            optimizer.step()
        return is_bad
    # What torch's GradScaler sets: AdamW's fused kernel, and Lamb, leave out such a step.
    optimizer.found_inf = is_bad  # type: ignore[attr-defined]
    optimizer.step()
    return is_bad


class BadSteps:
    """Counts the latest steps in a row that were not taken, without waiting for a GPU.

    A step's flag is read when the next step has been queued, unless the step before was bad as
    well: so a GPU always has work, and ``count`` is exact from the second bad step on, before
    anything has to be decided by it.
    """

    def __init__(self) -> None:
        self.count = 0
        self._flag: Tensor | None = None
        self._copied: torch.cuda.Event | None = None

    def add(self, is_bad: Tensor) -> None:
        """Add a step by its scalar flag, which is not 0 if the step was not taken."""
        self.settle()
        if is_bad.is_cuda:
            self._flag = torch.empty_like(is_bad, device="cpu", pin_memory=True)
            self._flag.copy_(is_bad, non_blocking=True)
            self._copied = torch.cuda.Event()
            self._copied.record()
        else:
            self._flag = is_bad
        if self.count:
            self.settle()

    def settle(self) -> int:
        """Wait for the last step's flag; return the count."""
        if self._copied is not None:
            self._copied.synchronize()
            self._copied = None
        if self._flag is not None:
            self.count = self.count + 1 if self._flag.item() else 0
            self._flag = None
        return self.count


@dataclass
class Budget:
    """The limits of a run: ``steps``, ``minutes`` of wall-clock time, or both.

    The run ends when the first of them is reached. ``spent`` is the number of seconds that the run
    had already taken before it was resumed. What is used up is a matter of ``agreed_seconds``, so
    that all processes of a run find the same.
    """

    steps: int | None
    minutes: float | None
    spent: float = 0.0

    def __post_init__(self) -> None:
        self._start = time.monotonic()
        self.agreed_seconds = self.spent

    @property
    def seconds(self) -> float:
        """The seconds that the run has taken, including those before it was resumed.

        This is the clock of this process; those of other processes began sooner or later.
        """
        return self.spent + time.monotonic() - self._start

    def used(self, step: int) -> float:
        """Return the share of the budget that is used up at ``step``, at most 1."""
        by_steps = step / self.steps if self.steps else 0.0
        by_time = self.agreed_seconds / (60 * self.minutes) if self.minutes else 0.0
        return min(1.0, max(by_steps, by_time))


def learning_rate(recipe: Recipe, step: int, used: float) -> float:
    """Return the learning rate after ``step`` steps and the share ``used`` of a stage's budget.

    It warms up linearly over ``warmup_steps`` or over the share ``warmup``, whichever is longer,
    and decays linearly to 0.
    """
    by_steps = (step + 1) / max(1, recipe.warmup_steps)
    by_share = used / recipe.warmup if recipe.warmup else 1.0
    # At the first step nothing of the budget is used yet; a rate of 0 would waste the step.
    by_share = max(by_share, 1e-3)
    return recipe.learning_rate * min(1.0, by_steps, by_share) * (1.0 - used)


class AveragedWeights:
    """Exponential moving average of all floating-point tensors.

    The decay begins at (1 + step) / (10 + step) and rises to ``decay``. After the first 20 steps
    the average is updated only at every fourth step, with the fourth power of the decay: the result
    is as good at a quarter of the cost, which was 4% of a bf16 step.
    """

    DENSE_STEPS = 20
    INTERVAL = 4

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.shadow: dict[str, Tensor] = {}
        # Tied weights, such as piece embeddings that a head shares, have one average.
        copies: dict[int, Tensor] = {}
        # Known by the parameter itself: a process's slices of a sharded model may be empty, and all
        # empty tensors have the same address.
        for name, tensor in module.state_dict(keep_vars=True).items():
            if id(tensor) not in copies:
                copies[id(tensor)] = tensor.detach().clone()
            self.shadow[name] = copies[id(tensor)]

    def load(self, shadow: dict[str, Tensor]) -> None:
        """Load the averages of a checkpoint, except those of a head that no longer exists."""
        for name, tensor in shadow.items():
            if name in self.shadow:
                self.shadow[name].copy_(sharded_like(tensor, self.shadow[name]))

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
                averages.append(own_slice(average))
                weights.append(own_slice(tensor))
            else:
                # Counters, such as the number of batches that a batch norm has seen.
                average.copy_(tensor)
        torch._foreach_lerp_(averages, weights, 1 - rate)
