"""Numbers that would be usual in another unit, or with the point elsewhere.

The logarithms of a property's numbers, in the items of one category, are compared with a Student
distribution of three degrees of freedom around their median. Of a number x, a slip by the factor f
is as probable as x / f is usual: the share ``SLIPS`` of numbers is taken to be one.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from kg.snapshot import GraphSnapshot
from schema.ontology import Ontology, PropertySpec
from serving.audit.findings import Finding, Kind, Proposed
from serving.estimates import NUMBERS

SLIPS = 0.005
LEAST_NUMBERS = 8
"""Numbers of a category from which on they tell what is usual; otherwise those of all items do."""
_LEAST_SPREAD = 0.1
"""Of logarithms: numbers that are all alike may differ by a tenth."""
_DEGREES = 3
_DENSITY = 6 * math.sqrt(3) / math.pi
"""The numerator of the density of Student's distribution with three degrees of freedom."""
FACTORS = {
    10.0: "10 times too much",
    100.0: "100 times too much",
    1000.0: "1,000 times too much",
    0.1: "10 times too little",
    0.01: "100 times too little",
    0.001: "1,000 times too little",
    2.54: "centimetres for inches",
    1 / 2.54: "inches for centimetres",
    25.4: "millimetres for inches",
    1 / 25.4: "inches for millimetres",
    30.48: "centimetres for feet",
    1 / 30.48: "feet for centimetres",
    28.3495: "grams for ounces",
    1 / 28.3495: "ounces for grams",
    0.453592: "kilograms for pounds",
    1 / 0.453592: "pounds for kilograms",
    453.592: "grams for pounds",
    1 / 453.592: "pounds for grams",
}


@dataclass(frozen=True)
class _Usual:
    """The median and the spread of logarithms."""

    median: float
    spread: float

    @classmethod
    def of(cls, logarithms: Sequence[float]) -> _Usual:
        median = float(np.median(logarithms))
        deviation = float(np.median(np.abs(np.array(logarithms) - median)))
        return cls(median, max(1.4826 * deviation, _LEAST_SPREAD))

    def density(self, logarithm: float) -> float:
        # Written out, since scipy's takes a hundred times as long for one number.
        square = ((logarithm - self.median) / self.spread) ** 2
        return _DENSITY / (_DEGREES + square) ** 2


def unit_slips(
    snapshot: GraphSnapshot,
    ontology: Ontology,
    indexes: Sequence[int],
    is_asked: Callable[[str], bool],
) -> Iterator[Finding]:
    """Yield numbers that are probably slips, of some items and properties.

    What is usual is taken from all items.
    """
    specs = {
        name: spec
        for name, spec in ontology.properties.items()
        if spec.datatype in NUMBERS and is_asked(name)
    }
    if not specs:
        return
    by_category: dict[tuple[str, str | None], list[float]] = defaultdict(list)
    numbers: dict[str, list[float]] = defaultdict(list)
    for index in range(len(snapshot.items)):
        for name, _, number in _numbers(snapshot, specs, index):
            by_category[name, snapshot.categories[index]].append(math.log(number))
            numbers[name].append(math.log(number))
    of_all = {name: _Usual.of(own) for name, own in numbers.items() if len(own) >= LEAST_NUMBERS}
    usual = {key: _Usual.of(own) for key, own in by_category.items() if len(own) >= LEAST_NUMBERS}
    for index in indexes:
        for name, text, number in _numbers(snapshot, specs, index):
            own = usual.get((name, snapshot.categories[index]), of_all.get(name))
            if own is not None:
                finding = _slip(snapshot.items[index], specs[name], text, number, own)
                if finding is not None:
                    yield finding


def _numbers(
    snapshot: GraphSnapshot, specs: dict[str, PropertySpec], index: int
) -> Iterator[tuple[str, str, float]]:
    """Yield an item's positive numbers, with their properties and texts."""
    for name, text in snapshot.statements_of(index):
        spec = specs.get(name)
        number = None if spec is None else spec.parse(text)
        if isinstance(number, int | float) and number > 0 and math.isfinite(number):
            yield name, text, float(number)


def _slip(item: str, spec: PropertySpec, text: str, number: float, usual: _Usual) -> Finding | None:
    logarithm = math.log(number)
    right = (1 - SLIPS) * usual.density(logarithm)
    slips = {
        factor: SLIPS / len(FACTORS) * usual.density(logarithm - math.log(factor))
        for factor in FACTORS
    }
    total = right + sum(slips.values())
    factor = max(slips, key=slips.__getitem__)
    probability = right / total
    gain = slips[factor] / total - probability
    if gain <= 0:
        return None
    meant = f"{number / factor:.6g}"
    value = f"{meant} {spec.unit}" if spec.unit else meant
    evidence = [{"slip": FACTORS[factor], "usual": f"{math.exp(usual.median):.6g}"}]
    proposed = (Proposed(spec.shown(value), slips[factor] / total),)
    return Finding(item, spec.name, text, probability, proposed, Kind.UNIT, gain, evidence)
