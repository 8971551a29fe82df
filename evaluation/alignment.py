"""Evaluate alignment: how well a model tells pairs of the same product from others.

Shapes: M pairs, B resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluation.alignment_baselines import AlignmentBaseline, baseline_scores
from evaluation.metrics import (
    Estimate,
    MetricEstimates,
    average_precision,
    resample,
    resampled_areas,
)
from fusion.inference.metrics import roc_auc
from kg.home import Home
from schema.arrays import BoolArray, FloatArray
from serving.alignment.aligning import known_sides
from serving.alignment.corpus import Corpus
from serving.alignment.fitting import LabelledPairs
from serving.alignment.model import AlignmentDecision, AlignmentModel, Thresholds
from serving.alignment.pair_files import LabelledFile
from serving.alignment.records import Records, records_of_home
from serving.alignment.training import labelled_rows

EVEN = 0.5
"""The probability from which on a pair is more likely a match than not."""


@dataclass(frozen=True)
class DecidedPairs:
    """How many pairs got a decision, and how many of these are the same product."""

    pairs: int
    matching: int


@dataclass(frozen=True)
class AlignmentReport:
    """How well M labelled pairs were told apart, with 95% intervals over the items on the left.

    ``metrics`` are F1, precision and recall of the pairs that are at least as probable as
    ``threshold``; F1 from a probability of one half on; average precision, ROC-AUC, and the
    Brier score of the probabilities. ``decisions`` are there for models that decide.
    """

    model: str
    pairs: int
    matching: int
    threshold: float
    metrics: MetricEstimates
    decisions: Mapping[str, DecidedPairs]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "model": self.model,
            "pairs": self.pairs,
            "matching": self.matching,
            "threshold": self.threshold,
            "metrics": {name: each.as_dict() for name, each in self.metrics.items()},
            "decisions": {
                name: {"pairs": each.pairs, "matching": each.matching}
                for name, each in self.decisions.items()
            },
        }

    def as_rows(self) -> list[list[str]]:
        """Return a table to print: the heading, then a row per metric."""
        rows = [["metric", self.model, "95% interval"]]
        for name, estimate in self.metrics.items():
            rows.append([name, f"{estimate.value:.3f}", f"{estimate.low:.3f}-{estimate.high:.3f}"])
        return rows

    def decision_rows(self) -> list[list[str]]:
        """Return a second table: the heading, then a row per decision; the heading alone without.

        The last column has the share of the pairs that are the same product.
        """
        rows = [["decision", "pairs", "same product", "share"]]
        for name, each in self.decisions.items():
            share = f"{each.matching / each.pairs:.3f}" if each.pairs else ""
            rows.append([name, f"{each.pairs:,}", f"{each.matching:,}", share])
        return rows


@dataclass(frozen=True)
class AlignmentDifference:
    """By how much metrics of a model exceed those of a baseline, with paired 95% intervals."""

    model: str
    baseline: str
    metrics: MetricEstimates

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "model": self.model,
            "baseline": self.baseline,
            "metrics": {name: each.as_dict() for name, each in self.metrics.items()},
        }

    def as_rows(self) -> list[list[str]]:
        """Return a table to print: the heading, then a row per metric."""
        rows = [["metric", f"{self.model} over {self.baseline}", "95% interval"]]
        for name, each in self.metrics.items():
            rows.append([name, f"{each.value:+.3f}", f"{each.low:+.3f} to {each.high:+.3f}"])
        return rows


@dataclass(frozen=True)
class AlignmentEvaluation:
    """The report of a model and of its baselines, and how they differ."""

    reports: tuple[AlignmentReport, ...]
    differences: tuple[AlignmentDifference, ...]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "reports": [report.as_dict() for report in self.reports],
            "differences": [difference.as_dict() for difference in self.differences],
        }


def evaluate_alignment(
    home: Home,
    model: AlignmentModel,
    file: LabelledFile,
    train: LabelledFile | None = None,
    baselines: Sequence[AlignmentBaseline] = (),
) -> AlignmentEvaluation:
    """Measure a model on labelled pairs, without those of ``train``, from which baselines learn.

    Raises ItemNotFoundError if an item is not in the catalogue; ValueError if there are baselines
    and no ``train``.
    """
    notes = list(file.notes())
    if train is not None:
        new = file.without(train)
        if len(new) < len(file):
            notes.append(
                f"{file.path}: {len(file) - len(new):,} pairs are also in {train.path}, and are "
                "not measured"
            )
        file = new
    sides = known_sides([*file.pairs, *(train.pairs if train is not None else ())], model.sides)
    corpus = Corpus(Records.with_sides(records_of_home(home), sides))
    pairs = labelled_rows(corpus, file)
    probability = model.probabilities(corpus, pairs.left, pairs.right)
    reports = [measure_alignment(model.name, probability, pairs, model.best_f1, model.thresholds())]
    differences = []
    for baseline in baselines:
        if train is None:
            raise ValueError("baselines need pairs to learn from")
        scores, threshold = baseline_scores(baseline, corpus, labelled_rows(corpus, train), pairs)
        reports.append(measure_alignment(str(baseline), scores, pairs, threshold))
        chosen = probability >= model.best_f1, scores >= threshold
        differences.append(
            AlignmentDifference(
                model.name, str(baseline), _differences(chosen, pairs, resamples=1000)
            )
        )
    return AlignmentEvaluation(tuple(reports), tuple(differences), tuple(notes))


def _differences(
    chosen: tuple[BoolArray, BoolArray], pairs: LabelledPairs, resamples: int
) -> MetricEstimates:
    """Return by how much F1, precision and recall of the first choice exceed those of the other."""
    weights = _weights(pairs, resamples)
    ours, theirs = (_values_at_threshold(each, pairs.label, weights) for each in chosen)
    return {
        name: _estimate(float(ours[name][0] - theirs[name][0]), (ours[name] - theirs[name])[1:])
        for name in ours
    }


def _weights(pairs: LabelledPairs, resamples: int) -> FloatArray:
    """Return how often each pair counts [B, M] in resamples of the items on the left."""
    group = np.unique(pairs.left, return_inverse=True)[1]
    return np.concatenate(list(resample(int(group.max()) + 1, resamples, 0)))[:, group]


def measure_alignment(
    model: str,
    probability: FloatArray,
    pairs: LabelledPairs,
    threshold: float,
    thresholds: Thresholds | None = None,
    *,
    resamples: int = 1000,
) -> AlignmentReport:
    """Compare probabilities [M], or any scores, with the labels of pairs.

    ``threshold`` was chosen on other pairs. Without ``thresholds``, there are no decisions.
    """
    label = pairs.label
    group = np.unique(pairs.left, return_inverse=True)[1]
    weights = _weights(pairs, resamples)
    metrics = _at_threshold(probability >= threshold, label, weights)
    if thresholds is not None:
        even = _at_threshold(probability >= EVEN, label, weights)
        metrics["f1 at .5"] = even["f1"]
    areas = resampled_areas(probability, label, group, resamples)
    low, high = np.percentile(areas, (2.5, 97.5), axis=0)
    metrics["average precision"] = Estimate(
        average_precision(probability, label), float(low[1]), float(high[1])
    )
    metrics["roc-auc"] = Estimate(roc_auc(probability, label), float(low[0]), float(high[0]))
    if thresholds is not None:
        squares = (probability - label) ** 2
        metrics["brier"] = _estimate(
            float(squares.mean()), (weights * squares).sum(1) / weights.sum(1)
        )
    return AlignmentReport(
        model,
        len(pairs),
        int(label.sum()),
        threshold,
        metrics,
        {} if thresholds is None else _decided(thresholds.decide(probability), label),
    )


def _at_threshold(chosen: BoolArray, label: BoolArray, weights: FloatArray) -> MetricEstimates:
    """Return F1, precision and recall of chosen pairs [M], with weights [B, M] of resamples."""
    measured = _values_at_threshold(chosen, label, weights)
    return {name: _estimate(float(each[0]), each[1:]) for name, each in measured.items()}


def _values_at_threshold(
    chosen: BoolArray, label: BoolArray, weights: FloatArray
) -> dict[str, FloatArray]:
    """Return F1, precision and recall [1 + B]: of all pairs, then of each resample."""
    every = np.concatenate([np.ones((1, len(label))), weights])
    right = every @ (chosen & label)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = right / (every @ chosen)
        recall = right / (every @ label)
        f1 = 2 * right / (every @ chosen + every @ label)
    return {"f1": f1, "precision": precision, "recall": recall}


def _estimate(value: float, resampled: FloatArray) -> Estimate:
    found = resampled[~np.isnan(resampled)]
    low, high = np.percentile(found, (2.5, 97.5)) if len(found) else (np.nan, np.nan)
    return Estimate(value, float(low), float(high))


def _decided(decisions: Sequence[AlignmentDecision], label: BoolArray) -> dict[str, DecidedPairs]:
    found = {}
    for decision in AlignmentDecision:
        mask = np.array([each is decision for each in decisions], bool)
        found[str(decision)] = DecidedPairs(int(mask.sum()), int((mask & label).sum()))
    return found
