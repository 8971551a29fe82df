"""How OpenMP's threads share the processor with other programs.

PyTorch's threads wait for each other at the end of every parallel loop, thousands of times a step.
By default a waiting thread spins for milliseconds. That is fast on an idle machine; but while
another program holds a core, each spinning thread keeps the very thread that it waits for from
running, and training all but stops. Threads that sleep at once are kind to others but slow alone,
since waking them takes longer than most loops do.

So threads spin for a short, bounded time, and on a machine that is busy at the start there are only
as many threads as its share of cores. docs/results.md has the measurements.
"""

from __future__ import annotations

import os
from pathlib import Path

SPIN_COUNT = 10_000
"""Iterations that a thread spins before it sleeps."""
_SPIN_SETTINGS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


def share_processor() -> int | None:
    """Set how OpenMP's threads share the processor, unless the user has set that.

    It has to be called before PyTorch is loaded, because GNU's OpenMP reads its settings once.
    Returns the number of threads if it is lower than usual, for the sake of other programs.
    """
    if not any(name in os.environ for name in _SPIN_SETTINGS):
        os.environ["GOMP_SPINCOUNT"] = str(SPIN_COUNT)
    if "OMP_NUM_THREADS" in os.environ:
        return None
    cores = len(os.sched_getaffinity(0))
    threads = fair_threads(cores, busy_threads())
    if threads == cores:
        return None
    os.environ["OMP_NUM_THREADS"] = str(threads)
    return threads


def fair_threads(cores: int, others: int) -> int:
    """Return how many threads fit into a fair share of ``cores`` beside ``others`` that are busy.

    With a thread per core instead, every parallel loop waits for the one whose core another program
    holds.
    """
    return max(1, round(cores * cores / (cores + others)))


def busy_threads(loadavg: Path = Path("/proc/loadavg")) -> int:
    """Return how many threads of other programs are running; 0 on systems that do not say.

    The lower one of two figures of the kernel: those that are runnable now, without this one, and
    their mean over the last minute. The first alone would count what runs for a moment, the
    second alone what has ended already.
    """
    try:
        last_minute, _, _, runnable, _ = loadavg.read_text().split()
        now = int(runnable.partition("/")[0]) - 1
        return max(0, min(now, round(float(last_minute))))
    except (OSError, ValueError):
        return 0
