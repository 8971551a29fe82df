"""Prove precision: from which probability on the best candidates are right often enough.

The cells of one situation (see :mod:`serving.calibration`) whose values are known are judged: each
has the probability of its best candidate, and that candidate is right or wrong. A *threshold*
proves a target precision if the cells from it on show that at least this share of such cells is
right. A threshold is looked for among many, and for several properties at a time: each look is a
chance to be lucky. Two kinds of proof account for it; together they hold with 95% confidence.

**Alone.** A property is proven by its own cells. This is learn-then-test (Angelopoulos et al. 2021)
with fixed sequences: thresholds are tested from a strict one to laxer ones, until one fails the
exact binomial test. A sequence that began with the very first cells would end at the first mistake,
so there are several, each of which begins with twice as many cells. The level of the test is shared
out among the sequences, and among the properties that have enough cells to be proven at all. If
several cells of a property are of one item, predicted from more or less of it, they may be wrong
together: counts are divided by the *design effect*, by which the variance of the errors exceeds
that of independent ones.

**Pooled.** Where the cells of one property prove little, those of all are taken together. Each
property takes part up to the threshold at which the calibrated probabilities promise a certain
error, the same for all of them; so no property fills what another one must make up for. The pool is
proven if its cells pass the test at the laxest of these errors. All cells of an item share its
title and image, and the design effect is that of all of them. A property takes part only as far as
its own cells pass the test at a confidence of 25%: alone they prove little, but they must not speak
against it either. (In the pool that is tested, the cells of one half of the items decide about
those of the other: with properties that were chosen for their luck, a pool passed in 7 of 10 cases
in which it should not have.) Properties with too few cells for that take part as if they were one,
without those that are significantly too often wrong. The proof holds for all cells that are filled,
not for each property.

By simulation (calibrate on the leave-one-out scores of 350, 1,300 or 4,000 of 5,214 fashion
products in four situations, and fill the cells of the rest, 25 times each) all filled cells
together were less precise than the target in 6 of 550 runs, and never by more than an eighth of the
error that it allows. Where every cell is wrong with the same probability, just
above what the target allows, 0 to 4% of 200 catalogues prove anything; with a Clopper-Pearson bound
for each threshold by itself, 58 to 92% do.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import bdtr, bdtrc, betaincinv

from schema.arrays import BoolArray, FloatArray, IntArray

CONFIDENCE = 0.95
"""Confidence of everything that is proven for a situation."""
ENOUGH_CONFIDENCE = 0.75
"""A property counts by itself in a pool if it could pass the test at this confidence."""
PROPERTY_CONFIDENCE = 0.25
"""Confidence with which a property that takes part in a pool has to pass the test by itself.

A property fails it that is more often wrong than the target allows by what one expects of chance.
In five settings of fashion products, calibrated on 80% of the items, a stricter one (0.75) fills
3 to 12% fewer of the others' cells at 0.99, of which .993 to .995 are right instead of .991 to
.994; properties by themselves then fall to .967 instead of .958.
"""
TARGETS = tuple(
    round(1 - error, 4)
    for error in (
        *(0.5, 0.4, 0.3, 0.25, 0.2, 0.15, 0.125, 0.1, 0.09, 0.08, 0.07, 0.06, 0.05, 0.045),
        *(0.04, 0.035, 0.03, 0.025, 0.02, 0.0175, 0.015, 0.0125, 0.01, 0.009, 0.008, 0.007),
        *(0.006, 0.005, 0.004, 0.003, 0.0025, 0.002, 0.0015, 0.001),
    )
)
"""The precisions that are proven; for any other target the next higher one is taken."""
_HALF_CONFIDENCE = 0.25
"""The same for half of a property's cells, which decides about the other half."""
_LEVEL = (1 - CONFIDENCE) / 2
"""Level of either kind of proof: the chance that it holds by luck."""
_SEQUENCE_GROWTH = 2.0
_STEP_GROWTH = 1.05
# Promised errors relative to the target's, from strict to lax. Probabilities may be too low, so
# that even four times the error can be proven.
_RELATIVE_ERRORS = np.geomspace(1 / 32, 4, 29)


@dataclass(frozen=True)
class JudgedCells:
    """C cells of one property.

    ``probability`` [C] of the best candidate, calibrated without the cell's own item; ``right`` [C]
    whether it is true; ``item`` [C], a number for each item.
    """

    probability: FloatArray
    right: BoolArray
    item: IntArray

    def select(self, mask: BoolArray) -> JudgedCells:
        """Return the cells that ``mask`` [C] selects."""
        return JudgedCells(self.probability[mask], self.right[mask], self.item[mask])


@dataclass(frozen=True)
class Proven:
    """From ``probability`` on ``precision`` is proven; ``share`` of the cells are that probable."""

    precision: float
    probability: float
    share: float


def lowest_threshold(steps: Iterable[Proven], target: float) -> float | None:
    """Return the lowest probability from which on a target is proven; None if nowhere."""
    return min((each.probability for each in steps if each.precision >= target), default=None)


def highest_precision(steps: Iterable[Proven], probability: float) -> float | None:
    """Return the highest precision that is proven from a lower probability on, or from this one.

    None if there is none.
    """
    return max((each.precision for each in steps if each.probability <= probability), default=None)


def precision_bound(count: float, wrong: float, confidence: float = CONFIDENCE) -> float:
    """Return the one-sided Clopper-Pearson lower bound of the precision.

    ``wrong`` of ``count`` predictions were wrong. Written out, because ``scipy.stats.binomtest``
    takes a single count, and slowly.
    """
    right = count - wrong
    # The bound p solves P(X >= right | count, p) = 1 - confidence for a binomial X, which is a
    # quantile of the Beta distribution with parameters right and wrong + 1.
    return float(betaincinv(right, wrong + 1, 1 - confidence)) if right > 0 else 0.0


def flawless_cells(target: float, level: float = _LEVEL) -> int:
    """Return how many cells without a mistake prove the target precision at a level.

    By default, how many a pool of properties has to have: 368 for 0.99, 72 for 0.95, 36 for 0.9.
    """
    return max(1, math.ceil(math.log(level) / math.log(target) - 1e-9))


def flawless_cells_of_property(target: float) -> int:
    """Return how many cells without a mistake a property in a pool has to have.

    138 for 0.99, 28 for 0.95, 14 for 0.9.
    """
    return flawless_cells(target, 1 - ENOUGH_CONFIDENCE)


def prove(
    cells: Mapping[str, JudgedCells], targets: Sequence[float] = TARGETS
) -> dict[str, list[Proven]]:
    """Return what is proven for each property of a situation, the highest precision first.

    The probability falls from entry to entry: what proves a precision also proves a lower one.
    """
    members = {name: _Member(each) for name, each in sorted(cells.items()) if len(each.right)}
    proven: dict[str, list[Proven]] = {name: [] for name in members}
    effect = design_effect(list(cells.values()))
    lowest = dict.fromkeys(members, math.inf)
    rare_together: dict[int, _Member] = {}
    for target in sorted(targets, reverse=True):
        fewest = flawless_cells_of_property(target)
        enough = {
            name: each for name, each in members.items() if each.whole.effective_count >= fewest
        }
        rare = {name: each for name, each in members.items() if name not in enough}
        pool = list(enough.values())
        if rare:
            # A lower target takes fewer cells, so their number says which ones they are.
            if len(rare) not in rare_together:
                rare_together[len(rare)] = _Member(_join([cells[name] for name in rare]))
            pool.append(rare_together[len(rare)])
        pooled = _pooled_thresholds(pool, target, effect)
        level = _shared_level([each.whole.effective_count for each in enough.values()], target)
        found = {
            name: min(each.whole.threshold(target, level), threshold)
            for (name, each), threshold in zip(enough.items(), pooled, strict=False)
        }
        for name, each in rare.items():
            found[name] = pooled[-1] if each.whole.may_reach(target, pooled[-1]) else math.inf
        for name, threshold in found.items():
            if threshold < lowest[name]:
                lowest[name] = threshold
                curve = members[name].whole
                share = int(curve.counts_from(np.array([threshold]))[0]) / curve.count
                proven[name].append(Proven(target, threshold, share))
    return proven


def prove_sequence(
    counts: IntArray, wrong: IntArray, target: float, effect: float = 1.0
) -> int | None:
    """Return the last of M tests, from strict to lax, that is proven; None if none is.

    A test is passed if ``wrong`` [M] of ``counts`` [M] cells are few enough. The counts do not
    fall, and what is tested need not be a threshold. ``effect`` is the cells' design effect.
    """
    if not len(counts):
        return None
    starts = _sequence_starts(int(counts[-1] / effect), target, 1 - CONFIDENCE)
    if not len(starts):
        return None
    passes = _passes(counts / effect, wrong / effect, target, (1 - CONFIDENCE) / len(starts))
    return _last_proven(passes, np.searchsorted(counts / effect, starts))


def _join(cells: Sequence[JudgedCells]) -> JudgedCells:
    return JudgedCells(
        np.concatenate([each.probability for each in cells]),
        np.concatenate([each.right for each in cells]),
        np.concatenate([each.item for each in cells]),
    )


def design_effect(cells: Sequence[JudgedCells]) -> float:
    """Return by how much the variance of all errors exceeds that of independent ones; at least 1.

    ``cells`` are those of several properties, each with a share of wrong ones of its own.

    Without many errors nothing is known about it. So one more item is added, in which an item's
    mean number of cells are all wrong: if there are no errors, a cell counts for no more than its
    share of an item.
    """
    if not any(len(each.item) for each in cells):
        return 1.0
    items = np.concatenate([each.item for each in cells])
    residual = np.concatenate([each.right.mean() - each.right for each in cells if len(each.right)])
    number = np.unique(items, return_inverse=True)[1]
    by_item = np.bincount(number, residual)
    cells_per_item = len(items) / len(by_item)
    together = float((by_item**2).sum()) + cells_per_item**2
    alone = float((residual**2).sum()) + cells_per_item
    return max(1.0, together / alone)


class _Curve:
    """The cells of one property from the most to the least probable: how many of them are wrong.

    ``effect`` is their design effect.
    """

    def __init__(self, cells: JudgedCells, effect: float) -> None:
        self._effect = effect
        order = np.argsort(-cells.probability, kind="stable")
        self.count = len(order)
        self.probability = cells.probability[order]
        self.wrong = (~cells.right[order]).cumsum()
        self.promised_error = (1 - self.probability).cumsum() / np.arange(1, self.count + 1)

    def counts_from(self, thresholds: FloatArray) -> IntArray:
        """Return how many cells are at least as probable as each of the thresholds [M]."""
        return np.asarray(np.searchsorted(-self.probability, -thresholds, side="right"))

    def wrong_of(self, counts: IntArray) -> IntArray:
        """Return how many of the most probable cells are wrong, for each of the counts [M]."""
        return np.asarray(np.append(0, self.wrong)[counts])

    def thresholds_of_errors(self, errors: FloatArray) -> FloatArray:
        """Return from which probability on the mean promised error is at most each of ``errors``.

        It is infinite where no cell's is.
        """
        counts = np.searchsorted(self.promised_error, errors, side="right")
        return np.append(np.inf, self.probability)[counts]

    @property
    def effective_count(self) -> int:
        """How many independent cells prove as much."""
        return int(self.count / self._effect + 1e-9)

    def passes(self, counts: IntArray, target: float, level: float) -> BoolArray:
        """Return for each of the counts [M] whether so many of the most probable cells pass."""
        return _passes(counts / self._effect, self.wrong_of(counts) / self._effect, target, level)

    def threshold(self, target: float, level: float) -> float:
        """Return from which probability on the property alone proves the target; inf if nowhere."""
        starts = np.ceil(_sequence_starts(self.effective_count, target, level) * self._effect)
        if not len(starts):
            return math.inf
        counts = self._tested_counts(min(int(starts[0]), self.count))
        passes = self.passes(counts, target, level / len(starts))
        last = _last_proven(passes, np.searchsorted(counts, starts))
        return math.inf if last is None else float(self.probability[counts[last] - 1])

    def may_reach(self, target: float, threshold: float) -> bool:
        """Return whether there are cells from a threshold on that do not speak against a target.

        They do if so many wrong ones would be seen in at most 1 of 20 cases.
        """
        count = int(self.counts_from(np.array([threshold]))[0])
        if count == 0:
            return False
        wrong = int(self.wrong[count - 1])
        return bool(bdtrc(wrong - 1, count, 1 - target) > 1 - CONFIDENCE) if wrong else True

    def _tested_counts(self, first: int) -> IntArray:
        """Return the numbers of cells that are tested, at least ``first`` and ever more."""
        steps = max(1, math.ceil(math.log(self.count / first, _STEP_GROWTH)))
        wanted = np.unique(np.geomspace(first, self.count, steps + 1).round().astype(np.int64))
        # Equal probabilities are accepted or refused together.
        ends = np.searchsorted(-self.probability, -self.probability[wanted - 1], side="right")
        return np.asarray(np.unique(ends))


class _Member:
    """What takes part in a pool: the cells of a property, and those of either half of the items."""

    def __init__(self, cells: JudgedCells) -> None:
        effect = design_effect([cells])
        half = cells.item % 2
        self.whole = _Curve(cells, effect)
        self.halves = tuple(_Curve(cells.select(half == each), effect) for each in (0, 1))


def _pooled_thresholds(pool: Sequence[_Member], target: float, effect: float) -> list[float]:
    """Return from which probability on each member's cells are proven together; inf if nowhere.

    ``effect`` is the design effect of all cells.
    """
    errors = _RELATIVE_ERRORS * (1 - target)
    thresholds = [member.whole.thresholds_of_errors(errors) for member in pool]
    last = _last_proven_error(pool, thresholds, target, effect)
    if last is None:
        return [math.inf] * len(pool)
    found = []
    for member, own in zip(pool, thresholds, strict=True):
        reached = _reached(member.whole, own, target, PROPERTY_CONFIDENCE)[last]
        found.append(float(np.append(own, math.inf)[reached]))
    return found


def _last_proven_error(
    pool: Sequence[_Member], thresholds: Sequence[FloatArray], target: float, effect: float
) -> int | None:
    """Return the number of the laxest promised error that is proven; None if none is."""
    available = np.zeros(len(_RELATIVE_ERRORS))
    tested = np.zeros(len(_RELATIVE_ERRORS))
    wrong = np.zeros(len(_RELATIVE_ERRORS))
    for member, own in zip(pool, thresholds, strict=True):
        available += member.whole.counts_from(own)
        for half, other in (member.halves, member.halves[::-1]):
            # Its own luck must not take a half into the pool, so the other half decides.
            reached = _reached(other, own, target, _HALF_CONFIDENCE)
            counts = half.counts_from(np.append(own, np.inf)[reached])
            tested += counts
            wrong += half.wrong_of(counts)
    available /= effect
    starts = _sequence_starts(int(available[-1]), target, _LEVEL)
    if not len(starts):
        return None
    passes = _passes(tested / effect, wrong / effect, target, _LEVEL / len(starts))
    return _last_proven(passes, np.searchsorted(available, starts))


def _reached(curve: _Curve, thresholds: FloatArray, target: float, confidence: float) -> IntArray:
    """Return how far a property takes part in a pool at each of M promised errors.

    That is the number of the last error up to it where its own cells pass, or M if none does.
    """
    counts = curve.counts_from(thresholds)
    passes = curve.passes(counts, target, 1 - confidence)
    last = np.maximum.accumulate(np.where(passes, np.arange(len(counts)), -1))
    return np.where(last >= 0, last, len(counts))


def _sequence_starts(count: int, target: float, level: float) -> FloatArray:
    """Return the numbers of cells with which sequences of tests begin; none if there are too few.

    More sequences leave less of the level to each, so that each needs more cells.
    """
    starts: list[float] = []
    for number in range(1, 64):
        first = flawless_cells(target, level / number)
        if first * _SEQUENCE_GROWTH ** (number - 1) > count:
            break
        starts = [first * _SEQUENCE_GROWTH**each for each in range(number)]
    return np.array(starts)


def _last_proven(passes: BoolArray, starts: IntArray) -> int | None:
    """Return the last of the tests that some sequence reaches before one fails; None if none.

    ``passes`` [M] are tests from strict to lax, and ``starts`` where sequences begin among them.
    """
    failures = np.append(np.flatnonzero(~passes), len(passes))
    ends = failures[np.searchsorted(failures, starts)]
    reached = (ends - 1)[ends > starts]
    return int(reached.max()) if len(reached) else None


def _passes(
    count: FloatArray | IntArray, wrong: FloatArray | IntArray, target: float, level: float
) -> BoolArray:
    """Return whether so few wrong cells would be that unlikely at a precision below the target.

    The binomial test: at the target precision, P(X <= wrong) is at most ``level``.
    """
    # Counts that were divided by a design effect are rounded against the proof.
    whole = np.floor(count)
    most_wrong = np.ceil(np.asarray(wrong) - 1e-9)
    chance = bdtr(np.minimum(most_wrong, whole), whole.astype(np.int64), 1 - target)
    return np.asarray((whole > 0) & (chance <= level))


def _shared_level(counts: Sequence[int], target: float) -> float:
    """Return the level for each property that has enough cells to be proven alone.

    The level is shared out among these, by their numbers of cells alone: the fewer the properties,
    the more is left to each.
    """
    level = _LEVEL
    for number, count in enumerate(sorted(counts, reverse=True), 1):
        if count < flawless_cells(target, _LEVEL / number):
            break
        level = _LEVEL / number
    return level
