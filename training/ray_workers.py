"""The workers of a training on a Ray cluster, and what they exchange with the command.

Ray Train starts the workers, connects them to each other, and starts all of them again if one is
lost. What they have to say travels to the command through a mailbox (:mod:`training.mailbox`) that
outlives them: records, remarks, entries of the ledger, the result.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kg.home import Home
from schema.progress import ProgressCallback, at_intervals
from training.processes import Processes
from training.records import Record, Validated


@dataclass(frozen=True)
class Started:
    """All workers are there; sent by the first one, each time that Ray has started them."""


@dataclass(frozen=True)
class Lost:
    """A worker has failed or is gone, and Ray is about to start all of them again.

    ``reason`` is what Ray knows of it, in a line.
    """

    reason: str


@dataclass(frozen=True)
class InSteps:
    """The steps begin: from now until their end the run can be saved when it is asked to stop."""


@dataclass(frozen=True)
class Remark:
    """A line for the user."""

    text: str


@dataclass(frozen=True)
class Counted:
    """How far the work is that follows the steps."""

    label: str
    done: int
    total: int


@dataclass(frozen=True)
class LedgerEntry:
    """What the home's ledger is to say of the run."""

    entry: Mapping[str, Any]


@dataclass(frozen=True)
class Ended:
    """What the first worker's part has come to."""

    value: Any


Message = Started | Lost | InSteps | Remark | Counted | LedgerEntry | Ended | Record


class RayProcesses(Processes):
    """The workers of a training as its processes: Ray has connected them already."""

    mailbox: Any
    _asked: Any = None

    @classmethod
    def join_workers(cls, mailbox: Any) -> RayProcesses:
        """Return this worker among the others, with the ``mailbox`` of the command."""
        processes = cls.join()
        processes.mailbox = mailbox
        processes.tell(Started())
        return processes

    def tell(self, message: Message, wait: bool = False) -> None:
        """Send a message to the command if this is the first worker; ``wait`` until it is there."""
        import ray

        if self.is_first:
            sent = self.mailbox.put.remote(pickle.dumps(message))
            if wait:
                ray.get(sent)

    def record(self, home: Home, entry: Mapping[str, Any]) -> None:
        """Let the command record a run: it alone writes, and knows what was told before a loss."""
        self.tell(LedgerEntry(entry), wait=True)

    def is_asked_to_stop(self) -> bool:
        """Return whether the command has asked the workers to save the run and to end."""
        import ray

        if not self.is_first:
            return False
        if self._asked is None:
            self._asked = self.mailbox.asked_to_stop.remote()
            self.tell(InSteps(), wait=True)
        asked, _ = ray.wait([self._asked], timeout=0)
        return bool(asked)


@dataclass
class RayReport:
    """A run's report callback in a worker: its records go to the command, validations to Ray."""

    processes: RayProcesses
    folder: Path

    def __call__(self, record: Record) -> None:
        """Report one record of the training loop."""
        if isinstance(record, Validated):
            self.report_to_ray({"step": record.step, **record.metrics})
        self.processes.tell(record)

    def report_to_ray(self, metrics: Mapping[str, Any]) -> None:
        """Report metrics to Ray Train, with the run's last checkpoint, where it is.

        All workers have to call this together.
        """
        import ray.train

        kept = self.processes.from_first(last_checkpoint(self.folder))
        ray.train.report(
            dict(metrics),
            checkpoint=None if kept is None else ray.train.Checkpoint.from_directory(kept),
            checkpoint_upload_mode=ray.train.CheckpointUploadMode.NO_UPLOAD,
        )


def last_checkpoint(folder: Path) -> Path | None:
    """Return the last whole checkpoint of the model in a folder."""
    found = sorted((folder / "checkpoints").glob("step-*"))
    return found[-1] if found else None


def counting(processes: RayProcesses, label: str) -> ProgressCallback:
    """Return a progress callback that tells the command, at most twice a second."""
    return at_intervals(lambda done, total: processes.tell(Counted(label, done, total)), 0.5)
