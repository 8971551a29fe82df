"""What a process and all that it starts take: time, processors and memory."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_INTERVAL = 0.05  # seconds between two looks at the memory of the processes
_PAGE = os.sysconf("SC_PAGE_SIZE")


class NotFinishedError(Exception):
    """A process has not finished within its time, and was ended."""


@dataclass(frozen=True)
class Taken:
    """What a process took, with those that it started.

    Attributes:
        seconds: from its start to its end
        cpu_seconds: the seconds of all processors together
        peak_bytes: the most resident memory (RSS) at any moment; what several of the processes
            share counts once for each
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int


def run_measured(
    command: Sequence[str],
    out: IO[bytes] | None = None,
    folder: Path | None = None,
    limit: float | None = None,
    codes: Collection[int] = (0,),
) -> Taken:
    """Run a command to its end, its output going to ``out`` if that is given.

    Raises CalledProcessError if its exit code is none of ``codes``, and NotFinishedError if it
    takes more than ``limit`` seconds; it is then ended with all that it has started.
    """
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=out, cwd=folder, start_new_session=True)
    peak = 0
    try:
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            peak = max(peak, resident_bytes(process.pid))
            if limit is not None and time.perf_counter() - started > limit:
                raise NotFinishedError
            time.sleep(_INTERVAL)
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in codes:
        raise subprocess.CalledProcessError(process.returncode, list(command))
    # The largest of the processes alone, which the looks may have missed.
    peak = max(peak, usage.ru_maxrss * 1024)
    return Taken(seconds, usage.ru_utime + usage.ru_stime, peak)


def resident_bytes(root: int) -> int:
    """Return the resident memory of a process and those that it started."""
    total = 0
    pids = [root]
    while pids:
        folder = Path("/proc") / str(pids.pop())
        try:
            total += int((folder / "statm").read_text().split()[1]) * _PAGE
            for task in (folder / "task").iterdir():
                pids += map(int, (task / "children").read_text().split())
        except OSError:
            continue  # it has just ended
    return total
