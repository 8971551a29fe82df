"""Records of a run's progress, which the training loop passes to a callback."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Preparing:
    """Work before the first step: ``activity`` in words, ``done`` of ``total`` if it is counted."""

    activity: str
    done: int | None = None
    total: int | None = None


@dataclass(frozen=True)
class Step:
    """One log step.

    ``loss`` and each of ``terms`` are those of this step alone; ``items_per_second`` is the mean
    since the previous record. ``used`` is the share of the budget that is used up; ``stage`` counts
    from 1, and is None in a run of one stage.
    """

    step: int
    epoch: int
    seconds: float
    items_per_second: float
    learning_rate: float
    loss: float
    terms: dict[str, float]
    used: float
    stage: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the record as a line of ``log.jsonl``."""
        record = {
            "step": self.step,
            "epoch": self.epoch,
            "seconds": self.seconds,
            "items_per_second": self.items_per_second,
            "lr": self.learning_rate,
            "loss": {"total": self.loss, **self.terms},
            "used": self.used,
        }
        return record if self.stage is None else {**record, "stage": self.stage}


@dataclass(frozen=True)
class Validated:
    """The metrics of one validation, by name."""

    step: int
    metrics: dict[str, float]


@dataclass(frozen=True)
class TrainingWarning:
    """Something that the user should know, in one line."""

    text: str


Record = Preparing | Step | Validated | TrainingWarning
ReportCallback = Callable[[Record], None]
"""Called with every record of a run."""


def ignore_records(record: Record) -> None:
    """Do nothing with a record: the default of functions that take a report callback."""
