"""The options that limit a query."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from kg.stores.query_limits import (
    DEFAULT_LIMITS,
    DEFAULT_SECONDS,
    QueryLimits,
    checked_timeout,
    parse_size,
    size_text,
)


def limit_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command options whose values it gets as ``timeout``, in seconds, and ``limits``."""

    @functools.wraps(function)
    def command(
        *args: Any, timeout: float, max_rows: int, max_answer: str, max_memory: str, **options: Any
    ) -> Any:
        limits = QueryLimits(max_rows, parse_size(max_answer), parse_size(max_memory))
        return function(*args, timeout=checked_timeout(timeout), limits=limits, **options)

    for option in (
        click.option(
            "--max-memory",
            metavar="SIZE",
            default=size_text(DEFAULT_LIMITS.memory_bytes),
            show_default=True,
            help="Stop the query if it needs more memory (embedded stores only).",
        ),
        click.option(
            "--max-answer",
            metavar="SIZE",
            default=size_text(DEFAULT_LIMITS.answer_bytes),
            show_default=True,
            help="Stop the query if its answer is larger, as JSON.",
        ),
        click.option(
            "--max-rows",
            metavar="N",
            type=int,
            default=DEFAULT_LIMITS.rows,
            show_default=True,
            help="Stop the query if its answer has more rows.",
        ),
        click.option(
            "--timeout",
            metavar="SECONDS",
            type=float,
            default=DEFAULT_SECONDS,
            show_default=True,
            help="Stop the query after this many seconds.",
        ),
    ):
        # Each is put before those that are there already.
        command = option(command)
    return command
