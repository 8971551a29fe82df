"""The training loop: batch, forward, backward, optimizer step, log, validation, checkpoint."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch

from schema.errors import TrainingError
from schema.files import is_disk_full
from training.gradient import (
    AgreedBatch,
    agree_on_batch,
    autocast,
    compute_gradient,
    reduce_report,
)
from training.loader import prefetch_batches
from training.objectives.joint import LossReport
from training.optim import learning_rate, step_if_finite
from training.records import ReportCallback, Step, TrainingWarning, Validated
from training.sharding import clip_gradients, whole
from training.state import Run

ROLL_BACK_AFTER = 10
"""After this many steps in a row without a finite gradient, the last checkpoint is restored."""

MAX_BAD_STEPS = 20
"""After more than this many steps in a row without a finite gradient, the run ends."""


def run_loop(run: Run, report: ReportCallback) -> bool:
    """Train until the budget is used up, validation stalls, or a signal asks to stop.

    Returns True if the budget or validation ended the run, False if a signal did.
    """
    recipe = run.recipe
    progress = run.progress
    meter = Meter()
    enter_stage(run, progress.stage)
    with StopSignal() as stop:
        run.asked_to_stop = lambda: stop.requested or run.processes.is_asked_to_stop()
        for batch in prefetch_batches(run.batches, run.requests(), run.workers, run.device):
            # A batch that was prepared ahead may come after the minutes are over.
            used = run.budget.used(progress.step)
            if used >= 1.0:
                break
            agreed = agree_on_batch(run, batch)
            if agreed.stage != progress.stage:
                next_stage(run, agreed.stage)

            rate = learning_rate(
                recipe,
                step=progress.step - progress.stage_began,
                used=run.stage.used(used),
            )
            losses = train_step(run, agreed, rate)
            run.average.update(run.objective, progress.step)

            progress.step += 1
            progress.items += agreed.items
            progress.seconds = run.budget.agreed_seconds
            meter.items += agreed.items
            if progress.step % recipe.log_every == 0:
                record = log_record(run, reduce_report(losses, run.processes), meter.lap(), rate)
                if run.log is not None:
                    run.log.write(record)
                report(record)

            if run.stop:
                keep_last(run, report)
                return False
            if progress.step % recipe.validate_every == 0:
                with meter.paused():
                    stalled = validate_run(run, report)
                if stalled:
                    break
            # After validation, which a run that is resumed from here would otherwise skip. While
            # steps fail, the weights may already be bad: not a state to go back to.
            if progress.step % recipe.keep_every == 0 and not run.bad_steps.settle():
                write_or_warn(run.keep, report)
    if progress.step % recipe.validate_every:
        validate_run(run, report)
    keep_last(run, report)
    return True


def keep_last(run: Run, report: ReportCallback) -> None:
    """Write the last checkpoint of a run, which fails if that cannot be written."""
    write_or_warn(run.finish_writing, report)
    run.keep()
    run.finish_writing()


def train_step(run: Run, batch: AgreedBatch, rate: float) -> LossReport:
    """Run forward, backward and the optimizer step on one batch.

    The weights do not change if the gradient is not finite. After 10 such steps in a row the last
    checkpoint is restored. Raises TrainingError after more than 20.
    """
    losses = compute_gradient(run, batch)
    # Finite only if all gradients are. They are the same in all processes, and so is the decision.
    norm = clip_gradients(run.objective.parameters(), run.recipe.clip or math.inf, run.processes)
    run.bad_steps.add(step_if_finite(run.optimizer, norm, rate, run.is_sharded))
    count = run.bad_steps.count
    if count == ROLL_BACK_AFTER:
        run.roll_back()
    if count > MAX_BAD_STEPS:
        raise TrainingError(
            f"the loss was not finite for {count} steps up to step {run.progress.step}: "
            f"lower learning_rate={run.recipe.learning_rate}"
        )
    run.optimizer.zero_grad(set_to_none=True)
    return losses


def enter_stage(run: Run, stage: int) -> None:
    """Train by the objectives of a stage from now on."""
    run.progress.stage = stage
    run.objective.weights = dict(run.stage.weights)
    if run.evaluator is not None:
        run.evaluator.weights = dict(run.stage.weights)


def next_stage(run: Run, stage: int) -> None:
    """Begin another stage: reset the optimizer's state and the best validation score."""
    run.optimizer.state.clear()
    run.progress.stage_began = run.progress.step
    # Stages are validated by different metrics, which cannot be compared.
    run.progress.best = -math.inf
    run.progress.stale = 0
    enter_stage(run, stage)


def log_record(run: Run, losses: LossReport, speed: float, rate: float) -> Step:
    """Build the record of a log step, its numbers rounded as ``log.jsonl`` has them."""
    progress = run.progress
    has_stages = len(run.schedule.stages) > 1
    return Step(
        step=progress.step,
        epoch=run.batches.epoch(progress.step, progress.stage),
        seconds=round(progress.seconds, 2),
        items_per_second=round(speed, 2),
        learning_rate=rate,
        loss=round(float(losses.total.detach()), 5),
        terms={name: round(float(term.detach()), 5) for name, term in losses.terms.items()},
        used=round(run.budget.used(progress.step), 4),
        stage=progress.stage + 1 if has_stages else None,
    )


def validate_run(run: Run, report: ReportCallback) -> bool:
    """Validate the averaged weights and export them if they are the best so far.

    Returns True if it is time to stop: ``patience`` validations in a row brought no improvement.
    """
    progress = run.progress
    with averaged_weights(run), autocast(run.recipe, run.device), torch.inference_mode():
        metrics = run.validate(run.stage)
    if metrics:
        record = Validated(progress.step, metrics)
        report(record)
        if run.log is not None:
            run.log.write_validation(record)

    score = score_of(metrics)
    if score > progress.best or not metrics:
        # If the model cannot be written, the best score stays, so that the next good one is.
        # The first process writes; all have to know whether that worked, since they stop together.
        if run.processes.from_first(write_or_warn(run.export, report)):
            progress.best = score
            progress.stale = 0
            progress.metrics = metrics
    else:
        progress.stale += 1
    # An earlier stage cannot end the run, since the later ones have shares of the budget.
    is_last_stage = progress.stage == len(run.schedule.stages) - 1
    return 0 < run.recipe.patience <= progress.stale and is_last_stage


@contextmanager
def averaged_weights(run: Run) -> Iterator[None]:
    """Put the averaged weights into the model that is validated, in evaluation mode."""
    if run.evaluator is not None:
        for name, tensor in run.evaluator.state_dict().items():
            tensor.copy_(whole(run.average.shadow[name]))
        run.evaluator.eval()
        yield
        return
    objective = run.objective
    weights = {name: tensor.detach().clone() for name, tensor in objective.state_dict().items()}
    objective.load_state_dict(run.average.shadow)
    # The next step sets training mode again, and seeds its random numbers itself: validation does
    # not change a run.
    objective.eval()
    yield
    objective.load_state_dict(weights)


def score_of(metrics: dict[str, float]) -> float:
    """Return the score by which the best model is chosen; higher is better.

    It is Hits@1 of hidden statements if the stage has it, or else the ROC-AUC of held-out pairs, or
    else the negative validation loss (as in VT-BERT 5.2).
    """
    for name, sign in (("hits@1", 1.0), ("roc_auc", 1.0), ("loss", -1.0)):
        if name in metrics:
            return sign * metrics[name]
    return -math.inf


def write_or_warn(write: Callable[[], None], report: ReportCallback) -> bool:
    """Write a checkpoint or a model, but only warn if the disk is full; return whether it worked.

    The previous one stays, since files are written completely or not at all.
    """
    try:
        write()
    except OSError as error:
        if not is_disk_full(error):
            raise
        report(
            TrainingWarning(
                f"{error.strerror}: the previous model or checkpoint is kept; "
                "free some space before the run ends"
            )
        )
        return False
    return True


class StopSignal:
    """Set by Ctrl-C, SIGTERM or SIGHUP: the loop saves the run and ends after the current step.

    A second Ctrl-C interrupts at once. SIGHUP, which a terminal sends that is closed, has no effect
    under ``nohup``.
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopSignal:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue
            try:
                self._previous[number] = signal.signal(number, self._request)
            except ValueError:
                # Not the main thread: the caller handles signals.
                break
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True


class Meter:
    """Measures items per second between two laps."""

    def __init__(self) -> None:
        self.items = 0
        self._since = time.monotonic()

    def lap(self) -> float:
        """Return the items per second since the last lap, and begin another."""
        speed = self.items / (time.monotonic() - self._since)
        self.items = 0
        self._since = time.monotonic()
        return speed

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out the time that is spent inside the ``with`` block."""
        began = time.monotonic()
        yield
        self._since += time.monotonic() - began
