"""Run Catalograph's commands in processes that start at once, and kill them.

A process that is forked from one that has imported everything starts in milliseconds. Nothing has
been opened, and no thread started, in the process that it is forked from. The processes that a
command would spawn are forked from the same one: they, too, begin with nothing open.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import context as contexts
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from types import TracebackType
from typing import Any

PRELOADED = [
    "alembic.command",
    "cli",
    "commands.catalogue",
    "commands.completing",
    "commands.completion",
    "commands.exchange",
    "commands.history",
    "commands.models",
    "commands.review",
    "commands.screen",
    "commands.store",
    "deltalake",
    "duckdb",
    "kg.export.tables",
    "kg.export.write",
    "kg.home_salvage",
    "kg.home_verification",
    "kg.ingest.pipeline",
    "kg.ingest.queries",
    "kg.ingest.readers.arrow",
    "kg.ingest.readers.delimited",
    "kg.ingest.readers.html_pages",
    "kg.ingest.readers.json_documents",
    "kg.ingest.readers.jsonl",
    "kg.ingest.readers.parquet",
    "kg.ingest.readers.rdf",
    "kg.ingest.readers.sheets",
    "kg.ingest.readers.xml_feeds",
    "kg.quality.shacl",
    "kg.quality.validation",
    "kg.snapshot",
    "kg.source_order",
    "kg.splits",
    "kg.stats",
    "kg.stores.copying",
    "kg.stores.ladybug",
    "kg.stores.ladybug_scan",
    "kg.stores.rdf",
    "kg.stores.rdf_scan",
    "ladybug",
    "pandas",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "pyoxigraph",
    "rich.progress",
    "schema.ledger",
    "schema.ontology_counts",
    "sqlalchemy.dialects.sqlite",
    "tests.faults.children",
]
LONGEST_SECONDS = 600.0
BATCH_STATEMENTS = 1_000
"""Statements of a batch of an ingest: so a small catalogue takes several commits."""

PUT_AT_ONCE = 100
"""Items of a commit that retires items, or shows those of several sources anew."""

_SERVER_LOST = 255
"""The exit code by which multiprocessing says that a process's server has ended before it."""
_CONTEXT = multiprocessing.get_context("forkserver")


@dataclass(frozen=True)
class Result:
    """How a command ended: its exit code, below 0 if a signal ended it, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.out)

    @property
    def is_explained(self) -> bool:
        """Whether it ended well, or with one line of error that is no bug of ours."""
        lines = self.err.splitlines()
        return self.code == 0 or (
            self.code in (1, 2)
            and bool(lines)
            and lines[-1].startswith("error: ")
            and not lines[-1].startswith("error: unexpected ")
            and "Traceback" not in self.err
        )

    def __str__(self) -> str:
        last = (self.err.splitlines() or self.out.splitlines() or ["nothing"])[-1]
        return f"exit code {self.code}, {last[:300]}"


class ServerLostError(RuntimeError):
    """How a process ended is not known, because the server that it was forked from ended before."""


class Child:
    """A process that runs a function; what the function sends can be received."""

    def __init__(self, run: Callable[..., None], *arguments: Any) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="faults-")
        folder = Path(self._folder.name)
        self._outputs = (folder / "out", folder / "err")
        self.received, sender = _CONTEXT.Pipe(duplex=False)
        _CONTEXT.set_forkserver_preload(PRELOADED)
        self.process: ForkServerProcess = _CONTEXT.Process(
            target=_start, args=(self._outputs, sender, _server_address(), run, arguments)
        )
        self.process.start()
        sender.close()
        # The process says when it begins, so that its start does not count.
        self.began = time.monotonic() if self._begins() else 0.0

    def _begins(self) -> bool:
        if not self.received.poll(LONGEST_SECONDS):
            raise TimeoutError("a process did not start")
        self.received.recv()
        return True

    @property
    def log(self) -> Path:
        """The file to which it writes its errors, as long as this block."""
        return self._outputs[1]

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended."""
        return self.process.is_alive()

    def kill(self) -> bool:
        """Kill the process and those that it started; return False if it had ended by itself."""
        running = self.process.is_alive()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid or 0, signal.SIGKILL)
        self.process.join()
        return running and self.process.exitcode == -signal.SIGKILL

    def messages(self) -> list[Any]:
        """Return what the process has sent, after its end."""
        received = []
        with contextlib.suppress(EOFError, OSError):
            while self.received.poll(0):
                received.append(self.received.recv())
        return received

    def result(self, seconds: float = LONGEST_SECONDS) -> Result:
        """Wait for the end and return the result; a process that takes longer is killed.

        Raises ServerLostError if the server has ended, from which all processes are forked: so it
        does if another one is killed just when it asks the server for a process.
        """
        self.process.join(seconds)
        if self.process.is_alive():
            self.kill()
        if self.process.exitcode == _SERVER_LOST:
            # The process itself may still run.
            self.kill()
            raise ServerLostError("the server of processes has ended")
        out, err = (path.read_text(errors="replace") for path in self._outputs)
        code = self.process.exitcode
        return Result(-signal.SIGKILL if code is None else code, out, err)

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the process, if it runs, and forget what it printed."""
        if self.process.is_alive():
            self.kill()
        self.process.close()
        self.received.close()
        self._folder.cleanup()


def call(*arguments: object, home: Path, seconds: float = LONGEST_SECONDS) -> Result:
    """Run a command of Catalograph on a home to its end."""
    with command(*arguments, home=home) as child:
        return child.result(seconds)


def command(*arguments: object, home: Path) -> Child:
    """Start a command of Catalograph on a home."""
    return Child(_run_command, ["--home", str(home), *map(str, arguments)])


def run(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a process of its own and return its result.

    Raises RuntimeError if the process ends without one.
    """
    with Child(_send_result, function, arguments) as child:
        # Before its end: a process waits until its result is taken if that is larger than a pipe.
        if child.received.poll(LONGEST_SECONDS):
            with contextlib.suppress(EOFError):
                return child.received.recv()
        raise RuntimeError(f"{function.__name__} ended without a result: {child.result()}")


class _GroupProcess(ForkServerProcess):
    """A process that a child starts; it joins the child's group, to be killed with it."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._group = os.getpgrp()

    def run(self) -> None:
        """Join the group, and run the target."""
        os.setpgid(0, self._group)
        super().run()


class _SharedServer(ForkServerContext):
    """Starts the processes of a child by the server that the child was started by."""

    Process = _GroupProcess


def _server_address() -> str:
    """Start the server that all children are forked from, if it does not run, and return where."""
    forkserver.ensure_running()
    return str(forkserver._forkserver._forkserver_address)  # type: ignore[attr-defined]


def _share_server(address: str) -> None:
    """Let this child's processes be forked by the server at an address, in place of spawned.

    Spawned ones would each import everything, which takes longer than all that they do here.
    """
    server: Any = forkserver._forkserver
    server._forkserver_address = address
    server.ensure_running = lambda: None
    known: Any = contexts._concrete_contexts  # type: ignore[attr-defined]
    known["spawn"] = _SharedServer()


def _start(
    outputs: Sequence[Path],
    sender: Connection,
    address: str,
    function: Callable[..., None],
    arguments: Sequence[Any],
) -> None:
    # A group of its own, so that it is killed with all processes that it starts; in the same
    # session, since only so can these join it.
    os.setpgid(0, 0)
    _share_server(address)
    for number, path in zip((1, 2), outputs, strict=True):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, number)
    sys.stdout = os.fdopen(1, "w", buffering=1)
    sys.stderr = os.fdopen(2, "w", buffering=1)
    sender.send(None)
    function(sender, *arguments)


def _run_command(sender: Connection, arguments: Sequence[str]) -> None:
    import cli
    from kg import source_order
    from kg.ingest import source_plan, updates
    from kg.stores import history

    source_plan.BATCH_STATEMENTS = BATCH_STATEMENTS
    history.ROWS_AT_ONCE = BATCH_STATEMENTS
    source_order.ROWS_AT_ONCE = PUT_AT_ONCE
    updates.RETIRED_AT_ONCE = PUT_AT_ONCE
    code = cli.main(arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _send_result(
    sender: Connection, function: Callable[..., Any], arguments: Sequence[Any]
) -> None:
    sender.send(function(*arguments))
