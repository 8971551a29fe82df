"""Decide on a cell by its probabilities. The first rule that applies counts:

- ``fill``: the best value's probability reaches the threshold that proves the target precision (see
  :mod:`serving.proof`), and another value, which is none of the candidates, is less probable.
- ``abstain``: the best value's probability is below 0.2, or the predicted distribution lies within
  0.05 nats of the property's value frequencies. There is too little evidence about this item, and a
  reviewer would be shown the base rate.
- ``review``: everything else.

The target precision and the probability from which on a person is asked may differ from cell to
cell (see :mod:`schema.decisions`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from scipy.special import rel_entr

from schema.arrays import FloatArray
from serving.calibration import TARGET_PRECISION
from serving.cells import Cell

MIN_PROBABILITY = 0.2
"""A best value below this probability counts as too little evidence."""
MIN_INFORMATION = 0.05
"""Nats by which a prediction must differ from the property's value frequencies (KL divergence)."""

Decision = Literal["fill", "review", "abstain"]


def fills(
    predicted: FloatArray,
    threshold: float | None,
    best: float | None = None,
    proving: float | None = None,
) -> bool:
    """Return whether a cell is filled; the arguments are those of :func:`decide`."""
    best = float(predicted.max()) if best is None else best
    proving = best if proving is None else proving
    another_value = 1 - float(predicted.sum())
    return threshold is not None and proving >= threshold and best > another_value


def decide(
    predicted: FloatArray,
    prior: FloatArray,
    threshold: float | None,
    best: float | None = None,
    proving: float | None = None,
    *,
    review_above: float = MIN_PROBABILITY,
) -> Decision:
    """Decide on ``predicted`` probabilities [V], whose sum falls short of 1 by another value's.

    ``prior`` [V] are the values' frequencies, and ``threshold`` is the probability that proves the
    target precision, if any does. ``best`` is the greatest probability of a value that may be
    offered, if not all may be, and ``proving`` is that value's probability by the scores that prove
    precision, if these are others. Below ``review_above`` it is not worth a review.
    """
    best = float(predicted.max()) if best is None else best
    total = float(predicted.sum())
    if fills(predicted, threshold, best, proving):
        return "fill"
    if best < review_above or total == 0:
        return "abstain"
    # KL divergence: the sum of p log(p / prior). It is 0 if the prediction is the base rate.
    information = float(rel_entr(predicted / total, prior).sum())
    return "abstain" if information < MIN_INFORMATION else "review"


@dataclass(frozen=True)
class CellLimits:
    """What a cell's decision takes: to be filled, and to be worth a review."""

    target_precision: float = TARGET_PRECISION
    review_above: float = MIN_PROBABILITY


LimitsOf = Callable[[Cell], CellLimits]
"""Returns the limits of a cell."""


def usual_limits(cell: Cell) -> CellLimits:
    """Return the limits of cells for which none are set."""
    return CellLimits()
