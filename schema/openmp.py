"""How OpenMP's threads share the processor with other programs.

PyTorch's threads wait for each other at the end of every parallel loop, thousands of times a step.
By default a waiting thread spins for milliseconds. That is fast on an idle machine; but while
another program holds a core, each spinning thread keeps the very thread that it waits for from
running, and training all but stops. Threads that sleep at once are kind to others but slow alone,
since waking them takes longer than most loops do. A short, bounded spin serves both:
docs/results.md has the measurements.
"""

from __future__ import annotations

import os

SPIN_COUNT = 10_000
"""Iterations that a thread spins before it sleeps."""
_USER_SETTINGS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


def limit_spinning() -> None:
    """Bound how long OpenMP's threads spin, unless the user has set that.

    It must be called before PyTorch is loaded: GNU's OpenMP reads its settings once, then.
    """
    if not any(name in os.environ for name in _USER_SETTINGS):
        os.environ["GOMP_SPINCOUNT"] = str(SPIN_COUNT)
