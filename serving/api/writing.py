"""What the server changes, one thing after another, in a thread of its own.

A graph has one writer at a time, and what it writes is seen by readers once it is published, which
costs more than a decision. So all changes that wait are made together, then published, and only
then acknowledged: whoever has an answer finds the change in every later one. In between the graph
is free for commands. Variants and the ontology follow decisions a second after the last one,
because that reads the whole catalogue. If the server is killed before, the next deletion or ingest
does it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

from kg.home import Home
from kg.source_order import bring_up_to_date
from schema.errors import (
    ProposalConflictError,
    StoreLockedError,
    UsageError,
)
from serving.api.inbox import Inbox
from serving.api.problems import ProblemError
from serving.review.session import Review, ReviewReport, open_review

T = TypeVar("T")

LOCKED_SECONDS = 5.0
"""How long a graph that is in use is waited for."""
RETRY_SECONDS = 0.02
"""How long until it is tried again."""
FOLLOW_SECONDS = 1.0
"""Variants and the ontology follow so long after the last decision."""
MAX_FOLLOW_SECONDS = 30.0
"""They follow after so long even if more decisions come in."""
TOGETHER = 200
"""Changes that are made before they are published, at most."""
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


@dataclass(frozen=True)
class _Failure:
    """A change that could not be made."""

    error: BaseException


class Writer:
    """Makes changes of a home, in the order in which they are asked for."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._inbox: Inbox[_Work] = Inbox(WAITING, "changes wait")
        self._stack = ExitStack()
        self._review: Review | None = None
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
        self._inbox.put(work)
        return work.done.result()

    def close(self) -> None:
        """Make the changes that wait, and refuse others."""
        self._inbox.close()
        self._thread.join()

    def _run(self) -> None:
        is_ending = False
        while not is_ending:
            waiting = self._inbox.take(TOGETHER, self._patience())
            works = [each for each in waiting if each is not None]
            is_ending = len(works) < len(waiting)
            done = [(work, self._outcome(work)) for work in works]
            self._publish()
            for work, outcome in done:
                if isinstance(outcome, _Failure):
                    work.done.set_exception(outcome.error)
                else:
                    work.done.set_result(outcome)
            decisions = self._unfollowed
            if decisions is not None and (is_ending or time.monotonic() >= decisions.due):
                self._follow(decisions)

    def _patience(self) -> float | None:
        """Return how many seconds changes are waited for; None for ever."""
        if self._unfollowed is None:
            return None
        return max(0.0, self._unfollowed.due - time.monotonic())

    def _outcome(self, work: _Work) -> Any:
        """Make a change, and return what it returns, or its failure."""
        try:
            if work.needs_review:
                return work.function(self._opened_review())
            self._publish()
            return self._unlocked(lambda: work.function(self._home))
        except (ProblemError, UsageError, ProposalConflictError) as error:
            return _Failure(error)
        except BaseException as error:
            # Whatever it was, the review is opened anew: that finishes what was cut off.
            self._publish()
            return _Failure(error)

    def _opened_review(self) -> Review:
        if self._review is None:
            self._review = self._unlocked(
                lambda: self._stack.enter_context(open_review(self._home))
            )
            self._review.expire()
        return self._review

    def _unlocked(self, function: Callable[[], T]) -> T:
        """Call a function that opens the graph, again while somebody else has it open.

        That may be a reader of this process, which brings the graph up to date after a crash.
        """
        deadline = time.monotonic() + LOCKED_SECONDS
        while True:
            try:
                return function()
            except StoreLockedError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(RETRY_SECONDS)

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
        self._publish()

    def _publish(self) -> None:
        """Close the review, which publishes the graph."""
        self._review = None
        try:
            self._stack.close()
        except Exception:
            # The journal has all that was acknowledged; the next reader makes the graph of it.
            _logger.exception("the graph was not published")
        finally:
            self._stack = ExitStack()
