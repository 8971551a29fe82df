"""The callbacks through which long-running work reports its progress."""

from __future__ import annotations

import time
from collections.abc import Callable

ProgressCallback = Callable[[int, int], None]
"""Called as ``progress(done, total)``, repeatedly, while the work goes on."""


def no_progress(done: int, total: int) -> None:
    """Ignore the progress: the default of functions that take a progress callback."""


def at_intervals(progress: ProgressCallback, seconds: float) -> ProgressCallback:
    """Return a callback that passes on to ``progress`` at most once in so many ``seconds``.

    That the work is done is always passed on.
    """
    last = 0.0

    def pass_on(done: int, total: int) -> None:
        nonlocal last
        moment = time.monotonic()
        if moment - last >= seconds or done == total:
            last = moment
            progress(done, total)

    return pass_on
