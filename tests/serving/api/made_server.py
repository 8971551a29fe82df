"""A server of the made catalogue as a process of its own, for tests of what only a socket shows.

python -m tests.serving.api.made_server HOME [--limits JSON] [--token] [--jobs]

With ``--jobs``, jobs are made as well.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).parents[3]


@dataclass
class RunningServer:
    """A server that runs."""

    process: subprocess.Popen[str]
    url: str
    log: Path

    @property
    def port(self) -> int:
        """The port on which it listens."""
        return int(self.url.rpartition(":")[2])

    def memory(self) -> int:
        """Return the bytes that it has in memory."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def kill(self) -> None:
        """Kill it as the system does when memory runs out."""
        self.process.kill()
        self.process.wait()


@contextmanager
def made_server(home: Path, *options: str, **limits: Any) -> Iterator[RunningServer]:
    """Serve a home, whose model is made, on a free port."""
    command = [sys.executable, "-m", "tests.serving.api.made_server", str(home), *options]
    if limits:
        command += ["--limits", json.dumps(limits)]
    with running(command, home.parent / "server.log") as server:
        yield server


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
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(log.read_text()[-2000:])
        yield RunningServer(process, line.strip().rpartition(" ")[2].strip('",'), log)
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(30)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def main() -> None:
    """Serve a home with a made model."""
    from kg.home import Home
    from serving.api.options import Limits, ServeOptions
    from serving.api.running import serve
    from tests.serving.api.conftest import made_scorer
    from tests.serving.api.made_job import interpreter

    parser = argparse.ArgumentParser()
    parser.add_argument("home", type=Path)
    parser.add_argument("--limits", type=json.loads, default={})
    parser.add_argument("--token", action="store_true", default=None)
    parser.add_argument("--jobs", action="store_true")
    args = parser.parse_args()
    home = Home.open(args.home)
    limits = Limits(**{"requests_per_second": 1e6, "burst": 1_000_000, **args.limits})
    with (
        mock.patch("serving.home_completion.load_scorer", lambda home, model: made_scorer(home)),
        mock.patch("serving.home_completion.load_classifier", return_value=None),
        mock.patch("serving.api.catalogue.find_model", lambda models, name: models / "made"),
        mock.patch(
            "serving.api.jobs.PYTHON",
            interpreter(args.home.parent) if args.jobs else sys.executable,
        ),
    ):
        options = ServeOptions(port=0, require_token=args.token, limits=limits)
        serve(home, options, lambda url: print(f"serving at {url}", flush=True))


if __name__ == "__main__":
    main()
