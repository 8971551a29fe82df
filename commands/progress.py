"""Progress on stderr: a bar where a person watches, a line now and then in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from commands.base import console, printable

_EVERY_SECONDS = 10.0
Done = Callable[[int, int], None]
"""Told (done, in all)."""


@contextmanager
def bar(label: str, unit: str = "items") -> Iterator[Done]:
    """A progress bar with its rate and what is left; silent where nobody watches."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
    )
    screen = console(stderr=True)
    with Progress(
        *columns,
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=screen,
        transient=True,
        disable=not screen.is_terminal,
    ) as shown:
        task = shown.add_task(label, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)


@contextmanager
def counter(label: str) -> Iterator[Callable[[str], None]]:
    """A line that is written over, for work whose size is not known."""
    screen = console(stderr=True)
    if not screen.is_terminal:
        yield lambda text: None
        return
    with screen.status(label) as status:
        yield lambda text: status.update(f"{label}: {printable(text)}")


class TrainingProgress:
    """Shows a run's records: terms of the loss, items/s, what is left of the budget, validation."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self._screen = console(stderr=True)
        self._shown: Any = None
        self._task: Any = None
        self._last = time.monotonic()

    def __enter__(self) -> TrainingProgress:
        if not self.quiet and self._screen.is_terminal:
            from rich.progress import (
                BarColumn,
                Progress,
                TaskProgressColumn,
                TextColumn,
                TimeElapsedColumn,
            )

            columns = (
                BarColumn(bar_width=24),
                TaskProgressColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.description}"),
            )
            self._shown = Progress(*columns, console=self._screen)
            self._task = self._shown.add_task("reading the catalogue", total=1.0)
            self._shown.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown is not None:
            self._shown.stop()

    def __call__(self, record: dict[str, Any]) -> None:
        """Take one record of the training loop."""
        if self.quiet:
            return
        if "stage" in record:
            done = f" {record['done']:,} of {record['of']:,}" if "done" in record else ""
            self._say(f"preparing: {record['stage']}{done}", record, always=not done)
        elif "warning" in record:
            click.echo(f"warning: {record['warning']}", err=True)
        elif "metrics" in record:
            self._say(validation_line(record), record, always=True)
        else:
            self._say(step_line(record), record)

    def _say(self, text: str, record: dict[str, Any], always: bool = False) -> None:
        if self._shown is not None:
            if "metrics" in record:
                self._screen.print(text)
            else:
                self._shown.update(self._task, description=text, completed=record.get("used", 0.0))
        elif always or time.monotonic() - self._last > _EVERY_SECONDS:
            self._last = time.monotonic()
            click.echo(text, err=True)


def step_line(record: dict[str, Any]) -> str:
    """One log step: ``step 120 · 98 items/s · 3 min left · loss 4.120 (link 3.812, mlm 1.204)``."""
    terms = dict(record["loss"])
    total = terms.pop("total")
    parts = [f"step {record['step']}", f"{record['items_per_second']:.0f} items/s"]
    used = record.get("used")
    seconds = record.get("seconds")
    if used and seconds:
        parts.append(f"{left(seconds * (1 - used) / used)} left")
    listed = ", ".join(f"{name} {value:.3f}" for name, value in terms.items())
    return " · ".join([*parts, f"loss {total:.3f} ({listed})"])


def validation_line(record: dict[str, Any]) -> str:
    """One validation: ``step 400 · validation hits@1 0.712, mrr 0.801``."""
    return f"step {record['step']} · validation {figures(record['metrics'])}"


def figures(metrics: dict[str, Any]) -> str:
    """A run's overall figures: ``hits@1 0.712, mrr 0.801``; those of single settings, which have a slash in their names, are left out."""
    return (
        ", ".join(f"{name} {value:.3f}" for name, value in metrics.items() if "/" not in name)
        or "none"
    )


def left(seconds: float) -> str:
    """A duration to read: ``40 s``, ``12 min``, ``2.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
