"""The state of a training run: everything that the training loop needs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch

from encoders.batch_norm import BatchNormStatistics
from training.config import Recipe
from training.loader import BatchBuilder, BatchRequest
from training.objectives.joint import JointObjective
from training.optim import AveragedWeights, BadSteps, Budget
from training.processes import Processes
from training.run_log import RunLog
from training.schedule import Schedule, Stage


@dataclass
class RunProgress:
    """How far a run has come: what a checkpoint stores besides tensors.

    ``seconds`` and ``items`` are totals, including those before the run was resumed. ``stage`` is
    the number of the current stage, which began at step ``stage_began``. ``best`` is the best
    validation score so far, ``metrics`` are the metrics of that validation, and ``stale`` is the
    number of validations since then.
    """

    step: int = 0
    seconds: float = 0.0
    items: int = 0
    stage: int = 0
    stage_began: int = 0
    best: float = -math.inf
    stale: int = 0
    metrics: dict[str, float] = field(default_factory=dict)

    def check(self) -> None:
        """Raise ValueError unless the counts are counts, and the metrics numbers by name."""
        if not isinstance(self.metrics, dict):
            raise ValueError(f"the metrics {self.metrics} have no names")
        counts = (self.step, self.items, self.stage, self.stage_began, self.stale)
        numbers = (self.seconds, self.best, *self.metrics.values())
        if not all(type(count) is int and 0 <= count < 1 << 62 for count in counts):
            raise ValueError(f"the counts {counts} are none")
        if not all(type(number) in (int, float) for number in numbers):
            raise ValueError(f"the figures {numbers} are none")


@dataclass
class Run:
    """A training run, built by :func:`training.run.assemble`.

    ``validate`` returns the metrics of a stage, ``keep`` begins to write a checkpoint,
    ``finish_writing`` waits until it is written, ``export`` writes the model folder, and
    ``roll_back`` restores the last checkpoint. ``micro_batches`` is the number of micro-batches in
    a batch; it grows if memory runs out. ``workers`` is the number of processes that prepare
    batches. ``bad_steps`` counts the latest steps whose gradient was not finite.

    ``asked_to_stop`` tells whether this process was asked to stop, and ``stop`` whether any process
    was. A sharded model has an ``evaluator``, which is whole: the averaged weights are gathered in
    it to be validated.
    """

    objective: JointObjective
    optimizer: torch.optim.Optimizer
    average: AveragedWeights
    batches: BatchBuilder
    schedule: Schedule
    recipe: Recipe
    budget: Budget
    progress: RunProgress
    seed: int
    validate: Callable[[Stage], dict[str, float]]
    log: RunLog | None
    keep: Callable[[], None]
    export: Callable[[], None]
    finish_writing: Callable[[], None] = lambda: None
    roll_back: Callable[[], None] = lambda: None
    processes: Processes = field(default_factory=Processes)
    bad_steps: BadSteps = field(default_factory=BadSteps)
    micro_batches: int = 1
    workers: int = 0
    evaluator: JointObjective | None = None
    asked_to_stop: Callable[[], bool] = lambda: False
    stop: bool = False

    def __post_init__(self) -> None:
        self.batch_norms = BatchNormStatistics(self.objective)

    @property
    def is_sharded(self) -> bool:
        """Whether each process has a slice of the weights only."""
        return self.evaluator is not None

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        return self.objective.model.patch_mask.device

    @property
    def stage(self) -> Stage:
        """The current stage."""
        return self.schedule.stages[self.progress.stage]

    def requests(self) -> Iterator[BatchRequest]:
        """Yield a request for every batch until the budget is used up.

        A batch that is prepared in advance belongs to the stage in which it is requested. All
        processes yield equally many requests, since they agree on what is used up.
        """
        step = self.progress.step
        while (used := self.budget.used(step)) < 1.0:
            yield BatchRequest(step, self.schedule.at(used), self.micro_batches)
            step += 1
