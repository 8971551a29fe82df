"""A step's gradient, in as many parts as memory asks for."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from schema.errors import TrainingError
from training.config import Recipe
from training.objectives.joint import LossReport
from training.views import move

if TYPE_CHECKING:
    from training.loop import Run

LEAST_PART = 2


def step_gradient(run: Run, index: NDArray[np.int64]) -> LossReport:
    """Forward and backward of items ``index`` [B], in ``run.parts`` parts whose gradients add up to the batch's mean.

    Where memory runs out the parts are halved, for good, and the step begins anew: the effective batch stays. Raises TrainingError where
    two items are too many.
    """
    while True:
        try:
            return _accumulate(run, np.array_split(index, run.parts))
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
        # Outside the handler, whose traceback would hold the step's tensors.
        run.optimizer.zero_grad(set_to_none=True)
        if len(index) < 2 * run.parts * LEAST_PART:
            raise TrainingError(
                f"no memory for {len(index) // run.parts} items at once: lower batch_size={len(index)}, or choose a smaller --size"
            )
        run.parts *= 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _accumulate(run: Run, parts: list[NDArray[np.int64]]) -> LossReport:
    step, model, items = run.progress.step, run.objective.model, sum(map(len, parts))
    torch.manual_seed((run.seed * 1_000_003 + step) * 64 + run.rank)
    rng = np.random.default_rng([run.seed, step, run.rank])
    model.train()
    reports = []
    for part in parts:
        batch = move(run.viewer.batch(part, rng), run.device)
        with precision(run.recipe, run.device):
            losses: LossReport = (run.parallel or run.objective)(batch)
        share = len(part) / items
        (losses.total * share).backward()
        reports.append((share, losses.detached()))
    return LossReport.weighted(reports)


def out_of_memory(error: RuntimeError) -> bool:
    """Whether a GPU's memory or the machine's ran out."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def precision(recipe: Recipe, device: torch.device) -> AbstractContextManager[Any]:
    """bf16 autocast, or none."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if recipe.precision == "bf16" else nullcontext()
