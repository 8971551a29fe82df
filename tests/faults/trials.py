"""What a trial of `make faults` gets, and what it returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Outcome:
    """What became of a trial.

    Attributes:
        figures: numbers by what they count
        bad: the tries that did what must not happen, each with what brings it about again
        skipped: why the trial could not be made on this machine; empty if it was made
    """

    figures: dict[str, Any] = field(default_factory=dict)
    bad: list[str] = field(default_factory=list)
    skipped: str = ""

    def count(self, what: str) -> None:
        """Add one to a figure."""
        self.figures[what] = self.figures.get(what, 0) + 1


@dataclass(frozen=True)
class Plan:
    """How a trial is made: how many tries, from which seed, in which empty folder.

    ``progress`` is called with the number of tries done; ``items`` is how many a table has that the
    commands read.
    """

    count: int
    seed: int
    folder: Path
    progress: Callable[[int], None] = lambda done: None
    items: int = 400


@dataclass(frozen=True)
class Trial:
    """A kind of fault: its name, what is tried, how often, and the function that tries it."""

    name: str
    tries: str
    count: int
    run: Callable[[Plan], Outcome]
