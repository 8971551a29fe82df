"""The stacker: a conditional logit over what the experts say of each value.

Of E experts with scores s, a value v of a shortlist has the logit (McFadden, 1974)

    z_v = sum_e (a_e s_ev + c_e log s_ev) + b_v

The weights a and c are fitted by property and situation. They are shrunk towards those that all
properties share in the situation, and the biases b towards zero, so that a property with few
labelled items takes those of the others.

Shapes: N cells, V values, E experts, K shortlisted values, D = 2 E features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from schema.arrays import BoolArray, FloatArray, IntArray
from schema.log_sums import log_sum_exp

SHORTLIST = 24
"""Values of a cell that the stacker ranks: those that the experts score highest on average."""
LEAST_SCORE = 3e-3
"""Scores below it are raised to it before their logarithm is taken: those of a ridge regression may
be negative."""
SHARED_PENALTY = 1e-4
OWN_PENALTY = 1e-3
BIAS_PENALTY = 1e-4
_LOGITS_TOGETHER = 1 << 22
_SHARED_STEPS = 40
_OWN_STEPS = 20
_START = (4.0, 0.3)
"""The sums of the weights of scores and of their logarithms from which the fit begins."""


@dataclass(frozen=True)
class Shortlists:
    """The experts' scores [N, K, E] of the shortlisted values of N cells, and these [N, K].

    The scores may have half precision: of a catalogue's cells in every situation there are hundreds
    of thousands.
    """

    scores: NDArray[np.floating]
    values: NDArray[np.int32]

    @property
    def features(self) -> NDArray[np.float32]:
        """The scores and their logarithms [N, K, D]."""
        scores = self.scores.astype(np.float32)
        return np.concatenate([scores, np.log(np.maximum(scores, LEAST_SCORE))], axis=2)

    @classmethod
    def of(cls, scores: NDArray[np.floating]) -> Shortlists:
        """Shortlist by scores [E, N, V]."""
        size = min(SHORTLIST, scores.shape[2])
        mean = scores.mean(0)
        if size < mean.shape[1]:
            chosen = np.argpartition(-mean, size - 1, axis=1)[:, :size]
        else:
            chosen = np.broadcast_to(np.arange(size), (len(mean), size))
        # By value, so that equal scores keep the vocabulary's order.
        chosen = np.sort(chosen, axis=1)
        own = np.take_along_axis(scores, chosen[None], axis=2).transpose(1, 2, 0)
        return cls(own, chosen.astype(np.int32))

    def select(self, index: IntArray | BoolArray | slice) -> Shortlists:
        """Return those of some cells."""
        return Shortlists(self.scores[index], self.values[index])


@dataclass(frozen=True)
class Weights:
    """The weights [D] of the features, and the biases [V] of the values.

    ``missed`` is the share of cells whose value is not on the shortlist, and ``rest`` [V] how that
    share is divided among the values that are not: by their frequency.
    """

    features: FloatArray
    biases: FloatArray
    missed: float
    rest: FloatArray

    def logits(self, shortlists: Shortlists) -> NDArray[np.float32]:
        """Return logits [N, V] of all values, whose exponentials sum to one."""
        logits = np.empty((len(shortlists.values), len(self.biases)), np.float32)
        size = max(1, _LOGITS_TOGETHER // len(self.biases))
        for start in range(0, len(logits), size):
            part = slice(start, start + size)
            logits[part] = self._logits(shortlists.select(part))
        return logits

    def _logits(self, shortlists: Shortlists) -> FloatArray:
        scores = shortlists.features @ self.features + self.biases[shortlists.values]
        scores -= log_sum_exp(scores)[:, None]
        count, size = shortlists.values.shape
        if size == len(self.biases):
            every = np.empty((count, size))
            np.put_along_axis(every, shortlists.values, scores, axis=1)
            return every
        every = np.broadcast_to(self.rest, (count, len(self.rest))).copy()
        np.put_along_axis(every, shortlists.values, 0.0, axis=1)
        every *= self.missed / np.maximum(every.sum(1, keepdims=True), 1e-12)
        logits = np.log(np.maximum(every, 1e-12))
        np.put_along_axis(logits, shortlists.values, scores + np.log1p(-self.missed), axis=1)
        return logits


@dataclass(frozen=True)
class Examples:
    """Cells with known values: their shortlists, which of these are true [N, K], and the rest.

    Of a cell of which one value was refused any other one may be true.

    ``has_value`` [N] says which cells have a value that the model knows, on the shortlist or not;
    ``weight`` [N] how much each cell counts.
    """

    shortlists: Shortlists
    true: BoolArray
    has_value: BoolArray
    weight: FloatArray

    @classmethod
    def of(
        cls,
        shortlists: Shortlists,
        true: BoolArray,
        has_value: BoolArray | None = None,
        weight: FloatArray | None = None,
    ) -> Examples:
        """Take the true ones of all values [N, V]; by default all cells with one count alike."""
        return cls(
            shortlists,
            np.take_along_axis(true, shortlists.values, axis=1),
            np.asarray(true.any(1)) if has_value is None else has_value,
            np.ones(len(true)) if weight is None else weight,
        )

    def __len__(self) -> int:
        return len(self.has_value)

    def select(self, index: IntArray | BoolArray) -> Examples:
        """Return those of some cells."""
        return Examples(
            self.shortlists.select(index),
            self.true[index],
            self.has_value[index],
            self.weight[index],
        )


def starting_weights(features: int) -> FloatArray:
    """Return the weights [D] that trust every expert alike."""
    half = features // 2
    scores, logarithms = _START
    return np.repeat([scores / half, logarithms / half], half)


@dataclass(frozen=True)
class _Cells:
    """What a conditional logit is fitted on: features [N, K, D], and which values are true [N, K].

    ``weight`` [N] says how much each cell counts, and ``present`` [N, K] which values there are.
    ``values`` [N, K] are their numbers among V, each of which has a bias; None for a fit without
    biases.
    """

    features: NDArray[np.float32]
    true: BoolArray
    weight: FloatArray
    present: BoolArray | None = None
    values: NDArray[np.int32] | None = None

    def with_true_value(self) -> _Cells:
        """Return the cells that have a true value; the others teach nothing."""
        found = self.true.any(1)
        return _Cells(
            self.features[found],
            self.true[found],
            self.weight[found],
            None if self.present is None else self.present[found],
            None if self.values is None else self.values[found],
        )


@dataclass(frozen=True)
class _Shrinkage:
    """How strongly weights are drawn towards a ``centre`` [D]."""

    centre: FloatArray
    penalty: float


def fit_shared(examples: Sequence[Examples]) -> FloatArray:
    """Fit the weights [D] that the properties share in a situation, without biases."""
    size = max(each.true.shape[1] for each in examples)
    width = 2 * examples[0].shortlists.scores.shape[2]
    features = []
    true = []
    present = []
    for each in examples:
        lacking = size - each.true.shape[1]
        features.append(np.pad(each.shortlists.features, ((0, 0), (0, lacking), (0, 0))))
        true.append(np.pad(each.true, ((0, 0), (0, lacking))))
        present.append(np.pad(np.ones_like(each.true), ((0, 0), (0, lacking))))
    weight = np.concatenate([each.weight for each in examples])
    cells = _Cells(np.concatenate(features), np.concatenate(true), weight, np.concatenate(present))
    towards_zero = _Shrinkage(np.zeros(width), SHARED_PENALTY)
    weights, _ = _fit(cells, starting_weights(width), np.zeros(0), towards_zero, _SHARED_STEPS)
    return weights


def fit_own(examples: Examples, shared: FloatArray, frequencies: FloatArray) -> Weights:
    """Fit the weights of one property, which are near those ``shared`` [D].

    ``frequencies`` [V] are those of its values.
    """
    found = examples.true.any(1)
    missed = examples.has_value & ~found
    shortlists = examples.shortlists
    cells = _Cells(shortlists.features, examples.true, examples.weight, values=shortlists.values)
    no_biases = np.zeros(len(frequencies))
    weights, biases = _fit(cells, shared, no_biases, _Shrinkage(shared, OWN_PENALTY), _OWN_STEPS)
    return Weights(
        features=weights,
        biases=biases,
        missed=_smoothed_share(int(missed.sum()), int(examples.has_value.sum())),
        rest=frequencies,
    )


def without_own(shared: FloatArray, frequencies: FloatArray) -> Weights:
    """Return the weights of a property with no labelled cell in a situation."""
    return Weights(shared, np.zeros(len(frequencies)), _smoothed_share(0, 0), frequencies)


def _smoothed_share(count: int, total: int) -> float:
    return (count + 0.5) / (total + 50)


def _fit(
    cells: _Cells, weights: FloatArray, biases: FloatArray, shrinkage: _Shrinkage, steps: int
) -> tuple[FloatArray, FloatArray]:
    """Maximise the mean log-likelihood of the true values, beginning with some weights [D].

    Returns weights [D] and biases [V]; without the numbers of values, ``biases`` stay as they are.
    """
    cells = cells.with_true_value()
    count, size, width = cells.features.shape
    if not count:
        return weights, biases
    flat = cells.features.reshape(-1, width).astype(np.float64)
    own = None if cells.values is None else cells.values.ravel()
    share = cells.weight[:, None] / cells.weight.sum()

    def loss(parameters: FloatArray) -> tuple[float, FloatArray]:
        """Return the penalised negative log-likelihood and its gradient."""
        weights = parameters[:width]
        biases = parameters[width:]
        scores = flat @ weights
        if own is not None:
            scores += biases[own]
        scores = scores.reshape(count, size)
        if cells.present is not None:
            scores[~cells.present] = -np.inf
        every = np.exp(scores - scores.max(1, keepdims=True))
        right = every * cells.true
        total = every.sum(1, keepdims=True)
        right_total = np.maximum(right.sum(1, keepdims=True), 1e-30)
        value = float(((np.log(total) - np.log(right_total)) * share).sum())
        by_score = ((every / total - right / right_total) * share).ravel()
        moved = weights - shrinkage.centre
        value += shrinkage.penalty * float(np.square(moved).sum())
        gradient = flat.T @ by_score + 2 * shrinkage.penalty * moved
        if own is None:
            return value, gradient
        value += BIAS_PENALTY * float(np.square(biases).sum())
        by_bias = np.bincount(own, by_score, minlength=len(biases)) + 2 * BIAS_PENALTY * biases
        return value, np.concatenate([gradient, by_bias])

    result = minimize(
        loss,
        np.concatenate([weights, biases]),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": steps},
    )
    return result.x[:width], result.x[width:]
