"""The gradient of a step, computed in as many micro-batches as memory requires."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from schema.errors import TrainingError
from training.batches import StepBatch
from training.config import Recipe
from training.loader import PreparedBatch
from training.objectives import TERMS
from training.objectives.joint import LossReport
from training.processes import Processes, StepStatus
from training.sharding import own_slice
from training.state import Run

MIN_MICRO_BATCH = 2
"""The least number of items in a micro-batch: batch norm cannot be trained on one."""


@dataclass(frozen=True)
class AgreedBatch:
    """This process's share of a batch that all processes train on.

    ``items`` is the number of items, or of query pairs, of all processes together, and ``totals``
    that of examples per term.
    """

    batch: PreparedBatch
    items: int
    totals: Mapping[str, float]

    @property
    def stage(self) -> int:
        """The number of the stage that the batch belongs to."""
        return self.batch.request.stage


def compute_gradient(run: Run, agreed: AgreedBatch) -> LossReport:
    """Compute the gradient of a step's batch, accumulated over ``run.micro_batches`` parts.

    If memory runs out in any process, all of them double the number of micro-batches for the rest
    of the run and start the step again; the batch stays the same. Raises TrainingError if two items
    are already too many.

    Each process first computes the gradient of its own share. DDP would exchange gradients while
    others are still computed, but then a process that runs out of memory half-way leaves the others
    waiting for its part. So the exchange begins when all processes have said that they are done.
    On a CPU that took 4% longer than DDP (two processes, MBSD of small size, the fastest of 9 steps
    each, in turns).
    """
    while True:
        statistics = run.batch_norms.copy()
        report = _accumulate(run, agreed)
        parameters = list(run.objective.parameters())
        has_gradient = (
            has_slice_of_gradient(parameters)
            if run.is_sharded
            else [each.grad is not None for each in parameters]
        )
        status = run.processes.agree(
            StepStatus(
                out_of_memory=report is None,
                stop=run.asked_to_stop(),
                seconds=run.budget.seconds,
                items=agreed.batch.items,
                has_gradient=has_gradient,
            )
        )
        run.stop = status.stop
        run.budget.agreed_seconds = status.seconds
        if report is not None and not status.out_of_memory:
            break
        run.optimizer.zero_grad(set_to_none=True)
        run.batch_norms.restore(statistics)
        if status.items < 2 * run.micro_batches * MIN_MICRO_BATCH:
            at_once = status.items // run.micro_batches
            raise TrainingError(
                f"no memory for {at_once} items at once: lower "
                f"batch_size={run.recipe.batch_size}, or choose a smaller --size"
            )
        run.micro_batches *= 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        agreed = agree_on_batch(run, agreed.batch)

    used = []
    for parameter, is_used in zip(parameters, status.has_gradient, strict=True):
        if is_used:
            # Another process's batch may have examples of a term that this one's lacks.
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            used.append(parameter)
        else:
            parameter.grad = None
    # Those of a sharded model are summed already, save for single numbers, which are not sharded.
    run.processes.sum_gradients(each for each in used if not isinstance(each, DTensor))
    return report


def agree_on_batch(run: Run, batch: PreparedBatch) -> AgreedBatch:
    """Return this process's share of the batch that all processes train on.

    A batch that was prepared ahead may have fewer micro-batches than the run now needs, or, close
    to the end of a stage, belong to another stage than those of other processes.
    """
    while True:
        request = batch.request
        counts = [sum(part.counts.get(name, 0.0) for part in batch.micro_batches) for name in TERMS]
        rows = run.processes.gather([request.stage, request.micro_batches, batch.items, *counts])
        wanted = dataclasses.replace(
            request,
            stage=int(rows[:, 0].min()),
            micro_batches=max(run.micro_batches, int(rows[:, 1].max())),
        )
        if bool((rows[:, :2] == rows[0, :2]).all()) and wanted == request:
            items, *totals = rows[:, 2:].sum(0).tolist()
            return AgreedBatch(batch, int(items), dict(zip(TERMS, totals, strict=True)))
        if wanted != request:
            batch = run.batches[wanted].to(run.device)


def _accumulate(run: Run, agreed: AgreedBatch) -> LossReport | None:
    """Add up the gradients of this process's micro-batches; None if memory ran out."""
    batch = agreed.batch
    reports = []
    run.objective.train()
    failed = None
    for number, part in enumerate(batch.micro_batches):
        # Dropout depends only on seed, step, process and micro-batch, so that a resumed run repeats
        # it bit for bit.
        step_seed = run.seed * 1_000_003 + batch.request.step
        torch.manual_seed((step_seed * 64 + run.processes.rank) * 64 + number)
        run.processes.begin_pass()
        if isinstance(run.objective, FSDPModule):
            # The gradients of a sharded model are summed over all processes with the last part.
            run.objective.set_requires_gradient_sync(number + 1 == len(batch.micro_batches))
        try:
            reports.append(_forward_backward(run, part, agreed.totals))
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            failed = number
            break
    if failed is None:
        return LossReport.sum(reports)
    # This is not in the handler, where the traceback would keep the step's tensors alive.
    run.optimizer.zero_grad(set_to_none=True)
    reports.clear()
    if run.is_sharded:
        raise TrainingError(
            f"no memory for {len(batch.micro_batches)} micro-batches of {batch.items} items: set "
            f"accumulate to {2 * len(batch.micro_batches)} (a sharded model cannot do that itself)"
        )
    if run.processes.world > 1:
        _catch_up(run, agreed, failed)
    return None


def _forward_backward(run: Run, part: StepBatch, totals: Mapping[str, float]) -> LossReport:
    """Add the gradient of a micro-batch to that of the step."""
    # A term is a mean over the batch of all processes, of which this part has a share.
    shares = {name: count / totals[name] for name, count in part.counts.items() if totals[name]}
    with autocast(run.recipe, run.device):
        losses: LossReport = run.objective(part, shares)
    losses.total.backward()
    return losses.detached()


def has_slice_of_gradient(parameters: Sequence[nn.Parameter]) -> list[bool]:
    """Return for each parameter of a sharded model whether this slice of its gradient is not 0.

    Every parameter has a gradient, also those that no process has any use for.
    """
    norms = [
        torch.zeros(())
        if each.grad is None or not own_slice(each.grad).numel()
        else own_slice(each.grad).abs().amax()
        for each in parameters
    ]
    device = own_slice(parameters[0]).device
    # NaN is not 0 either.
    return (torch.stack([norm.to(device) for norm in norms]) != 0).tolist()


def _catch_up(run: Run, agreed: AgreedBatch, failed: int) -> None:
    """Take part in what the other processes exchange after this one ran out of memory.

    They are in the middle of the step and do not know yet, and wait for this process's part in the
    statistics of batch norm and in the contrast of pairs. A pass over a single item makes the same
    exchanges. Its results, and theirs, are thrown away.

    Raises TrainingError if there is no memory for a single item either.
    """
    done = run.processes.done_in_pass
    for number in range(failed, len(agreed.batch.micro_batches)):
        run.processes.begin_pass(skip=done if number == failed else 0)
        part = run.batches.smallest(agreed.batch.request, number).to(run.device)
        try:
            _forward_backward(run, part, agreed.totals)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise TrainingError(
                "no memory for a single item: choose a smaller --size, or fewer processes "
                f"than {run.processes.world} on this machine"
            ) from None
        run.optimizer.zero_grad(set_to_none=True)


def reduce_report(losses: LossReport, processes: Processes) -> LossReport:
    """Add up a step's losses over all processes, each of which has its share of them."""
    if processes.world == 1:
        return losses
    # A process may lack a term that another one has, so all terms are sent.
    values = [float(losses.total), *(float(losses.terms.get(name, 0.0)) for name in TERMS)]
    present = [float(name in losses.terms) for name in TERMS]
    total, *rest = processes.gather([*values, *present]).sum(0)
    terms = {
        name: value
        for name, value, count in zip(TERMS, rest, rest[len(TERMS) :], strict=False)
        if count > 0
    }
    return LossReport(total, terms)


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
