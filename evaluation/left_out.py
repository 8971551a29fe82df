"""Hits@1 of the items that experts were fitted on, each left out, with intervals."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from evaluation.metrics import resample
from experts.fitting import FittedExperts
from kg.model_facts import Numbers
from schema.arrays import FloatArray

METRIC = "hits@1"


def left_out_figures(
    fitted: FittedExperts, resamples: int = 1000, seed: int = 0
) -> dict[str, dict[str, Numbers]]:
    """Return Hits@1 with its 95% interval: "macro", and by property.

    In each situation a share of a property's cells is right. A property's figure is the mean over
    situations; "macro" is the mean over situations of the means over properties, as a training
    prints it. The intervals are over resampled items, which take all their cells along. Nothing
    if no cell can be answered.
    """
    groups = []
    for (situation, property), cells in fitted.held_out.items():
        answerable = cells.true.any(1)
        if not answerable.any():
            continue
        best = cells.logits[:, : cells.true.shape[1]].argmax(1)
        right = cells.true[np.arange(len(best)), best]
        groups.append((situation.name, property, cells.item[answerable], right[answerable]))
    if not groups:
        return {}
    ids = np.unique(np.concatenate([items for _, _, items, _ in groups]))
    sums = []
    for _, _, items, right in groups:
        places, inverse = np.unique(np.searchsorted(ids, items), return_inverse=True)
        counts = np.bincount(inverse)
        sums.append((places, np.stack([np.bincount(inverse, right), counts], 1)))
    by_situation: defaultdict[str, list[int]] = defaultdict(list)
    by_property: defaultdict[str, list[int]] = defaultdict(list)
    for number, (name, property, _, _) in enumerate(groups):
        by_situation[name].append(number)
        by_property[property].append(number)

    def means(weights: FloatArray) -> FloatArray:
        """Return the figures [B, 1 + properties] under weights [B, items]."""
        found = np.stack([weights[:, places] @ own for places, own in sums])
        with np.errstate(invalid="ignore"):
            shares = found[..., 0] / found[..., 1]
        situations = [_mean(shares[numbers]) for numbers in by_situation.values()]
        properties = [_mean(shares[numbers]) for numbers in by_property.values()]
        return np.stack([_mean(np.stack(situations)), *properties], 1)

    (values,) = means(np.ones((1, len(ids))))
    drawn = np.concatenate([means(weights) for weights in resample(len(ids), resamples, seed)])
    low, high = np.nanpercentile(drawn, [2.5, 97.5], axis=0)
    return {
        name: {METRIC: (float(values[n]), float(low[n]), float(high[n]))}
        for n, name in enumerate(["macro", *by_property])
    }


def _mean(shares: FloatArray) -> FloatArray:
    """Return the mean [B] of shares [G, B], of which some may be NaN."""
    present = ~np.isnan(shares)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(present, shares, 0).sum(0) / present.sum(0))
