"""A step's gradient, in as many parts as memory asks for."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist

from schema.errors import TrainingError
from training.batches import StepBatch
from training.config import Recipe
from training.loader import PreparedBatch
from training.objectives.joint import LossReport
from training.schedule import TERMS

if TYPE_CHECKING:
    from training.loop import Run

LEAST_PART = 2


def step_gradient(run: Run, made: PreparedBatch) -> LossReport:
    """Forward and backward of a step's batch, in ``run.parts`` parts whose gradients add up to the whole batch's.

    Where memory runs out the parts are halved, for good, and the step begins anew: the effective batch stays. Raises TrainingError where
    two items are too many.
    """
    while True:
        if made.request.parts < run.parts:
            made = run.maker[dataclasses.replace(made.request, parts=run.parts)].to(run.device)
        try:
            return _accumulate(run, made)
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
        # Outside the handler, whose traceback would hold the step's tensors.
        run.optimizer.zero_grad(set_to_none=True)
        if made.items < 2 * run.parts * LEAST_PART:
            at_once = made.items // run.parts
            whole = run.recipe.batch_size
            raise TrainingError(
                f"no memory for {at_once} items at once: lower batch_size={whole}, or choose a smaller --size"
            )
        run.parts *= 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _accumulate(run: Run, made: PreparedBatch) -> LossReport:
    model = run.objective.model
    totals = counted(made.parts, run.world)
    reports = []
    model.train()
    for number, batch in enumerate(made.parts):
        torch.manual_seed(
            ((run.seed * 1_000_003 + made.request.step) * 64 + run.rank) * 64 + number
        )
        # The mean over processes that DDP takes of the gradients is undone, since a share is of the whole batch.
        shares = {
            name: count * run.world / totals[name]
            for name, count in batch.counts.items()
            if totals[name]
        }
        alone = (
            run.parallel.no_sync()
            if run.parallel is not None and number + 1 < len(made.parts)
            else nullcontext()
        )
        with alone:
            with precision(run.recipe, run.device):
                losses: LossReport = (run.parallel or run.objective)(batch, shares)
            losses.total.backward()
        reports.append(losses.detached())
    return LossReport.added(reports)


def counted(parts: Sequence[StepBatch], world: int) -> dict[str, float]:
    """Over how many things each term is a mean, in all parts of a step's batch and in all processes."""
    totals = torch.tensor(
        [sum(part.counts.get(name, 0.0) for part in parts) for name in TERMS], dtype=torch.float64
    )
    if world > 1:
        totals = _on_backend(totals)
        dist.all_reduce(totals)
    return dict(zip(TERMS, totals.tolist(), strict=True))


def over_processes(losses: LossReport, world: int) -> LossReport:
    """A step's losses over all processes, each of which has its shares of them."""
    if world == 1:
        return losses
    # A process may lack a term that another has, so all of them are sent.
    values = torch.tensor(
        [float(losses.total), *(float(losses.terms.get(name, 0.0)) for name in TERMS)],
        dtype=torch.float64,
    )
    there = torch.tensor([float(name in losses.terms) for name in TERMS], dtype=torch.float64)
    both = _on_backend(torch.cat([values / world, there]))
    dist.all_reduce(both)
    total, *rest = both.cpu()
    terms = {
        name: value
        for name, value, present in zip(TERMS, rest, rest[len(TERMS) :], strict=False)
        if present > 0
    }
    return LossReport(total, terms)


def _on_backend(values: torch.Tensor) -> torch.Tensor:
    return values.cuda() if dist.get_backend() == "nccl" else values.cpu()


def out_of_memory(error: RuntimeError) -> bool:
    """Whether a GPU's memory or the machine's ran out."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def precision(recipe: Recipe, device: torch.device) -> AbstractContextManager[Any]:
    """bf16 autocast, or none."""
    return (
        torch.autocast(device.type, dtype=torch.bfloat16)
        if recipe.precision == "bf16"
        else nullcontext()
    )
