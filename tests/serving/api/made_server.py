"""A server of the made catalogue as a process of its own, for tests of what only a socket shows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest import mock

from tests.faults.children import PRELOADED, Child

ROOT = Path(__file__).parents[3]
STOP_SECONDS = 30.0

PRELOADED += (
    "PIL.Image",
    "python_multipart",
    "serving.api.app",
    "serving.api.connections",
    "serving.api.running",
    "serving.search.building",
    "tests.serving.api.conftest",
    "tests.serving.api.made_job",
    "tests.serving.api.made_server",
    "uvicorn.lifespan.on",
    "uvicorn.loops.auto",
)


@dataclass
class RunningServer:
    """A server that runs; ``end`` kills its process and waits for the end."""

    process_id: int
    url: str
    log: Path
    end: Callable[[], object]

    @property
    def port(self) -> int:
        """The port on which it listens."""
        return int(self.url.rpartition(":")[2])

    def memory(self) -> int:
        """Return the bytes that it has in memory."""
        pages = Path(f"/proc/{self.process_id}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def kill(self) -> None:
        """Kill it as the system does when memory runs out."""
        self.end()


@contextmanager
def made_server(home: Path, *, jobs: bool = False, **limits: Any) -> Iterator[RunningServer]:
    """Serve a home, whose model is made, on a free port; with ``jobs``, jobs are made as well.

    The process is forked from one that has imported everything, and so serves at once.
    """
    limits = {"requests_per_second": 1e6, "burst": 1_000_000, **limits}
    with Child(_serve, dict(os.environ), home, jobs, limits) as child:
        process = child.process
        try:
            url = child.received.recv()
        except EOFError:
            raise RuntimeError(str(child.result())) from None
        yield RunningServer(process.pid or 0, url, child.log, child.kill)
        # Which it does after the requests that are being answered.
        process.terminate()
        process.join(STOP_SECONDS)
        if process.exitcode is None:
            raise RuntimeError(f"the server goes on: {child.log.read_text()[-2000:]}")


@contextmanager
def running(command: list[str], log: Path) -> Iterator[RunningServer]:
    """Run a command that serves and prints its address, and end it afterwards."""
    with log.open("a") as errors:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def end() -> None:
        process.kill()
        process.wait()

    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(log.read_text()[-2000:])
        url = line.strip().rpartition(" ")[2].strip('",')
        yield RunningServer(process.pid, url, log, end)
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(STOP_SECONDS)
    finally:
        end()
        if process.stdout is not None:
            process.stdout.close()


def _serve(
    sender: Connection,
    environment: Mapping[str, str],
    folder: Path,
    jobs: bool,
    limits: Mapping[str, Any],
) -> None:
    """Serve a home with a made model, and send the address."""
    from kg.home import Home
    from serving.api.options import Limits, ServeOptions
    from serving.api.running import serve
    from tests.serving.api.conftest import made_scorer
    from tests.serving.api.made_job import interpreter

    # Of the process that asks, and not of the one that this is forked from.
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    with (
        mock.patch("serving.home_completion.load_scorer", lambda home, model: made_scorer(home)),
        mock.patch("serving.home_completion.load_classifier", return_value=None),
        mock.patch("serving.api.catalogue.find_model", lambda models, name: models / "made"),
        mock.patch(
            "serving.api.jobs.PYTHON", interpreter(folder.parent) if jobs else sys.executable
        ),
    ):
        serve(Home.open(folder), ServeOptions(port=0, limits=Limits(**limits)), sender.send)
