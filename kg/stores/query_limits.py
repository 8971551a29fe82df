"""What a query may take: time, memory, and the size of its answer."""

from __future__ import annotations

import json
import math
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from kg.stores.answer import Rows
from kg.stores.failures import forget_frames
from schema.errors import QueryLimitError, QueryTimeoutError, UsageError

ResultT = TypeVar("ResultT")

DEFAULT_SECONDS = 30.0
LONGEST_SECONDS = 86_400.0
SPARE_SECONDS = 0.5
"""How long after the deadline work may notice it by itself."""
LEAST_MEMORY = 256_000_000
"""Bytes with which every query of docs/cypher.md still runs on a graph of a million statements."""

LARGEST_SIZE = 10**12

UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
SIZE = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[KMGT]?B|)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class QueryLimits:
    """Limits of a query besides its time: rows and bytes of its answer, and bytes of memory.

    The bytes of an answer are those of its rows as JSON. Memory is that of the process that answers
    the query, and so only limits the embedded stores: a server has its own settings.

    Raises UsageError if a limit is out of range.
    """

    rows: int = 100_000
    answer_bytes: int = 64_000_000
    memory_bytes: int = 2_000_000_000

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise UsageError(f"a limit of {self.rows} rows is not possible: give 1 or more")
        if self.answer_bytes < 1:
            raise UsageError(
                f"a limit of {self.answer_bytes} bytes for an answer is not possible: "
                "give 1 or more, such as 64MB"
            )
        if self.memory_bytes < LEAST_MEMORY:
            raise UsageError(
                f"a limit of {size_text(self.memory_bytes)} of memory is too low for a query: "
                f"give {size_text(LEAST_MEMORY)} or more"
            )


DEFAULT_LIMITS = QueryLimits()


@dataclass(frozen=True, slots=True)
class Deadline:
    """When a query has to end, by the monotonic clock; and its time limit in seconds."""

    at: float
    timeout: float

    @classmethod
    def after(cls, timeout: float) -> Deadline:
        """Return the moment so many seconds from now; raises UsageError if it is no time limit."""
        return cls(time.monotonic() + checked_timeout(timeout), timeout)

    def seconds_left(self) -> float:
        """Return the seconds that are left, or 0."""
        return max(self.at - time.monotonic(), 0.0)

    def check(self) -> None:
        """Raise QueryTimeoutError if it is past."""
        if not self.seconds_left():
            raise self.error()

    def run(self, work: Callable[[], ResultT]) -> ResultT:
        """Run ``work`` in a thread, and do not wait for it much longer than to the deadline.

        Work that checks the deadline itself ends in time, unless it waits for a server that sends
        nothing any more. Its thread then goes on waiting, but nobody waits for that.
        """
        outcomes: SimpleQueue[ResultT | BaseException] = SimpleQueue()

        def put_outcome() -> None:
            try:
                outcomes.put(work())
            except BaseException as error:
                forget_frames(error)
                outcomes.put(error)

        threading.Thread(target=put_outcome, daemon=True).start()
        try:
            outcome = outcomes.get(timeout=self.seconds_left() + SPARE_SECONDS)
        except Empty:
            raise self.error() from None
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def error(self) -> QueryTimeoutError:
        """Return the error of a query that ran past it."""
        return QueryTimeoutError(
            f"the query ran past its limit of {self.timeout:g} s: "
            "narrow it, or give it more time (--timeout)"
        )


class AnswerSize:
    """How much of an answer has been read so far; raises QueryLimitError if it is too much."""

    def __init__(self, limits: QueryLimits) -> None:
        self._limits = limits
        self._rows = 0
        self._bytes = 0

    def add_rows(self, number: int) -> None:
        """Count rows."""
        self._rows += number
        if self._rows > self._limits.rows:
            raise QueryLimitError(
                f"the answer has more than {self._limits.rows:,} rows: "
                "add LIMIT to the query, or raise the limit (--max-rows)"
            )

    def add_bytes(self, number: int) -> None:
        """Count bytes of JSON, before they are read if that is possible."""
        self._bytes += number
        if self._bytes > self._limits.answer_bytes:
            raise QueryLimitError(
                f"the answer is larger than {size_text(self._limits.answer_bytes)}: "
                "return less, or raise the limit (--max-answer)"
            )


def within_limits(rows: Rows, deadline: Deadline, limits: QueryLimits) -> Iterator[list[Any]]:
    """Yield the rows of an answer as they are read, as long as they keep to the limits."""
    size = AnswerSize(limits)
    try:
        for row in rows:
            deadline.check()
            size.add_rows(1)
            size.add_bytes(len(json.dumps(row, default=str)))
            yield row
        deadline.check()
    finally:
        rows.close()


def checked_timeout(seconds: float) -> float:
    """Return a time limit in seconds; raises UsageError if it is none."""
    if not (math.isfinite(seconds) and 0 < seconds <= LONGEST_SECONDS):
        raise UsageError(
            f"a time limit of {seconds:g} s is not possible: "
            f"give more than 0 and at most {LONGEST_SECONDS:,.0f} s (a day)"
        )
    return seconds


def unusable_parameters(error: Exception) -> UsageError:
    """Return the error for parameters of a query that cannot be sent to what answers it."""
    return UsageError(
        f"the parameters of the query cannot be used ({str(error)[:100]}): "
        "give texts, numbers, truth values, None, and lists and dictionaries of them"
    )


def parse_size(text: str) -> int:
    """Return the bytes that a text like ``64MB`` or ``2 GB`` means; raises UsageError if none."""
    match = SIZE.fullmatch(text.strip())
    if match is None:
        raise UsageError(
            f"{text[:40]!r} is no size: write a number with KB, MB or GB, such as 512MB"
        )
    size = float(match["number"]) * UNITS[match["unit"].upper()]
    if size > LARGEST_SIZE:
        raise UsageError(
            f"a size of {text[:40]} is not possible: give at most {size_text(LARGEST_SIZE)}"
        )
    return round(size)


def size_text(size: int) -> str:
    """Return a number of bytes as text, such as ``2 GB``."""
    for unit in ("TB", "GB", "MB", "KB"):
        if size >= UNITS[unit]:
            return f"{size / UNITS[unit]:g} {unit}"
    return f"{size} B"
