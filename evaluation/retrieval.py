"""Evaluate search: are the items that people rated best for a query ranked first?

Only rated items are ranked: what nobody has judged says nothing for or against a ranking. Queries
for which no item is rated better than 0 are left out, since every ranking of theirs is the same.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluation.metrics import Estimate, MetricEstimates, resample
from schema.arrays import FloatArray, IntArray
from schema.errors import DataError
from serving.search.features import Features
from serving.search.ranking import PRIOR, Weights, fused_ranks
from serving.search.ratings import Rateable, learn_weights
from serving.search.searcher import Searcher

DEPTH = 10
"""Ranks that NDCG@10 and recall@10 look at."""
RELEVANT = 2
"""From this rating on an item counts as relevant for MRR and recall."""
METRICS = ("ndcg@10", "mrr", "recall@10")


def ndcg(rating: IntArray, depth: int = DEPTH) -> float:
    """Return the normalised discounted cumulative gain of ratings [N] in their ranked order.

    The gain of a rating r at rank k (from 1) is (2^r - 1) / log2(k + 1); NaN without a positive.
    """
    best = _gain(np.sort(rating)[::-1], depth)
    return _gain(rating, depth) / best if best else math.nan


def _gain(rating: IntArray, depth: int) -> float:
    top = rating[:depth]
    return float(((2.0**top - 1) / np.log2(np.arange(len(top)) + 2)).sum())


def reciprocal_rank(rating: IntArray) -> float:
    """Return 1 / the rank of the first relevant item; NaN if there is none."""
    places = np.flatnonzero(rating >= RELEVANT)
    return 1.0 / (places[0] + 1) if len(places) else math.nan


def recall(rating: IntArray, depth: int = DEPTH) -> float:
    """Return the share of the relevant items, at most ``depth``, that are ranked first."""
    relevant = int((rating >= RELEVANT).sum())
    if not relevant:
        return math.nan
    return float((rating[:depth] >= RELEVANT).sum() / min(relevant, depth))


Ranker = Callable[[str, Sequence[str]], FloatArray]
"""Scores items [N], given by their ids, for a query."""


@dataclass(frozen=True)
class RetrievalReport:
    """The metrics of each way to rank, with 95% intervals over queries.

    ``differences`` are those of NDCG@10 to BM25 alone, paired by query. ``by_query`` has the
    NDCG@10 of the home's own ranking; ``left_out`` counts ratings and queries by the reason.
    """

    queries: int
    ratings: int
    rankings: dict[str, MetricEstimates]
    differences: dict[str, Estimate]
    by_query: dict[str, float]
    left_out: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            **dataclasses.asdict(self),
            "rankings": {
                name: {metric: each.as_dict() for metric, each in estimates.items()}
                for name, estimates in self.rankings.items()
            },
            "differences": {name: each.as_dict() for name, each in self.differences.items()},
            "by_query": {name: round(value, 6) for name, value in self.by_query.items()},
        }

    def as_rows(self) -> list[list[str]]:
        """Return a table to print: the heading, then a row for each ranking."""
        rows = [["ranking", "NDCG@10", "95% interval", "MRR", "recall@10", "against BM25"]]
        for name, estimates in self.rankings.items():
            first = estimates["ndcg@10"]
            difference = self.differences.get(name)
            rows.append(
                [
                    name,
                    f"{first.value:.3f}",
                    f"{first.low:.3f}-{first.high:.3f}",
                    f"{estimates['mrr'].value:.3f}",
                    f"{estimates['recall@10'].value:.3f}",
                    ""
                    if difference is None
                    else f"{difference.value:+.3f} ({difference.low:+.3f} to "
                    f"{difference.high:+.3f})",
                ]
            )
        return rows


def evaluate_retrieval(
    searcher: Searcher,
    rated: Rateable,
    *,
    folds: int = 0,
    others: Mapping[str, Ranker] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> RetrievalReport:
    """Rank the rated items of each query, and say how well.

    With ``folds``, also by weights that are learned from the other folds of the queries; and by
    ``others``, such as the match probabilities of a network. Raises
    DataError if no query has an item that is rated better than 0.
    """
    usable = {
        query: items for query, items in rated.ratings.items() if max(items.values(), default=0) > 0
    }
    if not usable:
        raise DataError("no query has an indexed item that is rated better than 0: rate more")
    features = {query: searcher.features(query, sorted(items)) for query, items in usable.items()}
    rankings = _rankings(
        searcher.weights,
        any(each.meaning is not None for each in features.values()),
        any(each.match is not None for each in features.values()),
    )
    scores = {
        name: {query: rank(features[query]) for query in usable} for name, rank in rankings.items()
    }
    if folds > 1:
        scores["cross-validated"] = _cross_validated(searcher, usable, folds, seed)
    for name, ranker in (others or {}).items():
        scores[name] = {query: ranker(query, sorted(items)) for query, items in usable.items()}
    values = {
        name: np.array([_metrics(usable[query], own[query]) for query in usable])
        for name, own in scores.items()
    }
    draws = list(resample(len(usable), resamples, seed))
    return RetrievalReport(
        queries=len(usable),
        ratings=sum(map(len, usable.values())),
        rankings={
            name: {metric: _estimate(own[:, place], draws) for place, metric in enumerate(METRICS)}
            for name, own in values.items()
        },
        differences={
            name: _estimate(own[:, 0] - values["BM25"][:, 0], draws)
            for name, own in values.items()
            if name != "BM25"
        },
        by_query=dict(zip(usable, values["ranked"][:, 0].tolist(), strict=True)),
        left_out={
            "ratings of unknown items": rated.unknown_items,
            "queries without words": rated.without_words,
            "queries without a positive": len(rated.ratings) - len(usable),
        },
    )


Rank = Callable[[Features], FloatArray]
"""Scores N items by their features."""


def _rankings(weights: Weights, has_meaning: bool, has_match: bool) -> dict[str, Rank]:
    """Return the ways to rank that are compared."""

    def bm25(features: Features) -> FloatArray:
        return features.words[0][:, 0]

    rankings: dict[str, Rank] = {"ranked": weights.score}
    if has_meaning or has_match:
        rankings["words only"] = lambda features: weights.score(Features(features.words))
    if has_meaning:
        rankings["vectors only"] = lambda features: _given(features.meaning, features)
        rankings["reciprocal ranks"] = lambda features: fused_ranks(
            [bm25(features), _given(features.meaning, features)]
        )
    if has_match:
        rankings["network's vectors only"] = lambda features: _given(features.match, features)
    rankings["BM25"] = bm25
    return rankings


def _given(cosines: FloatArray | None, features: Features) -> FloatArray:
    return np.zeros(features.count) if cosines is None else cosines


def _cross_validated(
    searcher: Searcher, usable: dict[str, dict[str, int]], folds: int, seed: int
) -> dict[str, FloatArray]:
    """Return scores of weights that have not seen the query; they begin with equal ones."""
    order = np.random.default_rng(seed).permutation(len(usable))
    names = list(usable)
    scores: dict[str, FloatArray] = {}
    for fold in range(folds):
        held_out = {names[place] for place in order[fold::folds]}
        others = [name for name in names if name not in held_out]
        weights = learn_weights(searcher, usable, PRIOR, others).weights
        for name in held_out:
            scores[name] = weights.score(searcher.features(name, sorted(usable[name])))
    return scores


def _metrics(rated: dict[str, int], score: FloatArray) -> tuple[float, float, float]:
    """Return the metrics of one query; items of equal scores are in the order of their ids."""
    rating = np.array([rated[item] for item in sorted(rated)], np.int64)
    ranked = rating[np.argsort(-score, kind="stable")]
    return ndcg(ranked), reciprocal_rank(ranked), recall(ranked)


def _estimate(values: FloatArray, draws: Sequence[FloatArray]) -> Estimate:
    """Return the mean of values [Q] without NaN, with the interval of resampled queries."""
    present = ~np.isnan(values)
    if not present.any():
        return Estimate(math.nan, math.nan, math.nan)
    filled = np.where(present, values, 0.0)
    means = [
        float(each @ filled / (each @ present))
        for counts in draws
        for each in counts
        if each @ present > 0
    ]
    low, high = np.percentile(means, [2.5, 97.5])
    return Estimate(float(values[present].mean()), float(low), float(high))
