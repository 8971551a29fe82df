"""Ranks, hits, reciprocal ranks, calibration error, and intervals from resampled items.

Ranks are PyKEEN's realistic ones: the mean of the optimistic rank (ties below) and the pessimistic one (ties above), filtered, so that
the cell's other true values do not count against the one that is ranked.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 15
METRICS = ("hits@1", "hits@3", "hits@10", "mrr", "ece")
_RESAMPLES_AT_ONCE = 64

Floats = NDArray[np.float64]


def realistic_ranks(
    scores: NDArray[np.floating], true: NDArray[np.integer], others: NDArray[np.bool_] | None = None
) -> Floats:
    """Rank [N] of candidate ``true`` [N] in ``scores`` [N, V], without the candidates that ``others`` [N, V] marks as true, too."""
    own = scores[np.arange(len(true)), true][:, None]
    counted = np.ones(scores.shape, dtype=bool) if others is None else ~others
    counted[np.arange(len(true)), true] = True
    optimistic = 1 + ((scores > own) & counted).sum(1)
    pessimistic = ((scores >= own) & counted).sum(1)
    return np.asarray((optimistic + pessimistic) / 2)


def hits(ranks: Floats, k: int) -> float:
    """Share of ranks [N] at or above place ``k``; NaN of none."""
    return float(np.mean(ranks <= k)) if len(ranks) else float("nan")


def mean_reciprocal_rank(ranks: Floats) -> float:
    """Mean of 1 / rank over [N], an infinite rank counting 0; NaN of none."""
    return float(np.mean(1 / ranks)) if len(ranks) else float("nan")


def confidence_bins(
    confidence: Floats, *, bins: int = BINS, equal_mass: bool = False
) -> NDArray[np.int64]:
    """Bin of each probability [N]: equal widths of [0, 1], or as many predictions in each; equal probabilities share a bin."""
    if not equal_mass:
        return np.minimum((confidence * bins).astype(np.int64), bins - 1)
    edges = np.quantile(confidence, np.arange(1, bins) / bins) if len(confidence) else np.zeros(0)
    return np.searchsorted(edges, confidence, side="left").astype(np.int64)


def expected_calibration_error(
    confidence: Floats, correct: NDArray[np.bool_], *, bins: int = BINS, equal_mass: bool = False
) -> float:
    """Mean gap between confidence [N] and accuracy [N] over bins, weighted by their predictions; NaN of none."""
    if not len(confidence):
        return float("nan")
    place = confidence_bins(confidence, bins=bins, equal_mass=equal_mass)
    gaps = np.bincount(place, weights=confidence - correct, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))


@dataclass(frozen=True)
class Outcomes:
    """A property's results: N ranked true values of items ``item`` [N], and C cells of items ``cell_item`` [C].

    ``rank`` [N] is infinite for a value that the model does not know; ``confidence`` [C] is the top candidate's, ``correct`` [C] its truth.
    """

    item: NDArray[np.int64]
    rank: Floats
    cell_item: NDArray[np.int64]
    confidence: Floats
    correct: NDArray[np.bool_]

    @classmethod
    def concatenate(cls, parts: Sequence[Outcomes]) -> Outcomes:
        """All parts' results in a row."""
        columns = (
            np.concatenate([getattr(part, name) for part in parts])
            for name in cls.__dataclass_fields__
        )
        return cls(*columns)


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95% interval."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float | None]:
        """Plain data, None for NaN, which JSON does not have."""
        figures = {"value": self.value, "low": self.low, "high": self.high}
        return {
            name: None if math.isnan(figure) else round(figure, 6)
            for name, figure in figures.items()
        }


Line = dict[str, Estimate]


def summarise(
    outcomes: Mapping[str, Outcomes], items: int, *, draws: int = 1000, seed: int = 0
) -> tuple[dict[str, Line], Line]:
    """Every metric of every property, and their macro means, with percentile intervals from ``draws`` resamples of the ``items`` items.

    Whole items are drawn, since the cells of one item share its title and image and so fail together.
    """
    sums = [_item_sums(outcome, items) for outcome in outcomes.values()]
    point = (
        np.stack([_figures(total.sum(0)[None]) for _, total in sums], 1)[0]
        if sums
        else np.zeros((0, len(METRICS)))
    )
    drawn = (
        np.concatenate(list(_resampled(sums, items, draws, seed)))
        if sums and draws
        else np.zeros((0, *point.shape))
    )
    lines = {name: _line(point[row], drawn[:, row]) for row, name in enumerate(outcomes)}
    return lines, _line(_mean(point), _mean(drawn.swapaxes(0, 1)))


def _item_sums(outcome: Outcomes, items: int) -> tuple[NDArray[np.int64], Floats]:
    """Items [I'] with any result and what each adds: hits@1, @3, @10, reciprocal rank, ranks, cells, calibration gaps: [I', 6 + bins]."""
    there = np.unique(np.concatenate([outcome.item, outcome.cell_item]))
    place = np.searchsorted(there, outcome.item)
    cell_place = np.searchsorted(there, outcome.cell_item)
    total = np.zeros((len(there), 6 + BINS))
    added = np.stack(
        [
            outcome.rank <= 1,
            outcome.rank <= 3,
            outcome.rank <= 10,
            1 / outcome.rank,
            np.ones(len(place)),
        ],
        1,
    )
    np.add.at(total[:, :5], place, added)
    np.add.at(total[:, 5], cell_place, 1.0)
    np.add.at(
        total,
        (cell_place, 6 + confidence_bins(outcome.confidence)),
        outcome.confidence - outcome.correct,
    )
    return there, total


def _figures(total: Floats) -> Floats:
    """Sums [B, 6 + bins] to the metrics [B, 5]; NaN where a resample has none of the property."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ranked = total[:, :4] / total[:, 4:5]
        ece = np.abs(total[:, 6:]).sum(1) / total[:, 5]
    return np.concatenate([ranked, ece[:, None]], 1)


def _resampled(
    sums: list[tuple[NDArray[np.int64], Floats]], items: int, draws: int, seed: int
) -> Iterator[Floats]:
    """Metrics [b, P, 5] of a few resamples at a time: items drawn with replacement are weights, weighted sums one product a property."""
    rng = np.random.default_rng(seed)
    for start in range(0, draws, _RESAMPLES_AT_ONCE):
        count = min(_RESAMPLES_AT_ONCE, draws - start)
        chosen = rng.integers(0, items, (count, items)) + np.arange(count)[:, None] * items
        weights = (
            np.bincount(chosen.ravel(), minlength=count * items)
            .reshape(count, items)
            .astype(np.float64)
        )
        yield np.stack([_figures(weights[:, there] @ total) for there, total in sums], 1)


def _mean(values: Floats) -> Floats:
    """Mean over the first axis without NaN; NaN where there is nothing else."""
    there = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(there, values, 0).sum(0) / there.sum(0))


def _line(point: Floats, drawn: Floats) -> Line:
    line: Line = {}
    for column, metric in enumerate(METRICS):
        values = drawn[~np.isnan(drawn[:, column]), column]
        low, high = np.percentile(values, [2.5, 97.5]) if len(values) else (np.nan, np.nan)
        line[metric] = Estimate(float(point[column]), float(low), float(high))
    return line


def roc_auc(score: Floats, label: NDArray[np.bool_], weight: Floats | None = None) -> float:
    """Area under the ROC curve of scores [N] for labels [N], weighted by ``weight`` [N]; ties count half; NaN of one label alone."""
    from sklearn.metrics import roc_auc_score

    both = 0 < label.sum() < len(label) and (
        weight is None or (weight[label].sum() > 0 and weight[~label].sum() > 0)
    )
    return float(roc_auc_score(label, score, sample_weight=weight)) if both else float("nan")


def average_precision(
    score: Floats, label: NDArray[np.bool_], weight: Floats | None = None
) -> float:
    """Area under the precision-recall curve as average precision, of scores [N] for labels [N]; NaN without a true one."""
    from sklearn.metrics import average_precision_score

    there = bool(label.any()) and (weight is None or weight[label].sum() > 0)
    return (
        float(average_precision_score(label, score, sample_weight=weight))
        if there
        else float("nan")
    )


def resampled_areas(
    score: Floats, label: NDArray[np.bool_], owner: NDArray[np.int64], draws: int, seed: int = 0
) -> Floats:
    """(ROC-AUC, PR-AUC) [draws, 2] of resamples of the owners, item numbers [N] from 0."""
    rng = np.random.default_rng(seed)
    count = int(owner.max()) + 1
    found = []
    for _ in range(draws):
        weight = np.bincount(rng.integers(0, count, count), minlength=count)[owner].astype(
            np.float64
        )
        areas = roc_auc(score, label, weight), average_precision(score, label, weight)
        if not np.isnan(areas).any():
            found.append(areas)
    return np.array(found) if found else np.full((1, 2), np.nan)
