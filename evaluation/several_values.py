"""Measure properties that may have several values by value: which are filled, and which are right.

Shapes: C cells, T target precisions, B resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluation.metrics import TARGETS, Estimate, resample
from schema.arrays import BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class ValueCounts:
    """Counts of the values of C hidden cells of one property.

    Attributes:
        item: the cells' items [C]
        true: how many values each has [C], those included that the model does not know
        filled: how many are filled at each of the ``TARGETS`` [C, T]
        right: how many of these are true [C, T]
    """

    item: IntArray
    true: IntArray
    filled: IntArray
    right: IntArray

    @classmethod
    def concatenate(cls, parts: Sequence[ValueCounts]) -> ValueCounts:
        """Join the counts of several batches of items."""
        return cls(
            np.concatenate([each.item for each in parts]),
            np.concatenate([each.true for each in parts]),
            np.concatenate([each.filled for each in parts]),
            np.concatenate([each.right for each in parts]),
        )

    def of_items(self, kept: BoolArray) -> ValueCounts:
        """Return the counts of those of I items that are ``kept`` [I], numbered anew."""
        cells = kept[self.item]
        number = (np.cumsum(kept) - 1)[self.item[cells]]
        return ValueCounts(number, self.true[cells], self.filled[cells], self.right[cells])


@dataclass(frozen=True)
class TargetValues:
    """What is filled at one target precision, and how much of it is right, with 95% intervals.

    ``precision`` is the share of filled values that are true, NaN if none is filled, ``recall`` the
    share of true values that are filled, and ``f1`` their harmonic mean.
    """

    target: float
    filled: int
    precision: Estimate
    recall: Estimate
    f1: Estimate


@dataclass(frozen=True)
class SeveralEstimates:
    """The values of one property's hidden cells, by target precision."""

    cells: int
    values: int
    targets: tuple[TargetValues, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "cells": self.cells,
            "values": self.values,
            "targets": [
                {
                    "target_precision": each.target,
                    "filled": each.filled,
                    "precision": each.precision.as_dict(),
                    "recall": each.recall.as_dict(),
                    "f1": each.f1.as_dict(),
                }
                for each in self.targets
            ],
        }


def estimate_values(
    counts: ValueCounts, items: int, *, resamples: int = 1000, seed: int = 0
) -> SeveralEstimates:
    """Return precision, recall and F1 of values, with intervals from resampled items."""
    columns = np.column_stack([counts.true, counts.filled, counts.right])
    sums = np.zeros((items, columns.shape[1]))
    np.add.at(sums, counts.item, columns)
    found = _shares(sums.sum(0, keepdims=True))[0]
    resampled = [_shares(weights @ sums) for weights in resample(items, resamples, seed)]
    every = np.concatenate(resampled) if resampled else np.zeros((0, *found.shape))
    return SeveralEstimates(
        cells=len(counts.item),
        values=int(counts.true.sum()),
        targets=tuple(
            TargetValues(
                target,
                int(counts.filled[:, column].sum()),
                *(
                    _estimate(float(found[metric, column]), every[:, metric, column])
                    for metric in range(3)
                ),
            )
            for column, target in enumerate(TARGETS)
        ),
    )


def _shares(sums: FloatArray) -> FloatArray:
    """Return precision, recall and F1 [B, 3, T] of sums of true, filled and right values."""
    true = sums[:, :1]
    filled = sums[:, 1 : 1 + len(TARGETS)]
    right = sums[:, 1 + len(TARGETS) :]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.stack([right / filled, right / true, 2 * right / (filled + true)], axis=1)


def _estimate(value: float, resampled: FloatArray) -> Estimate:
    drawn = resampled[~np.isnan(resampled)]
    if np.isnan(value) or not len(drawn):
        return Estimate(value, np.nan, np.nan)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Estimate(value, float(low), float(high))
