"""How OpenMP's threads share the processor with other programs.

PyTorch's threads wait for each other at the end of every parallel loop, thousands of times a step.
While another program holds a core, the thread that shares it is late every time, and the others
wait: with a thread per core, training on two cores beside two busy programs reaches 30% of its fair
share, with one thread 75%. So a command starts with as many threads as fit into its share of the
cores.

A waiting thread spins before it sleeps. If it spins for long, it takes the core from the very
thread that it waits for; if it sleeps at once, training alone is 30% slower. A short spin costs
nothing.
docs/results.md has the measurements.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

SPIN_COUNT = 10_000
"""Iterations that a thread spins before it sleeps."""
SPIN_SETTINGS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
"""Environment variables of OpenMP about how long a thread spins."""
THREADS = "OMP_NUM_THREADS"


@dataclass
class _Chosen:
    """The number of threads that this process has chosen itself; None if it has not."""

    threads: int | None = None


_chosen = _Chosen()


def share_processor() -> int | None:
    """Limit the number of OpenMP's threads and how long they spin, unless the user has set that.

    Call it before PyTorch is loaded: GNU's OpenMP reads its settings only once, at that time.
    Returns the number of threads if it was lowered for the sake of other programs, or else None.
    """
    if not any(name in os.environ for name in SPIN_SETTINGS):
        os.environ["GOMP_SPINCOUNT"] = str(SPIN_COUNT)
    if THREADS in os.environ:
        return None
    cores = len(os.sched_getaffinity(0))
    threads = fair_threads(cores, busy_threads())
    if threads == cores:
        return None
    os.environ[THREADS] = str(threads)
    _chosen.threads = threads
    return threads


def user_set_threads() -> bool:
    """Return whether the number of threads is set, but not by :func:`share_processor`."""
    return THREADS in os.environ and os.environ[THREADS] != str(_chosen.threads)


def usable_cores(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Return how many cores this process may use: those it may run on, and a container's quota."""
    cores = len(os.sched_getaffinity(0))
    quota = _cpu_quota(cgroup)
    return cores if quota is None else max(1, min(cores, int(quota)))


def _cpu_quota(cgroup: Path) -> float | None:
    """Return a container's quota in cores; None if there is none."""
    try:
        limit, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        # Version 1 of control groups.
        try:
            limit = (cgroup / "cpu" / "cpu.cfs_quota_us").read_text()
            period = (cgroup / "cpu" / "cpu.cfs_period_us").read_text()
        except OSError:
            return None
    try:
        quota = int(limit) / int(period)
    except (ValueError, ZeroDivisionError):
        # "max"
        return None
    # Version 1 has -1 where there is no quota.
    return quota if quota > 0 else None


def fair_threads(cores: int, others: int) -> int:
    """Return how many threads fit into a fair share of ``cores`` beside ``others`` that are busy.

    With one thread per core instead, every parallel loop would wait for the thread whose core
    another program uses.
    """
    return max(1, round(cores * cores / (cores + others)))


def busy_threads(loadavg: Path = Path("/proc/loadavg")) -> int:
    """Return how many threads of other programs are running; 0 if the system does not tell.

    This is the lower of two figures of the kernel: the number of threads that are runnable now,
    without this one, and their mean over the last minute. The first alone would count threads that
    run only for a moment, and the second alone would count those that have already ended.
    """
    try:
        last_minute, _, _, runnable, _ = loadavg.read_text().split()
        now = int(runnable.partition("/")[0]) - 1
        return max(0, min(now, round(float(last_minute))))
    except (OSError, ValueError):
        return 0
