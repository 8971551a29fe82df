"""What the server changes, one thing after another, in a thread of its own.

A graph has one writer at a time. The thread keeps the review open while more comes in, since
opening and publishing cost more than a decision, and releases the graph soon after, so that
commands can write as well. Variants and the ontology follow decisions a second after the last one, because
that reads the whole catalogue. If the server is killed before, the next deletion or ingest does it.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

from kg.home import Home
from kg.source_order import bring_up_to_date
from schema.errors import StoreUnavailableError
from serving.review.session import Review, ReviewReport, open_review

T = TypeVar("T")

IDLE_SECONDS = 0.05
"""The review is closed if nothing comes in for so long."""
HELD_SECONDS = 1.0
"""After so long it is closed for a moment, so that others can write."""
FOLLOW_SECONDS = 1.0
"""Variants and the ontology follow so long after the last decision."""
MAX_FOLLOW_SECONDS = 30.0
"""They follow after so long even if more decisions come in."""
WAITING = 500
"""Changes that may wait; more are refused."""
_logger = logging.getLogger("catalograph.api")


@dataclass(frozen=True)
class _Work:
    """A change to make: of the review, or one that opens the graph itself."""

    function: Callable[..., Any]
    needs_review: bool
    done: Future[Any]


@dataclass(frozen=True)
class _Unfollowed:
    """Decisions that variants and the ontology have not followed yet.

    Attributes:
        run: the last of their runs
        first, last: when they were taken
    """

    run: str
    first: float
    last: float

    @property
    def due(self) -> float:
        """When they are to be followed."""
        return min(self.last + FOLLOW_SECONDS, self.first + MAX_FOLLOW_SECONDS)


class Writer:
    """Makes changes of a home, in the order in which they are asked for."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._queue: queue.Queue[_Work | None] = queue.Queue(WAITING)
        self._is_closed = False
        self._stack = ExitStack()
        self._review: Review | None = None
        self._opened = 0.0
        self._unfollowed: _Unfollowed | None = None
        self._thread = threading.Thread(target=self._run, name="catalograph-writer", daemon=True)
        self._thread.start()

    def decide(self, function: Callable[[Review], ReviewReport]) -> ReviewReport:
        """Take a decision with the review of the home, and return its report.

        It is safe on disk when this returns. Raises what the function raises, and
        StoreUnavailableError if too much waits already.
        """

        def noting(review: Review) -> ReviewReport:
            report = function(review)
            if report.changed:
                now = time.monotonic()
                first = now if self._unfollowed is None else self._unfollowed.first
                self._unfollowed = _Unfollowed(report.run, first, now)
            return report

        return self._call(noting, needs_review=True)

    def change(self, function: Callable[[Home], T]) -> T:
        """Call a function that opens the graph of the home itself, while nothing else does."""
        return self._call(function, needs_review=False)

    def _call(self, function: Callable[..., T], *, needs_review: bool) -> T:
        work = _Work(function, needs_review, Future())
        try:
            if self._is_closed:
                raise queue.Full
            self._queue.put_nowait(work)
        except queue.Full:
            raise StoreUnavailableError(
                f"{WAITING} changes wait already, or the server stops: try again later"
            ) from None
        return work.done.result()

    def close(self) -> None:
        """Make the changes that wait, and refuse others."""
        self._is_closed = True
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                work = self._queue.get(timeout=self._patience())
            except queue.Empty:
                if self._unfollowed is not None and time.monotonic() >= self._unfollowed.due:
                    self._follow(self._unfollowed)
                self._release()
                continue
            if work is None:
                if self._unfollowed is not None:
                    self._follow(self._unfollowed)
                self._release()
                return
            self._do(work)
            if time.monotonic() - self._opened > HELD_SECONDS:
                self._release()

    def _patience(self) -> float | None:
        """Return how many seconds the next change is waited for; None for ever."""
        if self._review is not None:
            return IDLE_SECONDS
        if self._unfollowed is not None:
            return max(0.0, self._unfollowed.due - time.monotonic())
        return None

    def _do(self, work: _Work) -> None:
        try:
            if work.needs_review:
                result = work.function(self._opened_review())
            else:
                self._release()
                result = work.function(self._home)
        except BaseException as error:
            # Whatever it was, the review is opened anew: that finishes what was cut off.
            self._release()
            work.done.set_exception(error)
        else:
            work.done.set_result(result)

    def _opened_review(self) -> Review:
        if self._review is None:
            self._review = self._stack.enter_context(open_review(self._home))
            self._review.expire()
            self._opened = time.monotonic()
        return self._review

    def _follow(self, decisions: _Unfollowed) -> None:
        """Let variants and the ontology follow decisions, and let proposals expire by that."""
        self._unfollowed = None
        try:
            review = self._opened_review()
            bring_up_to_date(self._home, review.store, decisions.run)
            review.expire(decisions.run)
        except Exception:
            # The decisions stand; `finish_changes` does this with the next deletion or ingest.
            _logger.exception("variants and the ontology could not follow run %s", decisions.run)

    def _release(self) -> None:
        self._review = None
        try:
            self._stack.close()
        except Exception:
            # The journal has all that was acknowledged; the next reader makes the graph of it.
            _logger.exception("the graph was not published")
        finally:
            self._stack = ExitStack()
