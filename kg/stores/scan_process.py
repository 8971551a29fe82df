"""Read a graph from end to end in a process of its own, which damage may end.

A damaged graph can make its database abort the process, fail with a segmentation fault, loop for
ever or ask for all memory. So it is read by a child process with limits, and what ends that is an
answer, too.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Generic, TypeVar

from kg.stores.failures import unavailable
from kg.stores.graph_scan import GraphScan, Part
from kg.stores.sandbox import end_first
from schema.errors import StoreDamagedError, StoreUnavailableError
from schema.memory import resident_bytes

ResultT = TypeVar("ResultT")

POLL_SECONDS = 0.1
REASON_CHARACTERS = 200
STARTING_SECONDS = 60.0
"""What the child process may take in addition until it begins, on a busy machine."""

OpenScan = Callable[[Path], GraphScan]
"""Opens the graph at a path; a class or function that the child process can import."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of the child process: its memory in bytes, and the seconds without any progress."""

    memory: int = 6 << 30
    seconds: float = 300.0


@dataclass(frozen=True, slots=True)
class Activity:
    """What the child process does now, for the message if it does not get any further.

    ``rows`` is how many rows it has read since it said so last, and ``part`` what it reads.
    """

    text: str
    rows: int = 0
    part: Part | None = None


ReportActivity = Callable[[Activity], None]


class ScanTask(ABC, Generic[ResultT]):
    """What the child process does with a graph; it is sent to it, and so is the result."""

    @abstractmethod
    def run(self, scan: GraphScan, report: ReportActivity) -> ResultT:
        """Do it, and tell from time to time what is being done."""


class GraphUnreadableError(StoreDamagedError):
    """A graph cannot be read: the child process failed, died, or exceeded a limit.

    ``reason`` says how, and ``activity`` at what; ``part`` is the part that was being read, if any.
    """

    def __init__(self, graph: Path, reason: str, activity: Activity) -> None:
        self.reason = reason
        self.activity = activity.text
        self.part = activity.part
        super().__init__(
            f"the graph {graph} cannot be read ({reason}, {activity.text}): run `catalograph "
            "verify`, which says how to go on"
        )


class ScanProcess(Generic[ResultT]):
    """A child process at work on a task; use it in a ``with`` statement.

    It starts at once. ``version`` and ``result`` wait for it, and raise GraphUnreadableError, or
    StoreUnavailableError if the system refuses something for now.
    """

    def __init__(
        self,
        open_scan: OpenScan,
        graph: Path,
        task: ScanTask[ResultT],
        limits: Limits | None = None,
        progress: Callable[[int], None] = lambda rows: None,
    ) -> None:
        self._graph = graph
        self._limits = limits or Limits()
        self._progress = progress
        self._activity = Activity("while the process started")
        self._has_begun = False
        self._seconds = self._limits.seconds + STARTING_SECONDS
        # Spawned: a forked process would inherit the files and locks of databases that are open.
        context = multiprocessing.get_context("spawn")
        self._receiver, sender = context.Pipe(duplex=False)
        self._child = context.Process(
            target=_run, args=(sender, open_scan, graph, task), daemon=True
        )
        with unavailable(graph):
            self._child.start()
        # While this process has a copy of the sending end, a child that died would not cause an
        # EOFError.
        sender.close()

    def __enter__(self) -> ScanProcess[ResultT]:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.kill()
        self._child.join()
        self._receiver.close()

    def version(self) -> int:
        """Return the journal's version that the graph shows."""
        version: int = self._next("version")
        return version

    def result(self) -> ResultT:
        """Return the task's result, once ``version`` is known."""
        result: ResultT = self._next("result")
        return result

    def _next(self, wanted: str) -> Any:
        """Return the next message of a kind; take note of those that say what is being done."""
        while True:
            kind, content = self._receive()
            if kind == "activity":
                self._activity = content
                self._progress(content.rows)
            elif kind == wanted:
                return content
            elif kind == "unavailable":
                raise StoreUnavailableError(content)
            else:
                raise self._error(str(content))

    def _receive(self) -> tuple[str, Any]:
        deadline = time.monotonic() + self._seconds
        try:
            while not self._receiver.poll(POLL_SECONDS):
                if resident_bytes(self._child.pid) > self._limits.memory:
                    raise self._error(f"it needs more than {self._limits.memory / 1e9:.1f} GB")
                if time.monotonic() > deadline:
                    raise self._error(f"it stood still for {self._seconds:g} s")
            message: tuple[str, Any] = self._receiver.recv()
            self._seconds = self._limits.seconds
            self._has_begun = True
            return message
        except EOFError:
            self._child.join()
            end = _end_of(self._child.exitcode)
            if not self._has_begun:
                raise StoreUnavailableError(
                    f"the process that reads {self._graph} cannot be started (it {end}): free "
                    "memory or end other programs, then try again; this says nothing about the "
                    "graph"
                ) from None
            raise self._error(f"the database {end}") from None

    def _error(self, reason: str) -> GraphUnreadableError:
        return GraphUnreadableError(self._graph, reason, self._activity)


def run_scan(
    open_scan: OpenScan, graph: Path, task: ScanTask[ResultT], limits: Limits | None = None
) -> ResultT:
    """Run a task on a graph; raises what :class:`ScanProcess` does."""
    with ScanProcess(open_scan, graph, task, limits) as process:
        process.version()
        return process.result()


def _end_of(exit_code: int | None) -> str:
    """Say how a process ended that did not say so itself."""
    if exit_code is not None and exit_code < 0:
        with suppress(ValueError):
            return f"was ended by {signal.Signals(-exit_code).name}"
    return f"ended with exit code {exit_code}"


def _run(sender: Connection, open_scan: OpenScan, graph: Path, task: ScanTask[Any]) -> None:
    """Run in the child process: send what is being done, the version, and the result."""
    _expect_the_worst()
    sender.send(("activity", Activity("while it was opened")))
    try:
        scan = open_scan(graph)
        sender.send(("version", scan.version()))
        result = task.run(scan, lambda activity: sender.send(("activity", activity)))
        sender.send(("result", result))
        scan.close()
    except StoreUnavailableError as error:
        # It says nothing about the graph.
        sender.send(("unavailable", str(error)))
    except MemoryError:
        sender.send(("error", "it needs more memory than there is"))
    except Exception as error:
        # Whatever a database raises over a damaged file: RuntimeError above all, but also
        # IndexError, UnicodeDecodeError, and errors of Arrow.
        reason = " ".join(str(error).split())[:REASON_CHARACTERS] or type(error).__name__
        sender.send(("error", reason))


def _expect_the_worst() -> None:
    """Keep what a dying database prints and dumps away, and let the kernel kill this one first."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    end_first()
