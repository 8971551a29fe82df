"""Figures of alignment: by hand, and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score

from evaluation.alignment import measure_alignment
from serving.alignment.fitting import LabelledPairs
from serving.alignment.model import Thresholds


def made_pairs(count: int = 300) -> tuple[np.ndarray, LabelledPairs]:
    rng = np.random.default_rng(0)
    label = rng.random(count) < 0.3
    probability = np.clip(rng.normal(0.3 + 0.4 * label, 0.2), 0, 1)
    rows = rng.integers(0, 100, (2, count))
    return probability, LabelledPairs(rows[0], rows[1], label)


def test_figures_are_those_of_scikit_learn() -> None:
    probability, pairs = made_pairs()
    report = measure_alignment("made", probability, pairs, 0.4, Thresholds(0.7, 0.2))
    chosen = probability >= 0.4
    assert report.metrics["f1"].value == pytest.approx(f1_score(pairs.label, chosen))
    assert report.metrics["precision"].value == pytest.approx(precision_score(pairs.label, chosen))
    assert report.metrics["recall"].value == pytest.approx(recall_score(pairs.label, chosen))
    even = f1_score(pairs.label, probability >= 0.5)
    assert report.metrics["f1 at .5"].value == pytest.approx(even)
    for name, estimate in report.metrics.items():
        assert estimate.low <= estimate.value <= estimate.high, name
        assert estimate.high - estimate.low < 0.25, name


def test_decisions_are_counted_with_how_many_are_the_same() -> None:
    probability, pairs = made_pairs()
    report = measure_alignment("made", probability, pairs, 0.4, Thresholds(0.7, 0.2))
    match = probability >= 0.7
    assert report.decisions["match"].pairs == match.sum()
    assert report.decisions["match"].matching == (match & pairs.label).sum()
    assert sum(each.pairs for each in report.decisions.values()) == len(pairs)
    assert measure_alignment("scores", probability, pairs, 0.4).decision_rows() == [
        ["decision", "pairs", "same product", "share"]
    ]
