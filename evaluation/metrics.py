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

from schema.arrays import BoolArray, FloatArray, IntArray

METRICS = ("hits@1", "hits@3", "hits@10", "mrr", "ece")
ECE_BINS = 15
"""The number of bins that Guo et al. (2017) use."""
_RESAMPLES_PER_PRODUCT = 64
"""Resamples whose weights [64, items] are in memory at the same time."""


@dataclass(frozen=True)
class Outcomes:
    """The results of one property: N ranked true values, and the best candidates of C cells.

    - ``item`` [N], ``rank`` [N]: a true value's item, and its rank, infinite for a value that the
      model does not know
    - ``cell_item`` [C], ``confidence`` [C], ``correct`` [C]: a cell's item, the best candidate's
      probability, and whether that candidate is true
    """

    item: IntArray
    rank: FloatArray
    cell_item: IntArray
    confidence: FloatArray
    correct: BoolArray

    @classmethod
    def concatenate(cls, parts: Sequence[Outcomes]) -> Outcomes:
        """Join the results of several batches of items."""
        return cls(
            item=np.concatenate([part.item for part in parts]),
            rank=np.concatenate([part.rank for part in parts]),
            cell_item=np.concatenate([part.cell_item for part in parts]),
            confidence=np.concatenate([part.confidence for part in parts]),
            correct=np.concatenate([part.correct for part in parts]),
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


def summarise(
    outcomes: Mapping[str, Outcomes], items: int, *, resamples: int = 1000, seed: int = 0
) -> tuple[dict[str, MetricEstimates], MetricEstimates]:
    """Estimate every metric of every property, and their macro averages over properties.

    Intervals are percentiles over bootstrap resamples of the ``items`` items. Whole items are
    drawn, since the cells of one item share its title and image and so fail together.
    """
    sums = [_sum_by_item(outcome) for outcome in outcomes.values()]
    values = np.zeros((0, len(METRICS)))
    if sums:
        values = np.concatenate([_metrics(each.sums.sum(0, keepdims=True)) for each in sums])
    resampled = np.zeros((0, *values.shape))
    if sums and resamples:
        resampled = np.concatenate(list(_resample(sums, items, resamples, seed)))

    by_property = {
        name: _estimates(values[row], resampled[:, row]) for row, name in enumerate(outcomes)
    }
    macro = _estimates(_mean_without_nan(values, axis=0), _mean_without_nan(resampled, axis=1))
    return by_property, macro


# Columns of the sums from which all metrics follow: the four metrics of ranks come first.
_RANK_METRICS = slice(0, 4)
_RANKS = 4
_CELLS = 5
_CALIBRATION_GAPS = slice(6, 6 + ECE_BINS)


@dataclass(frozen=True)
class _ItemSums:
    """The contributions of the I' items that have any result to a property's metrics.

    ``items`` [I'] are their numbers. ``sums`` [I', 6 + bins] are hits@1, @3 and @10, reciprocal
    ranks, the number of ranks, the number of cells, and confidence minus accuracy in each bin.
    """

    items: IntArray
    sums: FloatArray


def _sum_by_item(outcome: Outcomes) -> _ItemSums:
    items = np.unique(np.concatenate([outcome.item, outcome.cell_item]))
    row = np.searchsorted(items, outcome.item)
    cell_row = np.searchsorted(items, outcome.cell_item)
    rank = outcome.rank
    rank_columns = np.stack([rank <= 1, rank <= 3, rank <= 10, 1 / rank, np.ones(len(rank))], 1)
    bin_column = _CALIBRATION_GAPS.start + confidence_bins(outcome.confidence, ECE_BINS)

    sums = np.zeros((len(items), _CALIBRATION_GAPS.stop))
    # np.add.at and not +=, which would count an item's second cell over its first.
    np.add.at(sums[:, : _RANKS + 1], row, rank_columns)
    np.add.at(sums[:, _CELLS], cell_row, 1.0)
    np.add.at(sums, (cell_row, bin_column), outcome.confidence - outcome.correct)
    return _ItemSums(items, sums)


def _metrics(sums: FloatArray) -> FloatArray:
    """Return the metrics [B, 5] of B rows of sums [B, 6 + bins].

    NaN if a resample has drawn no item with the property.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        rank_metrics = sums[:, _RANK_METRICS] / sums[:, _RANKS, None]
        # Expected calibration error: mean |confidence - accuracy| of bins, weighted by their cells.
        ece = np.abs(sums[:, _CALIBRATION_GAPS]).sum(1) / sums[:, _CELLS]
    return np.concatenate([rank_metrics, ece[:, None]], 1)


def _resample(
    properties: Sequence[_ItemSums], items: int, resamples: int, seed: int
) -> Iterator[FloatArray]:
    """Yield the metrics [b, P, 5] of P properties for a few resamples at a time.

    An item that is drawn k times has weight k, so that a property's sums in all b resamples are one
    matrix product.
    """
    rng = np.random.default_rng(seed)
    for start in range(0, resamples, _RESAMPLES_PER_PRODUCT):
        count = min(_RESAMPLES_PER_PRODUCT, resamples - start)
        # Resample b owns the numbers from b * items on, so that one bincount serves them all.
        drawn = rng.integers(0, items, (count, items)) + np.arange(count)[:, None] * items
        counts = np.bincount(drawn.ravel(), minlength=count * items)
        weights = counts.reshape(count, items).astype(np.float64)
        yield np.stack([_metrics(weights[:, each.items] @ each.sums) for each in properties], 1)


def _mean_without_nan(values: FloatArray, axis: int) -> FloatArray:
    """Return the mean over an axis; unlike ``np.nanmean``, without a warning if all are NaN."""
    present = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(present, values, 0).sum(axis) / present.sum(axis))


def _estimates(values: FloatArray, resampled: FloatArray) -> MetricEstimates:
    """Combine the metrics [5] with the percentiles of their resamples [B, 5]."""
    estimates: MetricEstimates = {}
    for column, metric in enumerate(METRICS):
        samples = resampled[:, column]
        samples = samples[~np.isnan(samples)]
        low, high = np.percentile(samples, [2.5, 97.5]) if len(samples) else (np.nan, np.nan)
        estimates[metric] = Estimate(float(values[column]), float(low), float(high))
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
    rng = np.random.default_rng(seed)
    groups = int(group.max()) + 1
    # Sorted once for all resamples, which sklearn's functions would do for each of them.
    order = np.argsort(-score, kind="stable")
    is_last_of_tie = np.append(np.diff(score[order]) != 0, True)
    areas = []
    for start in range(0, resamples, _RESAMPLES_PER_PRODUCT):
        count = min(_RESAMPLES_PER_PRODUCT, resamples - start)
        drawn = [rng.integers(0, groups, groups) for _ in range(count)]
        counts = np.stack([np.bincount(each, minlength=groups) for each in drawn])
        weight = counts[:, group[order]].astype(np.float64)
        positive = (weight * label[order]).cumsum(1)[:, is_last_of_tie]
        negative = (weight * ~label[order]).cumsum(1)[:, is_last_of_tie]
        both = (positive[:, -1] > 0) & (negative[:, -1] > 0)
        areas.append(_weighted_areas(positive[both], negative[both]))
    every = np.concatenate([np.zeros((0, 2)), *areas])
    return every if len(every) else np.full((1, 2), np.nan)


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
