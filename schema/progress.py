"""The type of progress callbacks, in one place."""

from __future__ import annotations

from collections.abc import Callable

ProgressCallback = Callable[[int, int], None]
"""Called as ``progress(done, total)`` while long work goes on."""


def no_progress(done: int, total: int) -> None:
    """A progress callback that does nothing."""
