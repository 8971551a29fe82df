"""Properties that may have several values: how probable each one is, and which are still missing.

A scorer shares one probability out among a property's values. Of a property with several values
each has a probability of its own to be among them, so these need not sum to 1. It follows by a
logistic regression from the share p of the value,

    logit P(v is one of the values) = w_0 + w_1 logit p_v + w_2 [some values are known]

where p is divided by 1 - (the shares of the values that are known of the cell already), which are
no candidates. The weights of a property are fitted on held-out cells, once with no value of the
cell known, and once with some of them, drawn at random, or all: then no other value is right. What
precision a probability proves is tested like that of other cells (:mod:`serving.proof`), each of
the most probable values counting as a prediction.

Shapes: N cells, V values, K candidates of a cell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from schema.arrays import BoolArray, FloatArray, IntArray
from schema.errors import ModelError
from schema.ontology import Ontology, PropertySpec
from serving.cells import Prediction, predict
from serving.proof import JudgedCells, Proven, highest_precision, lowest_threshold, prove

if TYPE_CHECKING:
    from serving.calibration import Calibration, ScoredCells, ScoredGroups

CANDIDATES = 8
"""The most probable values of a cell that are looked at."""
MIN_CELLS = 30
"""Held-out cells of a property with several values from which on the others are asked for."""
MIN_PROBABILITY = 1e-6
_FOLDS = (0, 1)


def shares_without(predicted: FloatArray, known: BoolArray) -> FloatArray:
    """Return the shares [N, V] of the values that are not ``known`` [N, V] of a cell."""
    rest = np.where(known, 0.0, predicted)
    left = 1 - np.where(known, predicted, 0.0).sum(1, keepdims=True)
    return np.asarray(np.clip(rest / np.maximum(left, MIN_PROBABILITY), 0.0, 1.0))


def membership(weights: FloatArray, shares: FloatArray, some_known: BoolArray) -> FloatArray:
    """Return the probabilities [N, V] of being among a cell's values, given its shares [N, V].

    ``weights`` [3] are those of the module's equation, ``some_known`` [N] says of which cells a
    value is known.
    """
    odds = logit(np.clip(shares, MIN_PROBABILITY, 1 - MIN_PROBABILITY))
    return np.asarray(expit(weights[0] + weights[1] * odds + weights[2] * some_known[:, None]))


@dataclass(frozen=True)
class _Pairs:
    """The candidates [N, K] of N cells: their shares, and whether they are true."""

    shares: FloatArray
    right: BoolArray
    some_known: BoolArray
    item: IntArray
    fold: IntArray

    def features(self) -> FloatArray:
        """Return what the regression is fitted on, [N K, 2]."""
        odds = logit(np.clip(self.shares, MIN_PROBABILITY, 1 - MIN_PROBABILITY))
        known = np.broadcast_to(self.some_known[:, None], odds.shape)
        return np.column_stack([odds.ravel(), known.ravel()])

    def select(self, mask: BoolArray) -> _Pairs:
        return _Pairs(
            self.shares[mask],
            self.right[mask],
            self.some_known[mask],
            self.item[mask],
            self.fold[mask],
        )


def fit_several(
    groups: ScoredGroups,
    ontology: Ontology,
    temperature_of: Callable[[str, str], float],
    seed: int = 0,
) -> dict[str, Any]:
    """Fit the weights of properties with several values, and prove precisions of their candidates.

    ``temperature_of`` gives the temperature of a property in a situation. The result is plain data
    for ``calibration.json``.
    """
    rng = np.random.default_rng(seed)
    pairs: dict[str, dict[str, _Pairs]] = {}
    for group, cells in sorted(groups.items()):
        if ontology[group.property].cardinality == "many":
            temperature = temperature_of(group.situation, group.property)
            own = pairs.setdefault(group.property, {})
            own[group.situation] = _pairs(cells, temperature, rng)
    weights: dict[str, list[float]] = {}
    judged: dict[str, dict[str, JudgedCells]] = {}
    for name, by_situation in pairs.items():
        every = list(by_situation.values())
        if sum(int((each.right.sum(1) > 1).sum()) for each in every) < MIN_CELLS:
            continue
        weights[name] = _fit(every).tolist()
        by_fold = {
            fold: _fit([each.select(each.fold != fold) for each in every]) for fold in _FOLDS
        }
        for situation, of_situation in by_situation.items():
            judged.setdefault(situation, {})[name] = _judge(of_situation, by_fold)
    return {
        "weights": weights,
        "proven": {
            situation: {
                name: [[each.precision, each.probability, round(each.share, 6)] for each in steps]
                for name, steps in prove(own).items()
            }
            for situation, own in judged.items()
        },
    }


def _pairs(cells: ScoredCells, temperature: float, rng: np.random.Generator) -> _Pairs:
    """Return every cell's candidates twice: with nothing known of it, and with some values."""
    true = cells.true[:, : cells.values]
    has_value = true.any(1)
    true = true[has_value]
    predicted = predict(cells.logits[has_value], cells.values, temperature).candidates
    parts = []
    for known in (np.zeros_like(true), _some_of(true, rng)):
        shares = shares_without(predicted, known)
        order = np.argsort(-shares, axis=1, kind="stable")[:, :CANDIDATES]
        parts.append(
            _Pairs(
                np.take_along_axis(shares, order, 1),
                np.take_along_axis(true & ~known, order, 1),
                np.asarray(known.any(1)),
                cells.item[has_value],
                cells.fold[has_value],
            )
        )
    return _joined(parts)


def _some_of(true: BoolArray, rng: np.random.Generator) -> BoolArray:
    """Draw at least one of the true values [N, V] of every cell, at most all."""
    counts = true.sum(1)
    keys = np.where(true, rng.random(true.shape), 2.0)
    rank = keys.argsort(1).argsort(1)
    drawn = np.asarray(rank < rng.integers(1, counts + 1)[:, None])
    return drawn & true


def _joined(parts: Sequence[_Pairs]) -> _Pairs:
    return _Pairs(
        np.concatenate([each.shares for each in parts]),
        np.concatenate([each.right for each in parts]),
        np.concatenate([each.some_known for each in parts]),
        np.concatenate([each.item for each in parts]),
        np.concatenate([each.fold for each in parts]),
    )


def _fit(every: Sequence[_Pairs]) -> FloatArray:
    """Return the weights [3]; those that take a share for the probability if there is no choice."""
    features = np.concatenate([each.features() for each in every])
    right = np.concatenate([each.right.ravel() for each in every])
    if right.all() or not right.any():
        return np.array([0.0, 1.0, 0.0])
    fitted = LogisticRegression(C=10.0).fit(features, right)
    return np.array([fitted.intercept_[0], *fitted.coef_[0]])


def _judge(pairs: _Pairs, weights: Mapping[int, FloatArray]) -> JudgedCells:
    """Judge each candidate by weights that were fitted without its item."""
    probability = np.empty(pairs.shares.shape)
    for fold, own in weights.items():
        mask = pairs.fold == fold
        probability[mask] = membership(own, pairs.shares[mask], pairs.some_known[mask])
    item = np.broadcast_to(pairs.item[:, None], probability.shape)
    return JudgedCells(probability.ravel(), pairs.right.ravel(), item.ravel())


class SeveralValues:
    """What the calibration of a model says of properties with several values.

    Args:
        calibration: the content of ``calibration.json``

    Raises ModelError if that is damaged.
    """

    def __init__(self, calibration: Mapping[str, Any] | None) -> None:
        data = (calibration or {}).get("several", {"weights": {}, "proven": {}})
        try:
            self._weights = {
                str(name): np.array([float(each) for each in own]).reshape(3)
                for name, own in data["weights"].items()
            }
            self._proven = {
                (str(situation), str(name)): [Proven(*map(float, step)) for step in steps]
                for situation, own in data["proven"].items()
                for name, steps in own.items()
            }
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"what calibration.json says of several values is damaged ({str(error)[:100]}): "
                "restore the model folder from a copy, or train again"
            ) from None

    @property
    def properties(self) -> frozenset[str]:
        """The properties whose cells are asked although a value is known."""
        return frozenset(self._weights)

    def probabilities(self, property: str, predicted: FloatArray, known: BoolArray) -> FloatArray:
        """Return the probability [V] of each value to be among a cell's, besides those ``known``.

        ``predicted`` [V] are the shares of the property's values; ``known`` ones [V] get 0.
        """
        shares = shares_without(predicted[None], known[None])
        found = membership(self._weights[property], shares, np.array([known.any()]))[0]
        return np.where(known, 0.0, found)

    def predict(
        self, property: str, logits: NDArray[Any], temperature: float, known: BoolArray
    ) -> Prediction:
        """Return what logits [V] or [V + 1] mean, of values besides those ``known`` [V].

        The probabilities of the candidates need not sum to 1.
        """
        prediction = predict(logits, len(known), temperature)
        shares = self.probabilities(property, prediction.candidates, known)
        return Prediction(shares, prediction.other)

    def predict_to_decide(
        self,
        calibration: Calibration,
        situation: str,
        property: str,
        logits: NDArray[Any],
        proof: NDArray[Any] | None,
        known: BoolArray,
    ) -> Prediction:
        """Return the probabilities by which a cell is ranked and filled.

        They are those of the scores by which precision is proven, ``proof``, if these are others:
        how often the two agree is known of first values alone.
        """
        if proof is None:
            temperature = calibration.temperature(situation, property)
            return self.predict(property, logits, temperature, known)
        temperature = calibration.proving_temperature(situation, property)
        return self.predict(property, proof, temperature, known)

    def fills(
        self, situation: str, spec: PropertySpec, probabilities: FloatArray, target: float
    ) -> BoolArray:
        """Return which of a property's values [V] are filled, by their ``probabilities`` [V].

        A value that the model has not seen in training is not.
        """
        threshold = self.threshold(situation, spec.name, target)
        if threshold is None:
            return np.zeros(len(probabilities), bool)
        return np.asarray((probabilities >= threshold) & (np.array(spec.counts) > 0))

    def threshold(self, situation: str, property: str, target: float) -> float | None:
        """Return the probability from which on a value is right as often as the target says."""
        return lowest_threshold(self._proven.get((situation, property), ()), target)

    def proven_precision(self, situation: str, property: str, probability: float) -> float | None:
        """Return the highest precision that is proven from a lower probability on, or from it."""
        return highest_precision(self._proven.get((situation, property), ()), probability)
