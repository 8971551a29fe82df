"""Ranking and calibration metrics of completions, with intervals from resampled items.

Ranks are PyKEEN's realistic, filtered ranks. Realistic is the mean of the optimistic rank (ties
count as worse) and the pessimistic one (ties count as better). Filtered means that the cell's other
true values do not count against the one that is ranked.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from schema.arrays import BoolArray, FloatArray, IntArray

TARGETS = (0.9, 0.95, 0.99)
"""The target precisions at which decisions are measured."""
METRICS = (
    *("hits@1", "hits@3", "hits@10", "mrr", "ece", "brier", "aurc"),
    *(f"{metric}@{target}" for target in TARGETS for metric in ("coverage", "precision")),
)
ECE_BINS = 15
"""The number of bins that Guo et al. (2017) use."""
_RESAMPLES_PER_PRODUCT = 64
"""Resamples whose weights [64, items] are in memory at the same time."""
_NUMBERS_AT_A_TIME = 4_000_000


@dataclass(frozen=True)
class Outcomes:
    """The results of one property: N ranked true values, and the best candidates of C cells.

    - ``item`` [N], ``rank`` [N]: a true value's item, and its rank, infinite for a value that the
      model does not know
    - ``cell_item`` [C], ``confidence`` [C], ``correct`` [C]: a cell's item, the best candidate's
      probability, and whether that candidate is true
    - ``filled`` [C, T]: whether the cell is filled at each of the T ``TARGETS``
    - ``unanswered`` [U]: the items of the cells for which the model has no candidate
    """

    item: IntArray
    rank: FloatArray
    cell_item: IntArray
    confidence: FloatArray
    correct: BoolArray
    filled: BoolArray
    unanswered: IntArray

    @classmethod
    def concatenate(cls, parts: Sequence[Outcomes]) -> Outcomes:
        """Join the results of several batches of items, or of several properties."""
        return cls(
            item=np.concatenate([part.item for part in parts]),
            rank=np.concatenate([part.rank for part in parts]),
            cell_item=np.concatenate([part.cell_item for part in parts]),
            confidence=np.concatenate([part.confidence for part in parts]),
            correct=np.concatenate([part.correct for part in parts]),
            filled=np.concatenate([part.filled for part in parts]),
            unanswered=np.concatenate([part.unanswered for part in parts]),
        )

    def of_items(self, kept: BoolArray) -> Outcomes:
        """Return the results of those of I items that are ``kept`` [I], numbered anew."""
        number = np.cumsum(kept) - 1
        rows = kept[self.item]
        cells = kept[self.cell_item]
        return Outcomes(
            item=number[self.item[rows]],
            rank=self.rank[rows],
            cell_item=number[self.cell_item[cells]],
            confidence=self.confidence[cells],
            correct=self.correct[cells],
            filled=self.filled[cells],
            unanswered=number[self.unanswered[kept[self.unanswered]]],
        )


@dataclass(frozen=True)
class Estimate:
    """A metric's value and its 95% interval."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float | None]:
        """Return plain data, with None for NaN, which JSON does not have."""
        numbers = {"value": self.value, "low": self.low, "high": self.high}
        return {
            name: None if math.isnan(number) else round(number, 6)
            for name, number in numbers.items()
        }


MetricEstimates = dict[str, Estimate]
"""An estimate of each metric, by its name."""


def realistic_ranks(
    scores: NDArray[np.floating], true: NDArray[np.integer], all_true: BoolArray
) -> FloatArray:
    """Return the rank [N] of candidate ``true`` [N] among ``scores`` [N, V].

    ``all_true`` [N, V] marks every true candidate; the others of them are left out of the ranking.
    """
    rows = np.arange(len(true))
    own_score = scores[rows, true][:, None]
    counted = ~all_true
    counted[rows, true] = True
    optimistic = 1 + ((scores > own_score) & counted).sum(1)
    pessimistic = ((scores >= own_score) & counted).sum(1)
    return np.asarray((optimistic + pessimistic) / 2)


def confidence_bins(confidence: FloatArray, bins: int) -> IntArray:
    """Return the bin [N] of each probability [N], for bins of equal width over [0, 1]."""
    # A probability of exactly 1 belongs to the last bin.
    return np.minimum((confidence * bins).astype(np.int64), bins - 1)


@dataclass(frozen=True)
class ReliabilityBin:
    """Predictions with similar probabilities: their number, mean probability and accuracy."""

    count: int
    probability: float
    accuracy: float


def reliability(confidence: FloatArray, correct: BoolArray, bins: int) -> list[ReliabilityBin]:
    """Return the reliability curve of predictions [N]: bins of equal width, without empty ones."""
    bin_of = confidence_bins(confidence, bins)
    curve = []
    for number in np.unique(bin_of):
        inside = bin_of == number
        curve.append(
            ReliabilityBin(
                count=int(inside.sum()),
                probability=float(confidence[inside].mean()),
                accuracy=float(correct[inside].mean()),
            )
        )
    return curve


@dataclass(frozen=True)
class Summary:
    """Estimates of every metric: of each property, their mean, and those of all cells together.

    ``macro`` is the mean over properties; ``pooled`` takes the cells of all properties as one.
    """

    properties: dict[str, MetricEstimates]
    macro: MetricEstimates
    pooled: MetricEstimates


def summarise(
    outcomes: Mapping[str, Outcomes], items: int, *, resamples: int = 1000, seed: int = 0
) -> Summary:
    """Estimate every metric of the properties' outcomes.

    Intervals are percentiles over bootstrap resamples of the ``items`` items. Whole items are
    drawn, since the cells of one item share its title and image and so fail together.
    """
    measured = _measure(outcomes, items, resamples, seed)
    return _summary(list(outcomes), measured, _FLOORS)


def differences(
    ours: Mapping[str, Outcomes],
    theirs: Mapping[str, Outcomes],
    items: int,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Summary:
    """Estimate by how much each metric of ``ours`` exceeds that of ``theirs``.

    Both are outcomes of the same cells. The intervals are paired: every resample draws the same
    items for both, so that what makes an item hard for both of them does not count. The macro
    difference of a metric is over the properties for which both have one.
    """
    if ours.keys() != theirs.keys():
        raise ValueError("the outcomes to compare are not of the same properties")
    our_metrics = _measure(ours, items, resamples, seed)
    their_metrics = _measure(theirs, items, resamples, seed)
    compared = _Measured(
        our_metrics.values - their_metrics.values, our_metrics.resampled - their_metrics.resampled
    )
    return _summary(list(ours), compared, np.full(len(METRICS), -np.inf))


# No error is negative, but its cross-fitted estimate may be.
_FLOORS = np.where(np.array(METRICS) == "ece", 0.0, -np.inf)


@dataclass(frozen=True)
class _Measured:
    """The metrics of P properties and, in the last row, of their pool: M metrics, B resamples.

    ``values`` [P + 1, M] and ``resampled`` [B, P + 1, M].
    """

    values: FloatArray
    resampled: FloatArray


def _measure(outcomes: Mapping[str, Outcomes], items: int, resamples: int, seed: int) -> _Measured:
    if not outcomes:
        nothing = np.full((1, len(METRICS)), np.nan)
        return _Measured(nothing, np.zeros((0, *nothing.shape)))
    pooled = Outcomes.concatenate(list(outcomes.values()))
    properties = [_Weighted(each) for each in (*outcomes.values(), pooled)]
    everything = np.ones((1, items))
    values = np.concatenate([each.metrics(everything) for each in properties])
    values[:, _ECE] = [each.calibration_error() for each in properties]
    parts = [
        np.stack([each.metrics(weights) for each in properties], 1)
        for weights in resample(items, resamples, seed)
    ]
    return _Measured(values, np.concatenate([np.zeros((0, *values.shape)), *parts]))


def _summary(names: Sequence[str], measured: _Measured, floors: FloatArray) -> Summary:
    values = measured.values
    resampled = measured.resampled
    return Summary(
        {
            name: _estimates(values[row], resampled[:, row], floors)
            for row, name in enumerate(names)
        },
        macro=_estimates(
            _mean_without_nan(values[:-1], axis=0),
            _mean_without_nan(resampled[:, :-1], axis=1),
            floors,
        ),
        pooled=_estimates(values[-1], resampled[:, -1], floors),
    )


# Columns of an item's sums, from which most metrics follow.
_RANK_METRICS = slice(0, 4)
_RANKS = 4
_CELLS = 5
_HIDDEN = 6
_SQUARES = 7
_FILLED = slice(8, 8 + len(TARGETS))
_RIGHT = slice(_FILLED.stop, _FILLED.stop + len(TARGETS))
_FOLDS = 10
_CALIBRATION_GAPS = slice(_RIGHT.stop, _RIGHT.stop + _FOLDS * ECE_BINS)
_ECE = METRICS.index("ece")


class _Weighted:
    """The metrics of one property's outcomes if each item counts with a weight.

    They follow from sums over the cells of each of the I' items that have any result; only the
    risk-coverage curve needs the single cells.
    """

    def __init__(self, outcome: Outcomes) -> None:
        hidden = np.concatenate([outcome.cell_item, outcome.unanswered])
        self._items = np.unique(np.concatenate([outcome.item, hidden]))
        self._sums = _sum_by_item(outcome, self._items)

        # Cells without a candidate come last, and are wrong: they must not make the curve better.
        confidence = np.concatenate([outcome.confidence, np.full(len(outcome.unanswered), -1.0)])
        wrong = np.concatenate([~outcome.correct, np.ones(len(outcome.unanswered), dtype=bool)])
        order = np.argsort(-confidence, kind="stable")
        self._item_of_cell = hidden[order]
        self._wrong = wrong[order]
        is_last_of_tie = np.append(np.diff(confidence[order]) != 0, True)[: len(order)]
        self._ends = np.flatnonzero(is_last_of_tie)

    def calibration_error(self) -> float:
        """Return the expected calibration error (ECE), debiased; NaN without a cell.

        It is the mean |confidence - accuracy| of bins, weighted by their cells. Taken as it is, it
        counts the noise of every bin as an error. Kumar et al. (2019, section 5) subtract how much
        it would exceed itself if the gaps of the bins were drawn again with their normal noise.
        """
        gaps = self._sums[:, _CALIBRATION_GAPS].reshape(-1, _FOLDS, ECE_BINS).sum(1)
        cells = float(self._sums[:, _CELLS].sum())
        if not cells:
            return math.nan
        gap = np.abs(gaps.sum(0))
        items = np.maximum((gaps != 0).sum(0), 1)
        noise = np.sqrt(np.maximum((gaps**2).sum(0) - gap**2 / items, 1e-24))
        # The mean of a folded normal distribution.
        expected = noise * np.sqrt(2 / np.pi) * np.exp(-((gap / noise) ** 2) / 2)
        expected += gap * erf(gap / noise / np.sqrt(2))
        return float((2 * gap - expected).sum() / cells)

    def metrics(self, weights: FloatArray) -> FloatArray:
        """Return the metrics [B, M] under B rows of weights [B, items].

        NaN if no item with the property has a weight. The calibration error is the cross-fitted
        one, since a resample doubles the noise that :meth:`calibration_error` subtracts.
        """
        sums = weights[:, self._items] @ self._sums
        cells = sums[:, _CELLS]
        filled = sums[:, _FILLED]
        with np.errstate(invalid="ignore", divide="ignore"):
            rank_metrics = sums[:, _RANK_METRICS] / sums[:, _RANKS, None]
            ece = _cross_fitted_error(sums[:, _CALIBRATION_GAPS]) / cells
            brier = sums[:, _SQUARES] / cells
            coverage = filled / sums[:, _HIDDEN, None]
            precision = sums[:, _RIGHT] / filled
        decisions = np.stack([coverage, precision], 2).reshape(len(sums), -1)
        aurc = self._area_under_risk(weights)
        return np.concatenate([rank_metrics, np.stack([ece, brier, aurc], 1), decisions], 1)

    def _area_under_risk(self, weights: FloatArray) -> FloatArray:
        """Return the area under the risk-coverage curve [B] (Geifman et al. 2019).

        It is the mean, over the cells, of the share of wrong ones among the cells that are at least
        as probable.
        """
        if not len(self._ends):
            return np.full(len(weights), np.nan)
        # A few rows at a time: there may be a million cells.
        rows = max(1, _NUMBERS_AT_A_TIME // len(self._wrong))
        return np.concatenate(
            [self._areas(weights[start : start + rows]) for start in range(0, len(weights), rows)]
        )

    def _areas(self, weights: FloatArray) -> FloatArray:
        weight = weights[:, self._item_of_cell]
        accepted = weight.cumsum(1)[:, self._ends]
        wrong = (weight * self._wrong).cumsum(1)[:, self._ends]
        with np.errstate(invalid="ignore", divide="ignore"):
            risk = np.where(accepted > 0, wrong / accepted, 0)
            steps = np.diff(accepted, axis=1, prepend=0)
            return np.asarray((risk * steps).sum(1) / accepted[:, -1])


def _sum_by_item(outcome: Outcomes, items: IntArray) -> FloatArray:
    """Return sums [I', columns] over the results of each item of ``items`` [I'].

    The columns are hits@1, @3 and @10, reciprocal ranks, the numbers of ranks, of cells with
    candidates and of all hidden cells, squared errors of the probability, filled cells and the
    right ones of them at each target, and confidence minus accuracy in each bin. The bins are those
    of the first fold of the items, then those of the others.
    """
    row = np.searchsorted(items, outcome.item)
    cell_row = np.searchsorted(items, outcome.cell_item)
    hidden_row = np.concatenate([cell_row, np.searchsorted(items, outcome.unanswered)])
    rank = outcome.rank
    rank_columns = np.stack([rank <= 1, rank <= 3, rank <= 10, 1 / rank, np.ones(len(rank))], 1)
    # At random, since the order of the items may mean something; the same for every model.
    last = int(items.max(initial=-1))
    fold = np.random.default_rng(0).integers(0, _FOLDS, last + 1)[outcome.cell_item]
    bin_column = fold * ECE_BINS + confidence_bins(outcome.confidence, ECE_BINS)
    gap = outcome.confidence - outcome.correct

    sums = np.zeros((len(items), _CALIBRATION_GAPS.stop))
    # np.add.at and not +=, which would count an item's second cell over its first.
    np.add.at(sums[:, : _RANKS + 1], row, rank_columns)
    np.add.at(sums[:, _CELLS], cell_row, 1.0)
    np.add.at(sums[:, _HIDDEN], hidden_row, 1.0)
    np.add.at(sums[:, _SQUARES], cell_row, gap**2)
    np.add.at(sums[:, _FILLED], cell_row, outcome.filled)
    np.add.at(sums[:, _RIGHT], cell_row, outcome.filled & outcome.correct[:, None])
    np.add.at(sums, (cell_row, _CALIBRATION_GAPS.start + bin_column), gap)
    return sums


def _cross_fitted_error(gaps: FloatArray) -> FloatArray:
    """Return the cross-fitted calibration error [B], times the number of cells.

    ``gaps`` [B, folds * bins] are the sums of confidence minus accuracy in the bins, for each fold
    of the items. A bin's gap counts as an error in the direction that the other folds give it.
    Their noise is independent of its own, and adds nothing on average, in a resample as little as
    in the items themselves. By simulation (300 to 1,300 cells, errors of 0 to .2) the percentile
    interval contains the true error in 93 to 100% of the cases; that of the plain error, in 0 to
    95%.
    """
    by_fold = gaps.reshape(len(gaps), _FOLDS, ECE_BINS)
    of_others = by_fold.sum(1, keepdims=True) - by_fold
    return np.asarray((np.sign(of_others) * by_fold).sum((1, 2)))


def resample(items: int, resamples: int, seed: int) -> Iterator[FloatArray]:
    """Yield the weights [b, items] of a few resamples at a time: how often each item is drawn."""
    rng = np.random.default_rng(seed)
    for start in range(0, resamples, _RESAMPLES_PER_PRODUCT):
        count = min(_RESAMPLES_PER_PRODUCT, resamples - start)
        # Resample b owns the numbers from b * items on, so that one bincount serves them all.
        drawn = rng.integers(0, items, (count, items)) + np.arange(count)[:, None] * items
        counts = np.bincount(drawn.ravel(), minlength=count * items)
        yield counts.reshape(count, items).astype(np.float64)


def _mean_without_nan(values: FloatArray, axis: int) -> FloatArray:
    """Return the mean over an axis; unlike ``np.nanmean``, without a warning if all are NaN."""
    present = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(present, values, 0).sum(axis) / present.sum(axis))


def _estimates(values: FloatArray, resampled: FloatArray, floors: FloatArray) -> MetricEstimates:
    """Combine the metrics [M] with the percentiles of their resamples [B, M].

    None of the numbers is below the metric's floor in ``floors`` [M].
    """
    estimates: MetricEstimates = {}
    for column, metric in enumerate(METRICS):
        samples = resampled[:, column]
        samples = samples[~np.isnan(samples)]
        value = values[column]
        low, high = np.percentile(samples, [2.5, 97.5]) if len(samples) else (np.nan, np.nan)
        if column == _ECE:
            # The value and the resamples have different estimators, the best for each.
            low, high = np.minimum(low, value), np.maximum(high, value)
        numbers = np.maximum([value, low, high], floors[column])
        estimates[metric] = Estimate(*numbers.tolist())
    return estimates


def average_precision(
    score: FloatArray, label: BoolArray, weight: FloatArray | None = None
) -> float:
    """Return the average precision of scores [N] for labels [N] with sample weights [N].

    It is the area under the precision-recall curve; NaN without a positive label.
    """
    from sklearn.metrics import average_precision_score

    weights = np.ones(len(label)) if weight is None else weight
    if weights[label].sum() == 0:
        return float("nan")
    return float(average_precision_score(label, score, sample_weight=weight))


def resampled_areas(
    score: FloatArray, label: BoolArray, group: IntArray, resamples: int, seed: int = 0
) -> FloatArray:
    """Return (ROC-AUC, PR-AUC) [resamples, 2] of bootstrap resamples of whole groups.

    ``group`` [N] numbers the groups from 0. Resamples whose labels are all the same are left out;
    if all are, the result is one row of NaN.
    """
    every = areas_by_resample(score, label, group, resamples, seed)
    known = every[~np.isnan(every[:, 0])]
    return known if len(known) else np.full((1, 2), np.nan)


def areas_by_resample(
    score: FloatArray, label: BoolArray, group: IntArray, resamples: int, seed: int = 0
) -> FloatArray:
    """Return (ROC-AUC, PR-AUC) [resamples, 2] like :func:`resampled_areas`, with all rows.

    Those of resamples whose labels are all the same are NaN, so that the rows of several models
    over the same groups can be paired.
    """
    groups = int(group.max()) + 1 if len(group) else 0
    # Sorted once for all resamples, which sklearn's functions would do for each of them.
    order = np.argsort(-score, kind="stable")
    is_last_of_tie = np.append(np.diff(score[order]) != 0, True)
    parts = []
    for weights in resample(groups, resamples, seed):
        weight = weights[:, group[order]]
        positive = (weight * label[order]).cumsum(1)[:, is_last_of_tie]
        negative = (weight * ~label[order]).cumsum(1)[:, is_last_of_tie]
        both = (positive[:, -1] > 0) & (negative[:, -1] > 0)
        part = np.full((len(weights), 2), np.nan)
        part[both] = _weighted_areas(positive[both], negative[both])
        parts.append(part)
    return np.concatenate([np.zeros((0, 2)), *parts])


def _weighted_areas(positive: FloatArray, negative: FloatArray) -> FloatArray:
    """Return (ROC-AUC, PR-AUC) [B, 2] of B resamples.

    ``positive`` and ``negative`` [B, T] are the weights of either label from the highest score down
    to each of T thresholds.
    """
    new_positive = np.diff(positive, axis=1, prepend=0)
    new_negative = np.diff(negative, axis=1, prepend=0)
    # Trapezoids: the ties of a threshold count half.
    roc = (new_negative * (positive - new_positive / 2)).sum(1) / (positive * negative)[:, -1]
    precision = positive / np.maximum(positive + negative, 1e-300)
    precision_area = (new_positive * precision).sum(1) / positive[:, -1]
    return np.stack([roc, precision_area], axis=1)
