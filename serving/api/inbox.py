"""Work that waits for a thread of its own, which does it in order until the server stops."""

from __future__ import annotations

import queue
import threading
from typing import Generic, TypeVar

from schema.errors import StoreUnavailableError

W = TypeVar("W")


class Inbox(Generic[W]):
    """What waits for one thread; beyond a limit, and once it is closed, more is refused.

    Args:
        limit: how much may wait
        named: what waits, as an error names it: "changes wait"
    """

    def __init__(self, limit: int, named: str) -> None:
        self._limit = limit
        self._named = named
        self._queue: queue.Queue[W | None] = queue.Queue(limit)
        self._lock = threading.Lock()
        self._is_closed = False

    def put(self, work: W) -> None:
        """Let work wait. Raises StoreUnavailableError if too much does, or the server stops."""
        # Nothing may come in behind the end: nobody would do it, and whoever asked would wait.
        with self._lock:
            if self._is_closed:
                raise StoreUnavailableError("the server stops: try again later")
            try:
                self._queue.put_nowait(work)
            except queue.Full:
                raise StoreUnavailableError(
                    f"{self._limit} {self._named} already: try again later"
                ) from None

    def close(self) -> None:
        """Refuse more; the thread gets None after what waits."""
        with self._lock:
            self._is_closed = True
            self._queue.put(None)

    def take(self, limit: int, timeout: float | None = None) -> list[W | None]:
        """Wait for work and return all that waits, ``limit`` at most, with None at the end.

        Nothing is returned if none comes in ``timeout`` seconds.
        """
        found: list[W | None] = []
        try:
            found.append(self._queue.get(timeout=timeout))
            while len(found) < limit and found[-1] is not None:
                found.append(self._queue.get_nowait())
        except queue.Empty:
            pass
        return found
