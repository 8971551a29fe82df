"""Numbers as features by which near ones are alike: 1125 ml is like 1100 ml, and little like 330.

A number becomes Gaussian weights of length 1 on the points of a grid. The product of two numbers'
weights is nearly exp(-d² / (2 w²)), where d is their distance in standard deviations of the
property, on a logarithmic scale where its numbers are positive and skewed, and w the width.

Shapes: G points of a grid.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from fusion.inference.featurizer import PropertyValue
from schema.arrays import FloatArray, IntArray
from schema.ontology import Ontology, PropertySpec

NUMBERS = ("integer", "decimal", "quantity", "date")
MIN_DISTINCT = 3
"""Different numbers from which on a property has distances."""
FARTHEST = 3.0
"""Standard deviations from the median beyond which all numbers are the same."""
SKEWED = 0.1
"""Standard deviations between mean and median from which on logarithms are taken."""
_LEAST_WEIGHT = 1e-3


@dataclass(frozen=True)
class NumberScale:
    """How a property's numbers are scaled: (x - ``centre``) / ``spread``, of logarithms or not.

    Raises ValueError if the spread is not positive or one of them is not finite.
    """

    is_logarithmic: bool
    centre: float
    spread: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.centre) and math.isfinite(self.spread) and self.spread > 0):
            raise ValueError(f"no scale has the centre {self.centre} and the spread {self.spread}")

    @classmethod
    def of(cls, numbers: Sequence[float]) -> NumberScale | None:
        """Return the scale of a property's numbers; None if too few of them differ."""
        found = np.array(numbers, np.float64)
        if len(np.unique(found)) < MIN_DISTINCT:
            return None
        with np.errstate(over="ignore", invalid="ignore"):
            lean = found.mean() - np.median(found)
            is_logarithmic = bool(found.min() > 0 and lean > SKEWED * found.std())
            if is_logarithmic:
                found = np.log(found)
            spread = float(found.std())
        if not (math.isfinite(spread) and spread > 0):
            # Numbers near the largest that there are have no distances.
            return None
        return cls(is_logarithmic, float(np.median(found)), spread)

    def scaled(self, number: float) -> float | None:
        """Return a number in standard deviations from the median; None if it has no logarithm."""
        if self.is_logarithmic:
            if number <= 0:
                return None
            number = math.log(number)
        return min(max((number - self.centre) / self.spread, -FARTHEST), FARTHEST)


@dataclass(frozen=True)
class Grid:
    """A grid of G ``points``; ``deviation`` is that of the weights around a number."""

    points: FloatArray
    deviation: float

    @classmethod
    def of_width(cls, width: float) -> Grid:
        """Return the grid by which two numbers at this distance are alike by exp(-1 / 2)."""
        deviation = width / math.sqrt(2)
        # With points a deviation apart, the product hardly depends on where the numbers lie.
        last = math.ceil(FARTHEST / deviation) + 2
        return cls(np.arange(-last, last + 1, dtype=np.float64) * deviation, deviation)

    def weights(self, scaled: float) -> tuple[IntArray, FloatArray]:
        """Return the points near a scaled number, and their weights, of length 1 together."""
        weights = np.exp(-np.square((self.points - scaled) / self.deviation) / 2)
        places = np.flatnonzero(weights >= _LEAST_WEIGHT)
        near = weights[places]
        return places, near / np.linalg.norm(near)


def learn_scales(
    ontology: Ontology, known: Iterable[Iterable[PropertyValue]]
) -> dict[str, NumberScale]:
    """Return the scales of the learned properties with numbers, by the statements of items."""
    learned = set(ontology.learned())
    numbers: dict[str, list[float]] = defaultdict(list)
    read: dict[PropertyValue, float | None] = {}
    for name, text in itertools.chain.from_iterable(known):
        if name not in learned:
            continue
        if (name, text) not in read:
            read[name, text] = number_of(ontology[name], text)
        number = read[name, text]
        if number is not None:
            numbers[name].append(number)
    scales = {name: NumberScale.of(numbers[name]) for name in sorted(numbers)}
    return {name: scale for name, scale in scales.items() if scale is not None}


def number_of(spec: PropertySpec, text: str) -> float | None:
    """Return the number that a text stands for, of a date its day; None if it is none."""
    if spec.datatype not in NUMBERS:
        return None
    value = spec.parse(text)
    if isinstance(value, date):
        return float(value.toordinal())
    if isinstance(value, int | float) and math.isfinite(value):
        return float(value)
    return None
