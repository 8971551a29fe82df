"""Writing files in the background, while training goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable


class BackgroundWriter:
    """Runs one function that writes files at a time, in a thread.

    An error is raised by the next call of :meth:`start` or :meth:`finish`, which still does its
    work.
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

    def start(self, write: Callable[[], None]) -> None:
        """Wait until the function before has ended, and begin to run ``write``."""
        self.wait()
        error = self._taken_error()

        def run() -> None:
            try:
                write()
            except Exception as failed:
                self._error = failed

        self._thread = threading.Thread(target=run, name="checkpoint")
        self._thread.start()
        if error is not None:
            raise error

    def wait(self) -> None:
        """Wait until the last function has ended; its error, if it failed, is raised later."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def finish(self) -> None:
        """Wait until the last function has ended; raises its error, if it failed."""
        self.wait()
        error = self._taken_error()
        if error is not None:
            raise error

    def _taken_error(self) -> Exception | None:
        error = self._error
        self._error = None
        return error
