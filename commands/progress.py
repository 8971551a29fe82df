"""Progress on stderr: a bar on a terminal, an occasional line in a log."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.base import console
from schema.files import write_atomically
from schema.progress import ProgressCallback, at_intervals
from schema.terminal import printable, printable_line

if TYPE_CHECKING:
    from training.records import Preparing, Record, ReportCallback, Step, Validated

_LOG_SECONDS = 10.0
"""In a log, lines of progress are at least this far apart."""
PROGRESS_SETTING = "CATALOGRAPH_PROGRESS"
"""The environment variable that names a file for progress, by which others can follow a command."""
_FILE_SECONDS = 0.5


@contextmanager
def bar(label: str, unit: str = "items") -> Iterator[ProgressCallback]:
    """Show a progress bar with the time left, but only if stderr is a terminal.

    If CATALOGRAPH_PROGRESS names a file, the numbers are written there as well.
    """
    path = os.environ.get(PROGRESS_SETTING)
    if path:
        yield _writing_to(Path(path), label, unit)
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    screen = console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit, markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns,
        console=screen,
        transient=True,
        disable=not screen.is_terminal,
    ) as progress:
        task = progress.add_task(label, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _writing_to(path: Path, label: str, unit: str) -> ProgressCallback:
    """Return a callback that writes progress to a file, at most twice a second."""

    def write(done: int, total: int) -> None:
        document = {"label": label, "unit": unit, "done": done, "total": total}
        write_atomically(path, json.dumps(document))

    return at_intervals(write, _FILE_SECONDS)


@contextmanager
def counter(label: str) -> Iterator[Callable[[str], None]]:
    """Show a line that is overwritten, for work of unknown size; only if stderr is a terminal."""
    screen = console(stderr=True)
    if not screen.is_terminal:
        yield lambda text: None
        return
    from rich.text import Text

    with screen.status(Text(label)) as status:
        # As an object, because rich would look for markup in a string.
        yield lambda text: status.update(Text(f"{label}: {printable(text)}"))


class TrainingDisplay:
    """Shows the records of a training run; an instance is the run's report callback.

    On a terminal, a bar shows how much of the budget is used, the terms of the loss, items/s and
    the time left, and validations are printed above it. In a log, a line is written every ten
    seconds.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self._screen = console(stderr=True)
        self._progress: Any = None
        self._task: Any = None
        self._last = time.monotonic()

    def __enter__(self) -> TrainingDisplay:
        if not self.quiet and self._screen.is_terminal:
            from rich.progress import (
                BarColumn,
                Progress,
                TaskProgressColumn,
                TextColumn,
                TimeElapsedColumn,
            )

            self._progress = Progress(
                BarColumn(bar_width=24),
                TaskProgressColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.description}", markup=False),
                console=self._screen,
            )
            self._task = self._progress.add_task("reading the catalogue", total=1.0)
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def __call__(self, record: Record) -> None:
        """Show one record of the training loop."""
        from training.records import Preparing, Step, TrainingWarning

        if self.quiet:
            return
        if isinstance(record, TrainingWarning):
            click.echo(f"warning: {printable_line(record.text)}", err=True)
        elif isinstance(record, Preparing):
            # The start of an activity, which has no count yet, is always logged.
            self._update(preparing_line(record), used=0.0, always=record.done is None)
        elif isinstance(record, Step):
            self._update(step_line(record), used=record.used)
        elif self._progress is not None:
            self._screen.print(validation_line(record))
        else:
            self._log(validation_line(record))

    def _update(self, text: str, used: float, always: bool = False) -> None:
        if self._progress is not None:
            self._progress.update(self._task, description=text, completed=used)
        elif always or time.monotonic() - self._last > _LOG_SECONDS:
            self._log(text)

    def _log(self, text: str) -> None:
        self._last = time.monotonic()
        click.echo(printable_line(text), err=True)


class TrainingScreen:
    """Where a training shows how far it is: on stderr."""

    def display(self, quiet: bool = False) -> AbstractContextManager[ReportCallback]:
        """Return a display of the records of a run, which shows nothing if it is ``quiet``."""
        return TrainingDisplay(quiet)

    def bar(self, label: str) -> AbstractContextManager[ProgressCallback]:
        """Return a bar of what follows the last step."""
        return bar(label)


def preparing_line(record: Preparing) -> str:
    """Describe work before the first step: ``preparing: images 1,200 of 6,000``."""
    count = "" if record.done is None else f" {record.done:,} of {record.total:,}"
    return f"preparing: {record.activity}{count}"


def step_line(record: Step) -> str:
    """Describe a log step: ``step 120 · 98 items/s · 3 min left · loss 4.120 (lpm 3.812)``.

    In a run of several stages, the line includes the stage: ``step 120 · stage 2 · ...``.
    """
    parts = [f"step {record.step}"]
    if record.stage is not None:
        parts.append(f"stage {record.stage}")
    parts.append(f"{record.items_per_second:.0f} items/s")
    if record.used and record.seconds:
        seconds_left = record.seconds * (1 - record.used) / record.used
        parts.append(f"{duration(seconds_left)} left")
    terms = ", ".join(f"{name} {value:.3f}" for name, value in record.terms.items())
    parts.append(f"loss {record.loss:.3f} ({terms})")
    return " · ".join(parts)


def validation_line(record: Validated) -> str:
    """Describe a validation: ``step 400 · validation hits@1 0.712, mrr 0.801``."""
    return f"step {record.step} · validation {figures(record.metrics)}"


def figures(metrics: dict[str, Any]) -> str:
    """List a run's overall figures: ``hits@1 0.712, mrr 0.801``.

    Those of single settings, which have a slash in their names, are left out.
    """
    overall = (f"{name} {value:.3f}" for name, value in metrics.items() if "/" not in name)
    return ", ".join(overall) or "none"


def duration(seconds: float) -> str:
    """Format a duration for people: ``40 s``, ``12 min``, ``2.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
