"""How well a model tells whether a query and an item match: held-out pairs of the query log, with title or image removed as well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics import Estimate, average_precision, resampled_areas, roc_auc
from fusion.inference.matching import Without
from fusion.inference.scorer import CellScorer
from kg.sampling.keyed_random import KeyedRandom
from training.queries import QueryPairBuilder

BATCH = 64
SHOWN: dict[str, Without] = {"whole": "", "without title": "title", "without image": "image"}

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class MatchingReport:
    """ROC-AUC and PR-AUC of one model over held-out pairs, whole and without a modality, with 95% intervals over items."""

    model: str
    items: int
    positive: int
    negative: int
    settings: dict[str, dict[str, Estimate]]

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        settings = {
            name: {metric: each.as_dict() for metric, each in line.items()}
            for name, line in self.settings.items()
        }
        return {
            "model": self.model,
            "items": self.items,
            "positive": self.positive,
            "negative": self.negative,
            "settings": settings,
        }

    def as_rows(self) -> list[list[str]]:
        """A table to print: the heading, a row a setting."""
        rows = [["item", "ROC-AUC", "95% interval", "PR-AUC", "95% interval"]]
        for name, line in self.settings.items():
            cells = (
                cell
                for each in line.values()
                for cell in (f"{each.value:.3f}", f"{each.low:.3f}-{each.high:.3f}")
            )
            rows.append([name, *cells])
        return rows


def evaluate_matching(
    scorer: CellScorer,
    matcher: QueryPairBuilder,
    pairs: NDArray[np.int64],
    *,
    draws: int = 1000,
    progress: Progress | None = None,
) -> MatchingReport:
    """Score positive ``pairs`` [N] of the matcher's log and as many negatives; whole items are drawn for the intervals."""
    labels: list[float] = []
    scores: dict[str, list[float]] = {name: [] for name in SHOWN}
    owners: list[NDArray[np.int64]] = []
    for start in range(0, len(pairs), BATCH):
        part = pairs[start : start + BATCH]
        batch = matcher.batch(part, KeyedRandom(0))
        item = np.tile(matcher.log.item[part], 2)
        items = matcher.items(item)
        for name, without in SHOWN.items():
            scores[name] += scorer.match_logits(items, batch.query, without).tolist()
        labels += batch.label.tolist()
        owners.append(item)
        if progress is not None:
            progress(min(start + BATCH, len(pairs)), len(pairs))
    label = np.array(labels) > 0.5
    owner = np.unique(np.concatenate(owners), return_inverse=True)[1]
    settings = {}
    for name, given in scores.items():
        score = np.array(given)
        low, high = np.percentile(resampled_areas(score, label, owner, draws), (2.5, 97.5), axis=0)
        values = roc_auc(score, label), average_precision(score, label)
        names = zip(("roc_auc", "pr_auc"), values, low, high, strict=True)
        settings[name] = {
            metric: Estimate(float(value), float(least), float(most))
            for metric, value, least, most in names
        }
    return MatchingReport(
        scorer.name, int(owner.max()) + 1, int(label.sum()), int((~label).sum()), settings
    )
