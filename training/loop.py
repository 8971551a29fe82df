"""One loop, top to bottom: sample, view, forward, backward, step, average, log, validate, keep."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

from schema.errors import TrainingError
from training.config import Recipe
from training.gradient import precision, step_gradient
from training.objectives.joint import JointObjective, LossReport
from training.optim import AveragedWeights, Budget, learning_rate
from training.runlog import Report, RunLog
from training.sampler import StepSampler
from training.state import Progress
from training.validation import validate
from training.views import Viewer

ROLL_BACK_AFTER, MOST_BAD_STEPS = 10, 20


@dataclass
class Run:
    """Everything that a loop needs, ready made."""

    objective: JointObjective
    optimizer: torch.optim.Optimizer
    average: AveragedWeights
    viewer: Viewer
    sampler: StepSampler
    recipe: Recipe
    budget: Budget
    progress: Progress
    seed: int
    validation: NDArray[np.int64]
    log: RunLog | None
    keep: Callable[[], None]
    export: Callable[[], None]
    roll_back: Callable[[], None] = lambda: None
    parallel: nn.Module | None = None
    rank: int = 0
    bad_steps: int = 0
    parts: int = 1

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.objective.model.patch_mask.device


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
        self.items, self._since = 0, time.monotonic()

    def lap(self) -> float:
        """Items a second since the last lap."""
        speed = self.items / (time.monotonic() - self._since)
        self.items, self._since = 0, time.monotonic()
        return speed

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time inside does not count."""
        began = time.monotonic()
        yield
        self._since += time.monotonic() - began


def run_loop(run: Run, report: Report) -> bool:
    """Train until the budget is used, validation stalls, or a signal asks to stop; True where the budget or validation ended it."""
    recipe, progress, meter = run.recipe, run.progress, Meter()
    with Stop() as stop:
        while (used := run.budget.used(progress.step)) < 1.0:
            rate = learning_rate(recipe, progress.step, used)
            index = run.sampler.batch(progress.step)
            losses = train_step(run, index, rate)
            run.average.update(run.objective.model, progress.step)
            progress.step, progress.items, progress.seconds = progress.step + 1, progress.items + len(index), run.budget.seconds
            meter.items += len(index) * run.sampler.world
            if progress.step % recipe.log_every == 0:
                record = log_record(run, losses, meter.lap(), rate)
                if run.log is not None:
                    run.log.write(record)
                report(record)
            if agreed(stop.asked, run):
                run.keep()
                return False
            if progress.step % recipe.validate_every == 0 and len(run.validation):
                with meter.paused():
                    stalled = check(run, report)
                if stalled:
                    break
            # What leads to losses that are not finite is nothing to go back to.
            if progress.step % recipe.keep_every == 0 and not run.bad_steps:
                run.keep()
    if progress.step % recipe.validate_every and len(run.validation):
        check(run, report)
    if progress.best < 0:
        run.export()
    run.keep()
    return True


def train_step(run: Run, index: NDArray[np.int64], rate: float) -> LossReport:
    """View, forward, backward, step on items ``index`` [B]; weights stay where the gradient is not finite.

    After 10 such steps in a row they go back to the last checkpoint; after more than 20 it raises TrainingError.
    """
    step, losses = run.progress.step, step_gradient(run, index)
    norm = nn.utils.clip_grad_norm_(run.objective.model.parameters(), run.recipe.clip)
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
        "epoch": run.sampler.epoch(run.progress.step),
        "seconds": round(run.progress.seconds, 2),
        "items_per_second": round(speed, 2),
        "lr": rate,
        "loss": {"total": round(float(losses.total.detach()), 5), **terms},
        "used": round(run.budget.used(run.progress.step), 4),
    }


def check(run: Run, report: Report) -> bool:
    """Validate the averaged weights, export them where they are the best so far; True where it is time to stop."""
    model, progress = run.objective.model, run.progress
    weights = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    model.load_state_dict(run.average.shadow)
    model.eval()
    with precision(run.recipe, run.device):
        metrics = validate(model, run.viewer, run.validation)
    model.load_state_dict(weights)
    report({"step": progress.step, "metrics": metrics})
    if metrics["hits@1"] > progress.best:
        progress.best, progress.stale, progress.metrics = metrics["hits@1"], 0, metrics
        run.export()
    else:
        progress.stale += 1
    return 0 < run.recipe.patience <= progress.stale


def agreed(asked: bool, run: Run) -> bool:
    """Whether any process was asked to stop, so that all of them stop at the same step."""
    if run.sampler.world == 1:
        return asked
    flag: Tensor = torch.tensor([float(asked)])
    dist.all_reduce(flag, dist.ReduceOp.MAX)
    return bool(flag.item())
