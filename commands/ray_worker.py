"""A worker's part of `train --engine ray`, which Ray Train calls in each of its processes."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands.base import Context, remarks_as_lines
from commands.progress import TrainingScreen
from commands.training import Training
from kg.model_lock import locked_by_starter
from kg.ray_cluster import Requirement
from schema.errors import CatalographError, LostProcessError, TrainingError
from schema.progress import ProgressCallback
from training.mailbox import Failure
from training.ray_workers import Ended, RayProcesses, RayReport, Remark, counting
from training.setup import continued_options

if TYPE_CHECKING:
    from training.config import TrainOptions
    from training.records import ReportCallback


@dataclass(frozen=True)
class Part:
    """What a worker is told.

    Attributes:
        home: the catalogue's home
        store: the URL of its store, if one was given
        training: what is trained
        requirement: what the worker must have in common with the command
        mailbox: the actor that it tells of its progress
        where: the folder in which the command was called, from which paths may start
    """

    home: Path
    store: str | None
    training: Training
    requirement: Requirement
    mailbox: Any
    where: Path


def train_as_worker(config: dict[str, Any]) -> None:
    """Do a worker's part of a training; Ray calls this in each of them."""
    import ray

    part: Part = config["part"]
    try:
        _train_part(part)
    except (LostProcessError, ConnectionError):
        # Ray starts all workers again.
        raise
    except CatalographError as error:
        ray.get(part.mailbox.fail.remote(Failure(str(error), error.exit_code)))
        raise
    except (OSError, MemoryError) as error:
        # A full disk, or a file that may not be read: another start would end in the same way.
        where = f"{error.filename}: " if isinstance(error, OSError) and error.filename else ""
        reason = getattr(error, "strerror", None) or str(error) or "there is not enough memory"
        ray.get(part.mailbox.fail.remote(Failure(f"{where}{reason}", TrainingError.exit_code)))
        raise


def _train_part(part: Part) -> None:
    from kg.home import Home

    part.requirement.check()
    if part.where.is_dir():
        os.chdir(part.where)
    folder = part.training.folder
    assert folder is not None
    processes = RayProcesses.join_workers(part.mailbox)
    context = _WorkerContext(home_path=str(part.home), store=part.store)
    context.processes = processes
    home = Home.open(part.home, store=part.store)
    report = RayReport(processes, folder)
    with remarks_as_lines(context), locked_by_starter(folder, writes=processes.is_first):
        with processes.failing_together():
            options: TrainOptions = processes.from_first(
                continued_options(folder, part.training.options)
            )
            training = replace(part.training, options=options)
            trained = training.run(context, home, processes, _WorkerScreen(processes, report))
        report.report_to_ray({"steps": trained.result.get("steps", 0)})
    processes.tell(Ended(trained), wait=True)
    processes.leave()


@dataclass
class _WorkerContext(Context):
    """The context of a worker, whose remarks the command prints."""

    processes: RayProcesses | None = None

    def note(self, text: str) -> None:
        """Let the command print a remark."""
        if self.processes is not None:
            self.processes.tell(Remark(text))


@dataclass(frozen=True)
class _WorkerScreen(TrainingScreen):
    """Lets the command show how far a worker is."""

    processes: RayProcesses
    report: RayReport

    def display(self, quiet: bool = False) -> AbstractContextManager[ReportCallback]:
        """Return what tells Ray, and of the first worker the command, of the run's records."""
        return nullcontext(self.report)

    def bar(self, label: str) -> AbstractContextManager[ProgressCallback]:
        """Return what tells the command of progress."""
        return nullcontext(counting(self.processes, label))
