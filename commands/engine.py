"""The options of commands that work on this machine or on a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any

import click

from schema.errors import UsageError


class Engine(StrEnum):
    """Where a command does its work."""

    LOCAL = "local"
    RAY = "ray"


def engine_options(workers: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command ``engine`` and ``workers``; the text says what the workers are."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in (
            click.option("--workers", metavar="N", type=click.IntRange(1, 100_000), help=workers),
            click.option(
                "--engine",
                type=click.Choice([each.value for each in Engine]),
                default=Engine.LOCAL.value,
                show_default=True,
                envvar="CATALOGRAPH_ENGINE",
                show_envvar=True,
                help="Work in this process, or on a Ray cluster: the one that $RAY_ADDRESS names, "
                "or else one that is started on this machine for the run; see docs/scale.md.",
            ),
        ):
            # Each is put before those that are there already.
            function = option(function)
        return function

    return add


def check_workers(engine: str, workers: int | None) -> None:
    """Raise UsageError if workers are given to the engine that has none."""
    if workers is not None and engine != Engine.RAY:
        raise UsageError(f"--workers {workers} is about --engine ray: add it, or leave this out")
