"""Evaluate query matching: can a model tell whether a query and an item match?

Held-out pairs of the query log are scored with the whole item, without its title, and without its
image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluation.metrics import Estimate, MetricEstimates, average_precision, resampled_areas
from fusion.inference.metrics import roc_auc
from fusion.inference.scorer import CellScorer
from kg.sampling.keyed_random import KeyedRandom
from schema.arrays import BoolArray, FloatArray, IntArray
from schema.modalities import CONTENT_MODALITIES, Modality
from schema.progress import ProgressCallback, no_progress
from training.queries import QueryPairBuilder

PAIRS_PER_BATCH = 64
ITEM_VARIANTS: dict[str, Modality | None] = {
    "whole": None,
    **{f"without {modality.value}": modality for modality in CONTENT_MODALITIES},
}
"""The settings by name, each with the modality that the items lose."""


@dataclass(frozen=True)
class MatchingReport:
    """ROC-AUC and PR-AUC of one model over held-out pairs, with 95% intervals over items.

    ``settings`` has the estimates for each of :data:`ITEM_VARIANTS`.
    """

    model: str
    items: int
    positive: int
    negative: int
    settings: dict[str, MetricEstimates]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        settings = {
            name: {metric: estimate.as_dict() for metric, estimate in estimates.items()}
            for name, estimates in self.settings.items()
        }
        return {
            "model": self.model,
            "items": self.items,
            "positive": self.positive,
            "negative": self.negative,
            "settings": settings,
        }

    def as_rows(self) -> list[list[str]]:
        """Return a table to print: the heading, then a row per setting."""
        rows = [["item", "ROC-AUC", "95% interval", "PR-AUC", "95% interval"]]
        for name, estimates in self.settings.items():
            row = [name]
            for estimate in estimates.values():
                row += [f"{estimate.value:.3f}", f"{estimate.low:.3f}-{estimate.high:.3f}"]
            rows.append(row)
        return rows


def evaluate_matching(
    scorer: CellScorer,
    pair_builder: QueryPairBuilder,
    pairs: IntArray,
    *,
    resamples: int = 1000,
    progress: ProgressCallback = no_progress,
) -> MatchingReport:
    """Score positive ``pairs`` [N] of the query log and as many negatives.

    The intervals come from resamples of whole items.
    """
    labels: list[float] = []
    scores: dict[str, list[float]] = {name: [] for name in ITEM_VARIANTS}
    batch_items: list[IntArray] = []
    for start in range(0, len(pairs), PAIRS_PER_BATCH):
        positive = pairs[start : start + PAIRS_PER_BATCH]
        # Random numbers are keyed by the pairs, so that negatives do not depend on the batch size.
        batch = pair_builder.batch(positive, KeyedRandom(0))
        # The batch has the positive pairs first, then a negative for each, of the same item.
        item = np.tile(pair_builder.log.item[positive], 2)
        items = pair_builder.items(item)
        for name, modality in ITEM_VARIANTS.items():
            scores[name] += scorer.match_logits(items, batch.query, modality).tolist()
        labels += batch.label.tolist()
        batch_items.append(item)
        progress(min(start + PAIRS_PER_BATCH, len(pairs)), len(pairs))

    label = np.array(labels) > 0.5
    item_group = np.unique(np.concatenate(batch_items), return_inverse=True)[1]
    return MatchingReport(
        scorer.name,
        items=int(item_group.max()) + 1,
        positive=int(label.sum()),
        negative=int((~label).sum()),
        settings={
            name: _area_estimates(np.array(score), label, item_group, resamples)
            for name, score in scores.items()
        },
    )


def _area_estimates(
    score: FloatArray, label: BoolArray, item_group: IntArray, resamples: int
) -> MetricEstimates:
    areas = resampled_areas(score, label, item_group, resamples)
    low, high = np.percentile(areas, (2.5, 97.5), axis=0)
    return {
        "roc_auc": Estimate(roc_auc(score, label), float(low[0]), float(high[0])),
        "pr_auc": Estimate(average_precision(score, label), float(low[1]), float(high[1])),
    }
