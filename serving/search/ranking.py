"""The ranking: a weighted sum of features, whose weights are learned from rated or clicked queries.

Of two items that a query was rated for, the better one should have the higher score: a logistic
regression on the differences of their features (RankNet with a linear model). The weights are drawn
towards those that come with Catalograph, so that a few queries change them a little. Where nothing
was learned of how much a ranking counts beside another, as by images, their reciprocal ranks are
added (Cormack et al. 2009).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from schema.arrays import FloatArray, IntArray
from schema.documents import parse_json_object
from schema.errors import DataError
from schema.files import write_atomically
from serving.search.features import WORD_FEATURES, FeatureMatrix, Features

VECTOR_FEATURE = "meaning"
MATCH_FEATURE = "match"
VECTOR_SCALE = 5.0
"""Cosines of a query with items vary by a tenth or two, other features from 0 to 1."""
FEATURES = (*WORD_FEATURES, VECTOR_FEATURE)
NETWORK_FEATURES = (*FEATURES, MATCH_FEATURE)
MATCH_PRIOR = 0.5
"""What the weight of a network's cosines is drawn towards, as ``PRIOR`` has it for meanings."""
RANK_CONSTANT = 60
"""The usual constant of reciprocal rank fusion."""
STRENGTH = 0.1
"""The inverse of the penalty on weights that differ from those that they are drawn towards."""
FILE = "weights.json"


@dataclass(frozen=True)
class Weights:
    """Weights of the features: without vectors, with a text encoder's, and with a network's.

    The last are there only if they were learned; they count meanings, too, if there are any.
    """

    words: tuple[float, ...]
    with_vectors: tuple[float, ...]
    with_network: tuple[float, ...] | None = None

    def score(self, features: Features) -> FloatArray:
        """Return the scores [N] between 0 and 1 of N items, the best of a query's readings.

        Without a learned weight of a network's vectors, its ranks and those by all else are fused:
        then a score depends on which other items there are.
        """
        if features.match is None:
            return self._sum(features)
        if self.with_network is None:
            by_others = self._sum(Features(features.words, features.meaning))
            return fused_ranks([by_others, features.match])
        return self._sum(features)

    def _sum(self, features: Features) -> FloatArray:
        chosen = self.words if features.meaning is None else self.with_vectors
        if features.match is not None and self.with_network is not None:
            chosen = self.with_network
        weights = np.array(chosen)
        own = weights[: len(WORD_FEATURES)]
        scores: FloatArray = np.max([matrix @ own for matrix in features.words], axis=0)
        # The greatest sum possible, nearly, is 1, so that scores of different queries compare.
        total = own.sum()
        of_vectors = (features.meaning, features.match)
        for weight, cosines in zip(weights[len(WORD_FEATURES) :], of_vectors, strict=False):
            if cosines is not None:
                scores = scores + weight * VECTOR_SCALE * cosines
                total += weight * VECTOR_SCALE
        return scores / total

    def as_dict(self) -> dict[str, dict[str, float]]:
        """Return plain data."""
        found = {
            "words": dict(zip(WORD_FEATURES, self.words, strict=True)),
            "with_vectors": dict(zip(FEATURES, self.with_vectors, strict=True)),
        }
        if self.with_network is not None:
            found["with_network"] = dict(zip(NETWORK_FEATURES, self.with_network, strict=True))
        return found


def fused_ranks(scores: Sequence[FloatArray]) -> FloatArray:
    """Return how well items [N] are ranked by several scores [N], NaN for what one does not rank.

    It is the mean of (k + 1) / (k + rank), with k = ``RANK_CONSTANT``: 1 for what is first by all
    scores, and 0 for what none ranks. Of equal scores the first comes first.
    """
    total = np.zeros(len(scores[0]))
    for each in scores:
        ranked = np.flatnonzero(~np.isnan(each))
        order = ranked[np.argsort(-each[ranked], kind="stable")]
        total[order] += (RANK_CONSTANT + 1) / (RANK_CONSTANT + 1 + np.arange(len(order)))
    return total / len(scores)


PRIOR = Weights(
    words=(0.3, 0.3, 0.1, 0.3, 0.3, 0.3, 0.5),
    with_vectors=(0.3, 0.3, 0.1, 0.3, 0.3, 0.3, 0.5, 0.5),
)
"""Weights before anything was learned."""
DEFAULT = Weights(
    words=(0.43, 0.54, 0.08, 0.49, 0.54, 0.7, 0.52),
    with_vectors=(0.33, 0.4, 0.07, 0.38, 0.41, 0.57, 0.52, 0.91),
)
"""What a search begins with; docs/search.md says how they were learned."""


def read_weights(folder: Path) -> Weights:
    """Return the weights that were learned for an index; DEFAULT if none were."""
    path = folder / FILE
    if not path.is_file():
        return DEFAULT
    try:
        document = parse_json_object(path.read_bytes())
        network = document.get("with_network")
        return Weights(
            tuple(_number(document["words"], name) for name in WORD_FEATURES),
            tuple(_number(document["with_vectors"], name) for name in FEATURES),
            None if network is None else tuple(_number(network, name) for name in NETWORK_FEATURES),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} has no weights ({error}): remove it, or learn them anew with "
            "`catalograph index --learn FILE`"
        ) from None


def _number(weights: Mapping[str, object], name: str) -> float:
    value = weights[name]
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name} is {value!r}")
    return float(value)


def write_weights(folder: Path, weights: Weights) -> None:
    """Keep weights for an index."""
    import json

    write_atomically(folder / FILE, json.dumps(weights.as_dict(), indent=1))


@dataclass(frozen=True)
class RatedQuery:
    """The features [N, F] of a query's N items, and their ratings [N]."""

    features: FeatureMatrix
    rating: IntArray


def learn(queries: Sequence[RatedQuery], towards: Sequence[float]) -> FloatArray:
    """Return weights [F] learned from queries, drawn ``towards`` others.

    Every query counts the same, and a pair of its items by the difference of their gains.
    """
    from scipy.optimize import minimize

    prior = np.array(towards)
    parts = [_pairs(query) for query in queries]
    differences = np.concatenate([np.zeros((0, len(prior))), *(each for each, _ in parts)])
    share = np.concatenate([np.zeros(0), *(each for _, each in parts)])
    if not len(share):
        return prior

    def loss(weights: FloatArray) -> tuple[float, FloatArray]:
        margin = differences @ weights
        away = weights - prior
        value = share @ np.logaddexp(0, -margin) + away @ away / (2 * STRENGTH)
        slope = -share / (1 + np.exp(np.minimum(margin, 500)))
        return float(value), differences.T @ slope + away / STRENGTH

    found = minimize(loss, prior, jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(prior))
    return np.asarray(found.x)


def _pairs(query: RatedQuery) -> tuple[FeatureMatrix, FloatArray]:
    """Return the differences [P, F] of better and worse items, and their weights [P]."""
    better, worse = np.nonzero(query.rating[:, None] > query.rating[None])
    gain = 2.0 ** query.rating[better] - 2.0 ** query.rating[worse]
    total = gain.sum()
    share = gain / total if total else gain
    return query.features[better] - query.features[worse], share
