"""Metrics of a task's answers, with 95% intervals from resampled items, and paired differences.

Every metric here is a function of sums over the questions, so that all resamples are computed by
one matrix product.

Shapes: N questions, G groups, B resamples, K summed numbers, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from evaluation.metrics import (
    Estimate,
    MetricEstimates,
    areas_by_resample,
    average_precision,
    resample,
)
from fusion.inference.metrics import roc_auc
from schema.arrays import BoolArray, FloatArray, IntArray

RESAMPLES = 500


@dataclass(frozen=True)
class Measured:
    """Values of metrics by name, and their values in B resamples [B] of the same items."""

    values: Mapping[str, float]
    resampled: Mapping[str, FloatArray] = field(repr=False)
    questions: int = 0

    def estimates(self) -> MetricEstimates:
        """Return each metric with its 95% interval."""
        return {name: estimate(self.values[name], self.resampled[name]) for name in self.values}

    def minus(self, other: Measured) -> MetricEstimates:
        """Return by how much each metric exceeds another model's over the same items, paired."""
        return {
            name: estimate(
                self.values[name] - other.values[name],
                self.resampled[name] - other.resampled[name],
            )
            for name in self.values
            if name in other.values
        }

    def renamed(self, of: str) -> Measured:
        """Return the same with names like ``MAR@10, text``, which say what it was measured of."""
        return Measured(
            {f"{name}, {of}": value for name, value in self.values.items()},
            {f"{name}, {of}": value for name, value in self.resampled.items()},
            self.questions,
        )

    def joined(self, other: Measured) -> Measured:
        """Return the metrics of both."""
        return Measured(
            {**self.values, **other.values},
            {**self.resampled, **other.resampled},
            self.questions,
        )


def estimate(value: float, resampled: FloatArray) -> Estimate:
    """Return a value with the 95% interval of its resamples [B], of which NaN do not count."""
    known = resampled[~np.isnan(resampled)]
    if not len(known):
        return Estimate(value, float("nan"), float("nan"))
    low, high = np.percentile(known, [2.5, 97.5])
    return Estimate(value, float(low), float(high))


def from_sums(
    sums: FloatArray,
    group: IntArray,
    statistics: Callable[[FloatArray], Mapping[str, FloatArray]],
) -> Measured:
    """Measure ``statistics`` of the sums of K numbers of each question, ``sums`` [N, K].

    ``statistics`` maps sums [B, K] to metrics [B]; ``group`` [N] numbers what is resampled.
    """
    groups = int(group.max()) + 1 if len(group) else 0
    by_group = np.zeros((groups, sums.shape[1]))
    np.add.at(by_group, group, sums)
    with np.errstate(invalid="ignore", divide="ignore"):
        whole = statistics(by_group.sum(0, keepdims=True))
        drawn = [statistics(weights @ by_group) for weights in resample(groups, RESAMPLES, seed=0)]
    return Measured(
        {name: float(value[0]) for name, value in whole.items()},
        {name: np.concatenate([each[name] for each in drawn]) for name in whole},
        len(group),
    )


def accuracy(correct: Mapping[str, BoolArray], group: IntArray) -> Measured:
    """Return the share of True in each of ``correct`` [N], by name."""
    names = list(correct)
    columns = [np.asarray(correct[name], np.float64) for name in names]
    sums = np.stack([*columns, np.ones(len(group))], 1)

    def shares(total: FloatArray) -> dict[str, FloatArray]:
        return {name: total[:, column] / total[:, -1] for column, name in enumerate(names)}

    return from_sums(sums, group, shares)


def macro_f1(true: IntArray, predicted: IntArray, group: IntArray) -> Measured:
    """Return the mean F1 of the classes that occur among the true ones [N], without -1."""
    classes = np.unique(true[true >= 0])
    is_true = true[:, None] == classes
    is_predicted = predicted[:, None] == classes
    sums = np.concatenate([is_true & is_predicted, is_true, is_predicted], 1).astype(np.float64)

    def mean(total: FloatArray) -> dict[str, FloatArray]:
        hit, of_true, of_predicted = np.split(total, 3, axis=1)
        # A class that a resample lacks does not count in it.
        f1 = np.where(of_true > 0, 2 * hit / np.maximum(of_true + of_predicted, 1), np.nan)
        present = ~np.isnan(f1)
        return {"macro-F1": np.where(present, f1, 0).sum(1) / present.sum(1)}

    return from_sums(sums, group, mean)


def binary(label: BoolArray, score: FloatArray, threshold: float, group: IntArray) -> Measured:
    """Return accuracy, precision, recall, F1, ROC-AUC and PR-AUC of yes-or-no answers [N]."""
    yes = score >= threshold
    sums = np.stack([yes & label, yes, label, yes == label, np.ones(len(label))], 1)

    def rates(total: FloatArray) -> dict[str, FloatArray]:
        hit, of_yes, of_true, right, count = total.T
        return {
            "accuracy": right / count,
            "precision": hit / of_yes,
            "recall": hit / of_true,
            "F1": 2 * hit / (of_yes + of_true),
        }

    return areas(label, score, group).joined(from_sums(sums.astype(np.float64), group, rates))


def areas(label: BoolArray, score: FloatArray, group: IntArray) -> Measured:
    """Return ROC-AUC and PR-AUC of scores [N]; NaN where all labels are the same."""
    every = areas_by_resample(score, label, group, RESAMPLES)
    mixed = bool(label.any() and not label.all())
    values = {
        "ROC-AUC": float(roc_auc(score, label)) if mixed else float("nan"),
        "PR-AUC": average_precision(score, label) if mixed else float("nan"),
    }
    return Measured(values, {"ROC-AUC": every[:, 0], "PR-AUC": every[:, 1]}, len(label))


def ranks(scores: FloatArray, target: IntArray, ranked: IntArray) -> FloatArray:
    """Return the rank [Q] of the true answer of each question among its candidates.

    ``scores``, ``target`` and ``ranked`` [N] are of the candidates: ``ranked`` is the number of the
    question. Ties count half, as in PyKEEN's realistic rank.
    """
    questions = int(ranked.max()) + 1 if len(ranked) else 0
    is_true = target == 1
    own = np.full(questions, np.nan)
    own[ranked[is_true]] = scores[is_true]
    above = np.bincount(ranked, scores > own[ranked], questions)
    equal = np.bincount(ranked, scores == own[ranked], questions)
    return np.asarray(above + (equal + 1) / 2)


def ranking(rank: FloatArray, group: IntArray, cutoffs: tuple[int, ...] = (1, 10)) -> Measured:
    """Return the shares of ranks [Q] up to each cutoff, and the mean reciprocal rank."""
    sums = np.stack([*(rank <= each for each in cutoffs), 1 / rank, np.ones(len(rank))], 1)

    def means(total: FloatArray) -> dict[str, FloatArray]:
        names = [*(f"Rank@{each}" for each in cutoffs), "MRR"]
        return {name: total[:, column] / total[:, -1] for column, name in enumerate(names)}

    return from_sums(sums.astype(np.float64), group, means)


def best_f1_threshold(label: BoolArray, score: FloatArray) -> float:
    """Return the score from which on F1 is highest; 0 if there is no positive label."""
    if not label.any():
        return 0.0
    order = np.argsort(-score, kind="stable")
    hits = label[order].cumsum()
    f1 = 2 * hits / (np.arange(1, len(label) + 1) + label.sum())
    # Between the last score that counts and the next one.
    is_last_of_tie = np.append(np.diff(score[order]) != 0, True)
    best = int(np.argmax(np.where(is_last_of_tie, f1, -1)))
    after = score[order][best + 1] if best + 1 < len(label) else score[order][best]
    return float((score[order][best] + after) / 2)
