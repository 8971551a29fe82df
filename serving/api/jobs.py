"""Long work in processes of its own: started by a request, followed, cancelled, fetched later.

A job is a command of the command line with the home's path, so that it does what the command does,
and neither a crash nor its memory is the server's. Its folder in the home keeps what was asked, how
far it is, what came of it and its log; a server that starts goes on with those that were cut off.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from kg.home import Home
from kg.ingest.run_id import new_run_id
from schema.documents import parse_json_object
from schema.files import write_atomically
from schema.terms import now

FOLDER = "jobs"
RESULTS = "results.jsonl"
REPORT = "report.html"
_STATE = "job.json"
_PROGRESS = "progress.json"
_OUTPUT = "output.json"
_LOG = "log.txt"
_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}")
_STOP_SECONDS = 10.0
MAX_WAITING = 100
PYTHON = sys.executable
"""What runs the commands."""
_logger = logging.getLogger("catalograph.api")


class JobStatus(StrEnum):
    """How far a job is."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


FINISHED = (JobStatus.DONE, JobStatus.FAILED, JobStatus.CANCELLED)


@dataclass(frozen=True)
class Job:
    """A job.

    Attributes:
        id: its number
        kind: the command that it is
        arguments: those of the command
        caller: who asked for it
        created, started, ended: times in ISO 8601
        status: how far it is
        error: why it failed, one line
        result: the JSON that the command printed
    """

    id: str
    kind: str
    arguments: tuple[str, ...]
    caller: str
    created: str
    started: str | None = None
    ended: str | None = None
    status: JobStatus = JobStatus.WAITING
    error: str | None = None
    result: dict[str, Any] | list[Any] | None = field(default=None, repr=False)

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Job:
        """Return a job from plain data."""
        arguments = tuple(document["arguments"])
        status = JobStatus(document["status"])
        return cls(**{**document, "arguments": arguments, "status": status})


class Jobs:
    """The jobs of a home, of which a few run at the same time.

    Args:
        home: the home
        at_once: how many run at the same time
    """

    def __init__(self, home: Home, at_once: int = 1) -> None:
        self._home = home
        self._folder = home.path / FOLDER
        self._lock = threading.Lock()
        self._wakeup = threading.Condition(self._lock)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._is_closed = False
        self._waiting: list[Job] = []
        for job in reversed(list(self.all())):
            if job.status not in FINISHED:
                # The server that ran it has ended; `complete` goes on where it was.
                self._waiting.append(self._save(replace(job, status=JobStatus.WAITING)))
        self._threads = [
            threading.Thread(target=self._work, name=f"catalograph-job-{number}", daemon=True)
            for number in range(at_once)
        ]
        for thread in self._threads:
            thread.start()

    def start(self, kind: str, arguments: Sequence[str], caller: str) -> Job:
        """Start a job, or let it wait until others have ended."""
        job = Job(new_run_id(), kind, tuple(arguments), caller, now())
        with self._lock:
            self._save(job)
            self._waiting.append(job)
            self._wakeup.notify()
        return job

    @property
    def is_full(self) -> bool:
        """Whether too many jobs wait already."""
        return len(self._waiting) >= MAX_WAITING

    def all(self) -> Iterator[Job]:
        """Yield all jobs, the newest first."""
        if not self._folder.is_dir():
            return
        for folder in sorted(self._folder.iterdir(), reverse=True):
            job = self.get(folder.name)
            if job is not None:
                yield job

    def latest(self, count: int) -> list[Job]:
        """Return the newest jobs."""
        return list(itertools.islice(self.all(), count))

    def get(self, id: str) -> Job | None:
        """Return a job; None if there is none."""
        if not _ID.fullmatch(id):
            return None
        path = self._folder / id / _STATE
        try:
            return Job.from_dict(parse_json_object(path.read_bytes()))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def progress(self, job: Job) -> dict[str, Any] | None:
        """Return what a job does and how far it is; None if it has not said so yet."""
        if job.status is not JobStatus.RUNNING:
            return None
        try:
            return parse_json_object((self._folder / job.id / _PROGRESS).read_bytes())
        except (OSError, ValueError):
            return None

    def results(self, job: Job) -> Path | None:
        """Return the file with a job's results; None if it has none."""
        path = self._folder / job.id / RESULTS
        return path if path.is_file() else None

    def report(self, job: Job) -> Path | None:
        """Return the page that a job has written; None if it has written none."""
        path = self._folder / job.id / REPORT
        return path if path.is_file() else None

    def cancel(self, id: str) -> Job | None:
        """Stop a job, or keep it from being started; return what it is then."""
        with self._lock:
            job = self.get(id)
            if job is None or job.status in FINISHED:
                return job
            self._waiting = [each for each in self._waiting if each.id != id]
            job = self._save(replace(job, status=JobStatus.CANCELLED, ended=now()))
            process = self._processes.get(id)
        if process is not None:
            _stop(process)
        return job

    def close(self) -> None:
        """Stop what runs; it goes on when the next server starts."""
        with self._lock:
            self._is_closed = True
            processes = list(self._processes.values())
            self._wakeup.notify_all()
        for process in processes:
            _stop(process)
        for thread in self._threads:
            thread.join(timeout=_STOP_SECONDS)

    def _work(self) -> None:
        while True:
            with self._lock:
                while not self._waiting and not self._is_closed:
                    self._wakeup.wait()
                if self._is_closed:
                    return
                job = self._waiting.pop(0)
            try:
                self._run(job)
            except Exception as error:
                _logger.exception("job %s could not be run", job.id)
                self._end(job, JobStatus.FAILED, error=f"it could not be run: {error}")

    def _run(self, job: Job) -> None:
        folder = self._folder / job.id
        was_started = job.started is not None
        job = replace(job, status=JobStatus.RUNNING, started=job.started or now())
        command = [PYTHON, "-m", "cli", "--home", str(self._home.path)]
        if self._home.store_url != self._home.own_store_url():
            command += ["--store", self._home.store_url]
        command += ["--json", *self._arguments(job, was_started)]
        environment = {**os.environ, "CATALOGRAPH_PROGRESS": str(folder / _PROGRESS)}
        with (folder / _OUTPUT).open("wb") as output, (folder / _LOG).open("ab") as log:
            with self._lock:
                current = self.get(job.id)
                if self._is_closed or current is None or current.status in FINISHED:
                    return
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=log,
                    env=environment,
                    start_new_session=True,
                )
                self._processes[job.id] = process
                self._save(job)
            code = process.wait()
        with self._lock:
            del self._processes[job.id]
            current = self.get(job.id)
            if self._is_closed or current is None or current.status is JobStatus.CANCELLED:
                return
        if code == 0:
            self._end(job, JobStatus.DONE, result=_output(folder / _OUTPUT))
        else:
            self._end(job, JobStatus.FAILED, error=_error(folder / _LOG, code))

    def _arguments(self, job: Job, was_started: bool) -> list[str]:
        """Return a job's command line; one of ``complete`` that was cut off goes on."""
        folder = self._folder / job.id
        match job.kind:
            case "complete" if was_started:
                return ["complete", "--resume"]
            case "index":
                return [job.kind, *job.arguments]
            case "report":
                (completing,) = job.arguments
                results = self._folder / completing / RESULTS
                return [job.kind, str(folder / REPORT), "--completions", str(results)]
            case _:
                return [job.kind, *job.arguments, "--out", str(folder / RESULTS)]

    def _end(
        self,
        job: Job,
        status: JobStatus,
        *,
        error: str | None = None,
        result: dict[str, Any] | list[Any] | None = None,
    ) -> None:
        with self._lock:
            self._save(replace(job, status=status, ended=now(), error=error, result=result))
        with suppress(OSError):
            (self._folder / job.id / _PROGRESS).unlink()

    def _save(self, job: Job) -> Job:
        folder = self._folder / job.id
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / _STATE, json.dumps(asdict(job), ensure_ascii=False))
        return job

    def delete(self, id: str) -> None:
        """Remove a finished job with its results."""
        job = self.get(id)
        if job is not None and job.status in FINISHED:
            shutil.rmtree(self._folder / id, ignore_errors=True)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask a job to end, so that it keeps what it has; kill it if it does not."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _output(path: Path) -> dict[str, Any] | list[Any] | None:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict | list) else None


def _error(log: Path, code: int) -> str:
    """Return the last line of a job's log."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    told = [line for line in lines if line.strip()]
    text = told[-1].removeprefix("error: ") if told else f"it ended with the code {code}"
    return text[:1000]
