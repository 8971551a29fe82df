"""Estimates of numbers, with an interval that covers the true one as often as it says.

The values of a number or a quantity are classes like any others, but they have an order and
distances, and the most probable one is seldom the best guess: of 1000, 1100 and 1200 ml with
probabilities .4, .3 and .3 it is 1000 ml, while 1100 ml is nearer on average. The estimate is the
value v that minimises the expected relative error up to a cap, E[min(|v - y| / y, .25)]: an error
of more than a quarter is an error, whatever its size. Of the hidden quantities of a sample of 2,400
items, whose numbers hardly follow from anything, the median relative error is .14 instead of .19 of
the most probable class; it would be .22 with the distribution's median. Where numbers are not
positive the median is taken.

Intervals are conformalised quantiles (CQR; Romano, Patterson and Candès, 2019): the distribution's
quantiles q at 5% and 95%, widened by the 90% quantile of max(q_low - y, y - q_high) over held-out
cells, so that at least 90% of the intervals cover the true number y. On a logarithmic scale where
all numbers are positive. Their ends are rounded outwards to numbers that the catalogue has.

Shapes: N cells, V values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from schema.arrays import FloatArray
from schema.errors import ModelError
from schema.ontology import Ontology, PropertySpec
from serving.cells import predict

if TYPE_CHECKING:
    from serving.calibration import ScoredGroups

COVERAGE = 0.9
NUMBERS = ("integer", "decimal", "quantity")
CAP = 0.25
"""The relative error from which on all are alike."""
MOST_LIKELY = 200
"""The most probable numbers of a cell, among which the estimate is."""
MIN_CELLS = 30
"""Held-out cells of a property in a situation from which on it has an interval."""


@dataclass(frozen=True)
class Estimate:
    """An estimate of a cell's number, and the ends of an interval that covers it; all are values.

    The ends are None if no interval was proven.
    """

    value: str
    low: str | None = None
    high: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        interval = None if self.low is None else [self.low, self.high]
        return {"value": self.value, "interval": interval, "coverage": COVERAGE}


class NumberScale:
    """The values of a property in the order of their numbers; those that are none are left out.

    ``numbers`` [V'] rise, ``order`` [V'] are the values' positions.
    """

    def __init__(self, spec: PropertySpec) -> None:
        self.values = spec.values
        found = []
        for position, text in enumerate(spec.values):
            number = spec.parse(text) if spec.datatype in NUMBERS else None
            if isinstance(number, int | float) and math.isfinite(number):
                found.append((float(number), position))
        found.sort()
        numbers = np.array([number for number, _ in found])
        self._is_positive = bool(len(numbers) and numbers[0] > 0)
        self.order = np.array([position for _, position in found], np.int64)
        self.numbers = np.log(numbers) if self._is_positive else numbers

    def __bool__(self) -> bool:
        return len(self.order) > 1

    def quantiles(self, predicted: FloatArray, shares: tuple[float, ...]) -> FloatArray:
        """Return numbers [N, Q] below which are the ``shares`` of distributions [N, V]."""
        own = predicted[:, self.order]
        cumulated = own.cumsum(1) / np.maximum(own.sum(1, keepdims=True), 1e-12)
        places = [(cumulated < share - 1e-9).sum(1) for share in shares]
        return self.numbers[np.minimum(np.stack(places, 1), len(self.order) - 1)]

    def estimate(self, predicted: FloatArray, widening: float | None) -> Estimate:
        """Return the estimate of one cell by its distribution [V]."""
        low, high = self.quantiles(predicted[None], _SHARES)[0]
        best = self._best(predicted[self.order])
        value = self._value(best)
        if widening is None:
            return Estimate(value)
        # A negative widening narrows, and must not pass the estimate.
        lowest = min(low - widening, self.numbers[best])
        highest = max(high + widening, self.numbers[best])
        first = int(np.searchsorted(self.numbers, lowest + _NEAR, "right")) - 1
        last = int(np.searchsorted(self.numbers, highest - _NEAR, "left"))
        ends = max(first, 0), min(last, len(self.numbers) - 1)
        return Estimate(value, self._value(ends[0]), self._value(ends[1]))

    def _best(self, own: FloatArray) -> int:
        """Return the place of the estimate, by the probabilities [V'] of the numbers in order."""
        if not self._is_positive:
            cumulated = own.cumsum()
            return int(np.searchsorted(cumulated, cumulated[-1] / 2 - _NEAR))
        likely = np.sort(np.argsort(-own, kind="stable")[:MOST_LIKELY])
        errors = np.abs(np.expm1(self.numbers[likely][:, None] - self.numbers[likely]))
        expected = np.minimum(errors, CAP) @ own[likely]
        return int(likely[expected.argmin()])

    def _value(self, place: int) -> str:
        return self.values[self.order[place]]


_SHARES = ((1 - COVERAGE) / 2, (1 + COVERAGE) / 2)
_NEAR = 1e-9


def fit_intervals(
    groups: ScoredGroups, ontology: Ontology, temperature_of: Callable[[str, str], float]
) -> dict[str, dict[str, float]]:
    """Return by situation and property how far the quantiles of held-out cells are widened.

    ``temperature_of`` gives the temperature of a property in a situation.
    """
    widenings: dict[str, dict[str, float]] = {}
    scales = {name: NumberScale(ontology[name]) for name in {each.property for each in groups}}
    for group, cells in sorted(groups.items()):
        scale = scales[group.property]
        if not scale:
            continue
        temperature = temperature_of(group.situation, group.property)
        true = cells.true[:, scale.order]
        # With several true numbers it is not said which one is meant.
        usable = true.sum(1) == 1
        if usable.sum() < MIN_CELLS:
            continue
        predicted = predict(cells.logits[usable], cells.values, temperature).candidates
        numbers = scale.numbers[true[usable].argmax(1)]
        low, high = scale.quantiles(predicted, _SHARES).T
        misses = np.sort(np.maximum(low - numbers, numbers - high))
        rank = math.ceil(COVERAGE * (len(misses) + 1)) - 1
        widening = float(misses[min(rank, len(misses) - 1)])
        widenings.setdefault(group.situation, {})[group.property] = widening
    return widenings


class Estimator:
    """Estimates the numbers of a model's properties.

    Args:
        ontology: the properties and values that the model scores
        calibration: the content of ``calibration.json``, which may have intervals

    Raises ModelError if the intervals are damaged.
    """

    def __init__(self, ontology: Ontology, calibration: Mapping[str, Any] | None) -> None:
        self._scales = {
            name: scale
            for name, spec in ontology.properties.items()
            if spec.values and (scale := NumberScale(spec))
        }
        try:
            self._widenings = {
                (str(situation), str(name)): float(widening)
                for situation, own in (calibration or {}).get("intervals", {}).items()
                for name, widening in own.items()
            }
        except (AttributeError, TypeError, ValueError) as error:
            raise ModelError(
                f"the intervals in calibration.json are damaged ({str(error)[:100]}): "
                "restore the model folder from a copy, or train again"
            ) from None

    def estimate(self, property: str, situation: str, predicted: FloatArray) -> Estimate | None:
        """Estimate a cell by the distribution [V] over its values; None if they are no numbers."""
        scale = self._scales.get(property)
        if scale is None or not predicted[scale.order].any():
            return None
        return scale.estimate(predicted, self._widenings.get((situation, property)))
