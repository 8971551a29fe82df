"""Work in parts, which one process computes alone or several share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")
W = TypeVar("W")


class ShareOut(Protocol):
    """Computes every part of ``work`` in some process, and returns all results in order."""

    def __call__(self, work: Sequence[W], compute: Callable[[W], T]) -> list[T]:
        """Return ``compute`` of each part; results are picklable."""


def compute_all(work: Sequence[W], compute: Callable[[W], T]) -> list[T]:
    """Compute every part in this process: the share of one that is alone."""
    return [compute(part) for part in work]
