"""Processes that answer users' queries on one graph, kept from one query to the next.

A query to a process that is there already costs about a millisecond more than in this process.
"""

from __future__ import annotations

import json
import threading
import weakref
from typing import Any

from kg.stores.protocol import QueryResult
from kg.stores.query_child import Kind, frame
from kg.stores.query_limits import Deadline, QueryLimits, size_text, unusable_parameters
from kg.stores.query_process import GraphSource, QueryProcess
from schema.errors import QueryTimeoutError, UsageError

MOST_PROCESSES = 4
"""Queries on one graph that run at the same time; others wait for one of them to end."""
MOST_REQUEST_BYTES = 64_000_000


class QueryPool:
    """The processes that answer queries on one graph; they start when they are needed."""

    def __init__(self, source: GraphSource) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._free_places = threading.Semaphore(MOST_PROCESSES)
        self._idle: list[QueryProcess] = []
        self._is_closed = False
        # A store that is never closed must not leave processes behind.
        weakref.finalize(self, _end_all, self._idle)

    def answer(
        self, text: str, params: dict[str, Any], timeout: float, limits: QueryLimits
    ) -> QueryResult:
        """Answer a query that a guard let pass; ``timeout`` in seconds.

        Raises QueryTimeoutError and QueryLimitError, UsageError if the limits or the parameters
        cannot be used, and StoreError if the query fails.
        """
        deadline = Deadline.after(timeout)
        request = _request(text, params, timeout)
        if not self._free_places.acquire(timeout=timeout):
            raise QueryTimeoutError(
                f"{MOST_PROCESSES} other queries kept the store busy for {timeout:g} s: "
                "try again, or give the query more time"
            )
        try:
            process = self._idle_process(limits.memory_bytes)
            if process is None:
                process = QueryProcess(self._source, limits.memory_bytes)
                # The limit is the query's, and the start is not a part of it.
                deadline = Deadline.after(timeout)
            try:
                return process.answer(request, deadline, limits)
            finally:
                self._keep(process)
        finally:
            self._free_places.release()

    def close(self) -> None:
        """End the processes, those that answer a query as soon as they have."""
        with self._lock:
            self._is_closed = True
            _end_all(self._idle)

    def _idle_process(self, memory_bytes: int) -> QueryProcess | None:
        """Return a process that shows the graph as it is now, and end those that do not."""
        state = self._source.state()
        with self._lock:
            while self._idle:
                process = self._idle.pop()
                if process.can_answer(state, memory_bytes):
                    return process
                process.end()
        return None

    def _keep(self, process: QueryProcess) -> None:
        is_reusable = process.is_reusable()
        with self._lock:
            if is_reusable and not self._is_closed:
                self._idle.append(process)
                return
        process.end()


def _request(text: str, params: dict[str, Any], timeout: float) -> bytes:
    """Return a query as a frame; raises UsageError if JSON cannot hold its parameters."""
    request = {"text": text, "params": params, "seconds": timeout}
    try:
        data = json.dumps(request).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise unusable_parameters(error) from None
    if len(data) > MOST_REQUEST_BYTES:
        raise UsageError(
            f"the query and its parameters have {size_text(len(data))}, more than "
            f"{size_text(MOST_REQUEST_BYTES)}: give fewer values at a time"
        )
    return frame(Kind.REQUEST, data)


def _end_all(processes: list[QueryProcess]) -> None:
    while processes:
        processes.pop().end()
