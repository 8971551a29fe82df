"""Evaluate query matching: can a model tell whether a query and an item match?

Held-out pairs of the query log are scored with the whole item, without its title, and without its
image. A baseline that sees only the query shows how much of that takes no item at all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evaluation.metrics import Estimate, MetricEstimates, average_precision, resampled_areas
from evaluation.query_peers import TextPeer
from fusion.inference.metrics import roc_auc
from fusion.inference.scorer import CellScorer
from kg.sampling.keyed_random import KeyedRandom
from schema.arrays import BoolArray, FloatArray, IntArray
from schema.modalities import NETWORK_MODALITIES, Modality
from schema.progress import ProgressCallback, no_progress
from training.queries import NegativeKind, QueryPairBuilder
from training.query_baseline import QueryBaseline

PAIRS_PER_BATCH = 64
ITEM_VARIANTS: dict[str, Modality | None] = {
    "whole": None,
    **{
        f"without {modality.value}": modality
        for modality in Modality
        if modality in NETWORK_MODALITIES and modality is not Modality.STATEMENTS
    },
}
"""The settings by name, each with the modality that the items lose."""


@dataclass(frozen=True)
class KindAreas:
    """ROC-AUC of the whole item, and ``query_only``, against ``pairs`` negatives of one kind.

    The positives are those whose items these negatives have.
    """

    pairs: int
    roc_auc: float
    query_only: float | None


@dataclass(frozen=True)
class PeerAreas:
    """The areas of a peer that reads titles, and by how much the model's exceed them.

    ``differences`` are those of each setting, with paired intervals over items.
    """

    name: str
    estimates: MetricEstimates
    differences: dict[str, MetricEstimates]


@dataclass(frozen=True)
class MatchingReport:
    """ROC-AUC and PR-AUC of one model over held-out pairs, with 95% intervals over items.

    ``settings`` has the estimates for each of :data:`ITEM_VARIANTS`; ``query_only`` are those of
    the baseline that sees only the query, None without one. ``kinds`` has the figures by name of
    the negatives' kind, and ``against`` those of peers. A baseline that sees only the item would
    have a ROC-AUC of .5, since every negative has the item of a positive.
    """

    model: str
    items: int
    positive: int
    negative: int
    settings: dict[str, MetricEstimates]
    query_only: MetricEstimates | None = None
    kinds: dict[str, KindAreas] = field(default_factory=dict)
    against: tuple[PeerAreas, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        settings = {name: _plain(estimates) for name, estimates in self.settings.items()}
        return {
            "model": self.model,
            "items": self.items,
            "positive": self.positive,
            "negative": self.negative,
            "settings": settings,
            "query_only": None if self.query_only is None else _plain(self.query_only),
            "kinds": {name: dataclasses.asdict(areas) for name, areas in self.kinds.items()},
            "against": [
                {
                    "model": peer.name,
                    **_plain(peer.estimates),
                    "difference": {
                        name: _plain(estimates) for name, estimates in peer.differences.items()
                    },
                }
                for peer in self.against
            ],
        }

    def as_rows(self) -> list[list[str]]:
        """Return a table to print: the heading, a row per setting, then the baseline."""
        rows = [["item", "ROC-AUC", "95% interval", "PR-AUC", "95% interval"]]
        every_row = dict(self.settings)
        if self.query_only is not None:
            every_row["none: query only"] = self.query_only
        every_row |= {f"title: {peer.name}": peer.estimates for peer in self.against}
        for name, estimates in every_row.items():
            row = [name]
            for estimate in estimates.values():
                row += [f"{estimate.value:.3f}", f"{estimate.low:.3f}-{estimate.high:.3f}"]
            rows.append(row)
        return rows

    def difference_rows(self) -> list[list[str]]:
        """Return a table of what the model's areas exceed peers' by; a heading alone without."""
        rows = [["item", "against", "ROC-AUC", "95% interval", "PR-AUC", "95% interval"]]
        for peer in self.against:
            for setting, estimates in peer.differences.items():
                row = [setting, peer.name]
                for each in estimates.values():
                    row += [f"{each.value:+.3f}", f"{each.low:+.3f} to {each.high:+.3f}"]
                rows.append(row)
        return rows

    def kind_rows(self) -> list[list[str]]:
        """Return a second table: the heading, then a row per kind of negatives."""
        rows = [["negatives", "pairs", "ROC-AUC", "query only"]]
        for name, areas in self.kinds.items():
            query_only = "" if areas.query_only is None else f"{areas.query_only:.3f}"
            rows.append([name, f"{areas.pairs:,}", f"{areas.roc_auc:.3f}", query_only])
        return rows


def evaluate_matching(
    scorer: CellScorer,
    pair_builder: QueryPairBuilder,
    pairs: IntArray,
    *,
    baseline: QueryBaseline | None = None,
    peers: Sequence[TextPeer] = (),
    resamples: int = 1000,
    progress: ProgressCallback = no_progress,
) -> MatchingReport:
    """Score positive ``pairs`` [N] of the query log and as many negatives.

    The intervals come from resamples of whole items. ``baseline`` predicts from the query alone,
    and ``peers`` from the query and the title.
    """
    random = KeyedRandom(0)
    labels: list[bool] = []
    kinds: list[IntArray] = []
    baseline_scores: list[float] = []
    peer_scores: dict[str, list[float]] = {peer.name: [] for peer in peers}
    scores: dict[str, list[float]] = {name: [] for name in ITEM_VARIANTS}
    batch_items: list[IntArray] = []
    for start in range(0, len(pairs), PAIRS_PER_BATCH):
        positive = pairs[start : start + PAIRS_PER_BATCH]
        # Random numbers are keyed by the pairs, so that negatives do not depend on the batch size.
        queries = pair_builder.labelled_queries(positive, random)
        pieces = pair_builder.query_pieces(queries)
        # First come the queries of the positive pairs, then a negative for each, of the same item.
        item = np.tile(pair_builder.log.item[positive], 2)
        items = pair_builder.items(item)
        for name, modality in ITEM_VARIANTS.items():
            scores[name] += scorer.match_logits(items, pieces, modality).tolist()
        if baseline is not None:
            baseline_scores += baseline.score(queries.texts).tolist()
        for peer in peers:
            peer_scores[peer.name] += peer.score(queries.texts, item).tolist()
        kinds.append(np.tile(queries.kind, 2))
        labels += queries.label.tolist()
        batch_items.append(item)
        progress(min(start + PAIRS_PER_BATCH, len(pairs)), len(pairs))

    label = np.array(labels)
    item_group = np.unique(np.concatenate(batch_items), return_inverse=True)[1]
    query_only = None
    if baseline is not None:
        query_only = _area_estimates(np.array(baseline_scores), label, item_group, resamples)
    return MatchingReport(
        scorer.name,
        items=int(item_group.max()) + 1,
        positive=int(label.sum()),
        negative=int((~label).sum()),
        settings={
            name: _area_estimates(np.array(score), label, item_group, resamples)
            for name, score in scores.items()
        },
        query_only=query_only,
        kinds=_by_kind(
            np.concatenate(kinds),
            label,
            np.array(scores["whole"]),
            None if baseline is None else np.array(baseline_scores),
        ),
        against=tuple(
            PeerAreas(
                name,
                _area_estimates(np.array(theirs), label, item_group, resamples),
                {
                    setting: _area_differences(
                        np.array(ours), np.array(theirs), label, item_group, resamples
                    )
                    for setting, ours in scores.items()
                },
            )
            for name, theirs in peer_scores.items()
        ),
    )


def _plain(estimates: MetricEstimates) -> dict[str, dict[str, float | None]]:
    return {metric: estimate.as_dict() for metric, estimate in estimates.items()}


def _by_kind(
    kind: IntArray, label: BoolArray, score: FloatArray, baseline: FloatArray | None
) -> dict[str, KindAreas]:
    """Return the figures by the ``kind`` [2N] of the negatives; kinds with none are left out."""
    areas = {}
    for each in NegativeKind:
        own = kind == each
        negatives = own & ~label
        if negatives.any():
            areas[each.name.lower()] = KindAreas(
                pairs=int(negatives.sum()),
                roc_auc=roc_auc(score[own], label[own]),
                query_only=None if baseline is None else roc_auc(baseline[own], label[own]),
            )
    return areas


def _area_estimates(
    score: FloatArray, label: BoolArray, item_group: IntArray, resamples: int
) -> MetricEstimates:
    areas = resampled_areas(score, label, item_group, resamples)
    low, high = np.percentile(areas, (2.5, 97.5), axis=0)
    return {
        "roc_auc": Estimate(roc_auc(score, label), float(low[0]), float(high[0])),
        "pr_auc": Estimate(average_precision(score, label), float(low[1]), float(high[1])),
    }


def _area_differences(
    ours: FloatArray, theirs: FloatArray, label: BoolArray, item_group: IntArray, resamples: int
) -> MetricEstimates:
    """Return by how much the areas of ``ours`` [2N] exceed those of ``theirs`` [2N]."""
    # Each draws the same items in each resample.
    resampled = resampled_areas(ours, label, item_group, resamples)
    resampled = resampled - resampled_areas(theirs, label, item_group, resamples)
    low, high = np.percentile(resampled, (2.5, 97.5), axis=0)
    areas = {"roc_auc": roc_auc, "pr_auc": average_precision}
    return {
        name: Estimate(
            area(ours, label) - area(theirs, label), float(low[column]), float(high[column])
        )
        for column, (name, area) in enumerate(areas.items())
    }
