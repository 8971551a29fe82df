"""The gradient of a step, computed in as many micro-batches as memory requires."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.distributed as dist

from schema.errors import TrainingError
from training.batches import StepBatch
from training.config import Recipe
from training.loader import PreparedBatch
from training.objectives import TERMS
from training.objectives.joint import LossReport
from training.state import Run

MIN_MICRO_BATCH = 2
"""The least number of items in a micro-batch: batch norm cannot be trained on one."""


def compute_gradient(run: Run, batch: PreparedBatch) -> LossReport:
    """Compute the gradient of a step's batch, accumulated over ``run.micro_batches`` parts.

    If memory runs out, the number of micro-batches is doubled for the rest of the run, and the step
    starts again; the batch stays the same. Raises TrainingError if two items are already too many.
    """
    while True:
        # The batch may have been prepared before memory ran out.
        if batch.request.micro_batches < run.micro_batches:
            request = dataclasses.replace(batch.request, micro_batches=run.micro_batches)
            batch = run.batches[request].to(run.device)
        try:
            return _accumulate(run, batch)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        # This is not in the handler, where the traceback would keep the step's tensors alive.
        run.optimizer.zero_grad(set_to_none=True)
        if batch.items < 2 * run.micro_batches * MIN_MICRO_BATCH:
            at_once = batch.items // run.micro_batches
            raise TrainingError(
                f"no memory for {at_once} items at once: lower "
                f"batch_size={run.recipe.batch_size}, or choose a smaller --size"
            )
        run.micro_batches *= 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _accumulate(run: Run, batch: PreparedBatch) -> LossReport:
    totals = total_counts(batch.micro_batches, run.world)
    reports = []
    run.objective.train()
    for number, part in enumerate(batch.micro_batches):
        # Dropout depends only on seed, step, process and micro-batch, so that a resumed run repeats
        # it bit for bit.
        step_seed = run.seed * 1_000_003 + batch.request.step
        torch.manual_seed((step_seed * 64 + run.rank) * 64 + number)
        # DDP averages the gradients over the processes. A share already refers to the batch of all
        # processes, so the gradients must be summed: multiplying by the number undoes the division.
        shares = {
            name: count * run.world / totals[name]
            for name, count in part.counts.items()
            if totals[name]
        }
        # DDP adds gradients up over the processes once, with the last micro-batch.
        is_last = number + 1 == len(batch.micro_batches)
        waiting = run.parallel.no_sync() if run.parallel and not is_last else nullcontext()
        with waiting:
            with autocast(run.recipe, run.device):
                losses: LossReport = (run.parallel or run.objective)(part, shares)
            losses.total.backward()
        reports.append(losses.detached())
    return LossReport.sum(reports)


def total_counts(micro_batches: Sequence[StepBatch], world: int) -> dict[str, float]:
    """Add up, per term, the counts of all micro-batches of a step in all processes."""
    totals = torch.tensor(
        [sum(part.counts.get(name, 0.0) for part in micro_batches) for name in TERMS],
        dtype=torch.float64,
    )
    if world > 1:
        totals = _on_backend(totals)
        dist.all_reduce(totals)
    return dict(zip(TERMS, totals.tolist(), strict=True))


def reduce_report(losses: LossReport, world: int) -> LossReport:
    """Add up a step's losses over all processes, each of which has its share of them."""
    if world == 1:
        return losses
    # A process may lack a term that another one has, so all terms are sent.
    values = [float(losses.total), *(float(losses.terms.get(name, 0.0)) for name in TERMS)]
    present = [float(name in losses.terms) for name in TERMS]
    both = torch.cat(
        [
            torch.tensor(values, dtype=torch.float64) / world,
            torch.tensor(present, dtype=torch.float64),
        ]
    )
    both = _on_backend(both)
    dist.all_reduce(both)
    total, *rest = both.cpu()
    terms = {
        name: value
        for name, value, count in zip(TERMS, rest, rest[len(TERMS) :], strict=False)
        if count > 0
    }
    return LossReport(total, terms)


def _on_backend(values: torch.Tensor) -> torch.Tensor:
    # NCCL reduces tensors of a GPU only, and gloo is used without one.
    return values.cuda() if dist.get_backend() == "nccl" else values.cpu()


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether an error means that the GPU or the machine is out of memory."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    # The allocator of the CPU has no exception of its own.
    return "can't allocate memory" in str(error)


def autocast(recipe: Recipe, device: torch.device) -> AbstractContextManager[Any]:
    """Return a context manager for bf16 autocast, or one that does nothing in fp32."""
    if recipe.precision == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()
