"""What could be filled at other target precisions than the one that was asked for."""

from __future__ import annotations

from collections import Counter
from typing import Any

from serving.proof import TARGETS, flawless_cells, flawless_cells_of_property
from serving.results import Completion

LITTLE = 0.05
"""A share of filled cells below this is little."""
SHOWN_TARGETS = (0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999)


class ProvableTargets:
    """Counts completions by the highest precision that is proven for them.

    ``target`` is the precision that was asked for, ``calibrated_on`` the number of cells that the
    proofs come from.
    """

    def __init__(self, target: float, calibrated_on: int) -> None:
        self.target = target
        self.calibrated_on = calibrated_on
        self._proven: Counter[float | None] = Counter()
        self._filled = 0

    def add(self, completion: Completion) -> None:
        """Count a completion."""
        self._proven[completion.proven] += 1
        self._filled += completion.decision == "fill"

    def cells(self, target: float) -> int:
        """Return for how many cells this precision is proven."""
        counts = self._proven.items()
        return sum(count for proven, count in counts if proven is not None and proven >= target)

    @property
    def is_little(self) -> bool:
        """Whether hardly any cell, or none, is filled."""
        return self._filled < LITTLE * self._proven.total()

    def best(self) -> float | None:
        """Return the highest target below the one asked for at which more than little is filled."""
        enough = LITTLE * self._proven.total()
        provable = [each for each in TARGETS if each < self.target and self.cells(each) >= enough]
        return max(provable, default=None) if self._proven else None

    def as_dict(self) -> dict[str, Any]:
        """Return plain data: the best target, what the asked one needs, and some others."""
        best = self.best()
        return {
            "target_precision": self.target,
            "best": None if best is None else self._entry(best),
            "calibrated_on": self.calibrated_on,
            "needed": self._needed(),
            "targets": [self._entry(target) for target in SHOWN_TARGETS],
        }

    def explanation(self) -> str:
        """Return why little is filled, in one line."""
        if not self.calibrated_on:
            return "no precision is proven: the model was calibrated on no cells; train it again"
        best = self.best()
        if best is None:
            line = (
                f"nothing is proven for {1 - LITTLE:.0%} of the cells at any lower target, either"
            )
        else:
            line = f"best provable target: {best:g} with {self._share(best):.0%} of the cells"
        needed = self._needed()
        if needed is None:
            return line
        return (
            f"{line}; {self.target:g} needs {needed['together']:,} known cells without a mistake, "
            f"{needed['of_property']:,} of them of the property, in the same situation "
            f"(the model was calibrated on {self.calibrated_on:,} cells of all situations)"
        )

    def _needed(self) -> dict[str, int] | None:
        # Not even infinitely many cells prove a precision of 1.
        if self.target >= 1:
            return None
        return {
            "together": flawless_cells(self.target),
            "of_property": flawless_cells_of_property(self.target),
        }

    def _share(self, target: float) -> float:
        return self.cells(target) / self._proven.total() if self._proven else 0.0

    def _entry(self, target: float) -> dict[str, Any]:
        return {
            "target_precision": target,
            "cells": self.cells(target),
            "share": round(self._share(target), 4),
        }
