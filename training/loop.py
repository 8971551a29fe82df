"""One loop, top to bottom: sample, view, forward, backward, step, average, log, validate, keep."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_

from schema.errors import TrainingError
from schema.files import no_space
from training.config import Recipe
from training.gradient import over_processes, precision, step_gradient
from training.loader import BatchBuilder, BatchRequest, PreparedBatch, prefetch_batches
from training.objectives.joint import JointObjective, LossReport
from training.optim import AveragedWeights, Budget, learning_rate
from training.run_log import Report, RunLog
from training.schedule import Schedule, Stage
from training.state import RunProgress

ROLL_BACK_AFTER = 10
MOST_BAD_STEPS = 20


@dataclass
class Run:
    """Everything that a loop needs, ready made."""

    objective: JointObjective
    optimizer: torch.optim.Optimizer
    average: AveragedWeights
    maker: BatchBuilder
    schedule: Schedule
    recipe: Recipe
    budget: Budget
    progress: RunProgress
    seed: int
    validate: Callable[[Stage], dict[str, float]]
    log: RunLog | None
    keep: Callable[[], None]
    export: Callable[[], None]
    roll_back: Callable[[], None] = lambda: None
    parallel: DistributedDataParallel | None = None
    rank: int = 0
    world: int = 1
    bad_steps: int = 0
    parts: int = 1

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.objective.model.patch_mask.device

    @property
    def stage(self) -> Stage:
        """The plan's stage that runs."""
        return self.schedule.stages[self.progress.stage]

    def requests(self) -> Iterator[BatchRequest]:
        """The batches that are still to be made; those made ahead are of the stage that runs when they are asked for."""
        step = self.progress.step
        while (used := self.budget.used(step)) < 1.0:
            yield BatchRequest(step, self.schedule.at(used), self.parts)
            step += 1


class Stop:
    """Set by Ctrl-C or SIGTERM: the loop ends at the next step and saves. A second Ctrl-C interrupts at once."""

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stop:
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._before[number] = signal.signal(number, self._ask)
            except ValueError:  # not the main thread: whoever runs us handles signals
                break
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True


class Meter:
    """Items a second between two laps."""

    def __init__(self) -> None:
        self.items = 0
        self._since = time.monotonic()

    def lap(self) -> float:
        """Items a second since the last lap."""
        speed = self.items / (time.monotonic() - self._since)
        self.items = 0
        self._since = time.monotonic()
        return speed

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time inside does not count."""
        began = time.monotonic()
        yield
        self._since += time.monotonic() - began


def run_loop(run: Run, report: Report) -> bool:
    """Train until the budget is used, validation stalls, or a signal asks to stop; True where the budget or validation ended it."""
    recipe = run.recipe
    progress = run.progress
    meter = Meter()
    enter(run, progress.stage)
    with Stop() as stop:
        for made in prefetch_batches(run.maker, run.requests(), recipe.workers, run.device):
            used = run.budget.used(progress.step)
            if used >= 1.0:
                break
            if made.request.stage != progress.stage:
                next_stage(run, made.request.stage)
            rate = learning_rate(recipe, progress.step - progress.stage_began, run.stage.used(used))
            losses = train_step(run, made, rate)
            run.average.update(run.objective.model, progress.step)
            progress.step = progress.step + 1
            progress.items = progress.items + made.items
            progress.seconds = run.budget.seconds
            meter.items += made.items * run.world
            if progress.step % recipe.log_every == 0:
                record = log_record(run, over_processes(losses, run.world), meter.lap(), rate)
                if run.log is not None:
                    run.log.write(record)
                report(record)
            if agreed(stop.asked, run):
                run.keep()
                return False
            if progress.step % recipe.validate_every == 0:
                with meter.paused():
                    stalled = check(run, report)
                if stalled:
                    break
            # What leads to losses that are not finite is nothing to go back to.
            if progress.step % recipe.keep_every == 0 and not run.bad_steps:
                written(run.keep, report)
    if progress.step % recipe.validate_every:
        check(run, report)
    run.keep()
    return True


def written(write: Callable[[], None], report: Report) -> bool:
    """Write a checkpoint or a model; on a full disk the last good one stays, a warning is said, and training goes on."""
    try:
        write()
    except OSError as error:
        if not no_space(error):
            raise
        report(
            {
                "warning": f"{error.strerror}: the last one kept stays; free some space before the run ends"
            }
        )
        return False
    return True


def enter(run: Run, stage: int) -> None:
    """Train by the terms of a stage from here on."""
    run.progress.stage = stage
    run.objective.weights = dict(run.stage.weights)


def next_stage(run: Run, stage: int) -> None:
    """Begin another stage: its optimizer knows nothing, its validation has no best yet."""
    run.optimizer.state.clear()
    progress = run.progress
    progress.stage_began = progress.step
    progress.best = -math.inf
    progress.stale = 0
    enter(run, stage)


def train_step(run: Run, made: PreparedBatch, rate: float) -> LossReport:
    """Forward, backward, step on a batch; weights stay where the gradient is not finite.

    After 10 such steps in a row they go back to the last checkpoint; after more than 20 it raises TrainingError.
    """
    step = run.progress.step
    losses = step_gradient(run, made)
    norm = clip_grad_norm_(run.objective.model.parameters(), run.recipe.clip)
    if torch.isfinite(norm):
        for group in run.optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        run.optimizer.step()
    run.bad_steps = 0 if torch.isfinite(norm) else run.bad_steps + 1
    if run.bad_steps == ROLL_BACK_AFTER:
        run.roll_back()
    if run.bad_steps > MOST_BAD_STEPS:
        raise TrainingError(
            f"the loss was not finite for {run.bad_steps} steps up to step {step}: lower learning_rate={run.recipe.learning_rate}"
        )
    run.optimizer.zero_grad(set_to_none=True)
    return losses


def log_record(run: Run, losses: LossReport, speed: float, rate: float) -> dict[str, Any]:
    """A log step's line, by the contract of ``log.jsonl``."""
    terms = {name: round(float(term.detach()), 5) for name, term in losses.terms.items()}
    return {
        "step": run.progress.step,
        "epoch": run.maker.epoch(run.progress.step, run.progress.stage),
        "seconds": round(run.progress.seconds, 2),
        "items_per_second": round(speed, 2),
        "lr": rate,
        "loss": {"total": round(float(losses.total.detach()), 5), **terms},
        "used": round(run.budget.used(run.progress.step), 4),
        **({"stage": run.progress.stage + 1} if len(run.schedule.stages) > 1 else {}),
    }


def check(run: Run, report: Report) -> bool:
    """Validate the averaged weights, export them where they are the best so far; True where it is time to stop."""
    model = run.objective.model
    progress = run.progress
    weights = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    model.load_state_dict(run.average.shadow)
    model.eval()
    with precision(run.recipe, run.device), torch.inference_mode():
        metrics = run.validate(run.stage)
    model.load_state_dict(weights)
    if metrics:
        report({"step": progress.step, "metrics": metrics})
        if run.log is not None:
            run.log.validated(progress.step, metrics)
    score = score_of(metrics)
    if score > progress.best or not metrics:
        # One that could not be written is no best yet: the next that is as good will be.
        if written(run.export, report):
            progress.best = score
            progress.stale = 0
            progress.metrics = metrics
    else:
        progress.stale += 1
    return (
        0 < run.recipe.patience <= progress.stale
        and run.progress.stage == len(run.schedule.stages) - 1
    )


def score_of(metrics: dict[str, float]) -> float:
    """What a model is chosen by: Hits@1 of hidden statements, else ROC-AUC of held-out pairs, else the validation loss (VT-BERT 5.2)."""
    for name, sign in (("hits@1", 1.0), ("roc_auc", 1.0), ("loss", -1.0)):
        if name in metrics:
            return sign * metrics[name]
    return -math.inf


def agreed(asked: bool, run: Run) -> bool:
    """Whether any process was asked to stop, so that all of them stop at the same step."""
    if run.world == 1:
        return asked
    flag: Tensor = torch.tensor([float(asked)])
    dist.all_reduce(flag, dist.ReduceOp.MAX)
    return bool(flag.item())
