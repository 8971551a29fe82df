"""The type of the callbacks through which long-running work reports its progress."""

from __future__ import annotations

from collections.abc import Callable

ProgressCallback = Callable[[int, int], None]
"""Called as ``progress(done, total)``, repeatedly, while the work goes on."""


def no_progress(done: int, total: int) -> None:
    """Ignore the progress: the default of functions that take a progress callback."""
