"""A second stage: it joins further sources of scores, such as a network, to the experts.

Of the experts' joined logit z_v of a value v, and the probabilities p_kv of those sources k that
answer for the cell, it makes the logit

    z'_v = z_v + sum_k (d_k z_v + a_k p_kv + c_k log p_kv),    a_k >= 0, c_k >= 0

All weights are near zero, where the experts speak alone: so is a source that has no answer. They
are shared by the properties in a *group* of situations, and those of each property are shrunk
towards these.

A source learned from most items, so the cells that tell its worth are those of items that it has
not learned from. They are few, and so are the weights. A source joins in a group only where that
raises the log-likelihood of cells that the weights were not fitted on, by more than its standard
error over at least 30 items. It is compared with the same fit without its a and c: else it would
join for its d alone, which tempers the experts, as their calibration does anyway. One that does not
help stays out, and :class:`SourceGain` says by how much.

Shapes: C cells, V values of a property, K shortlisted values, S sources, F = 3 S features.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp

from experts.situations import Situation, TitleState
from schema.arrays import BoolArray, FloatArray, IntArray
from schema.modalities import Modality
from schema.settings import shown

LEAST_PROBABILITY = 1e-3
"""Probabilities below it are raised to it before their logarithm is taken, so that no source alone
rules out a value."""
FITTED_VALUES = 24
"""The values of a cell that the weights are fitted on: those that are most probable by anyone."""
LEAST_ITEMS = 30
"""Items that have to tell whether a source helps; of fewer the standard error says too little."""
MAX_WEIGHT = 100.0
FORMAT_VERSION = 1
# Standard deviations of the weights d, a and c around zero, and of a property's around the shared.
_SHARED_DEVIATIONS = (0.5, 2.0, 0.5)
_OWN_DEVIATIONS = (0.1, 0.4, 0.1)
_WEIGHTS = len(_SHARED_DEVIATIONS)
# However many sources join, the experts keep some weight.
_MOST_TAKEN = 0.9
_STEPS = 100

Key = tuple[Situation, str]
"""A situation and a property."""


def group_of(situation: Situation) -> str:
    """Name the group of a situation: with and without other statements, the weights are shared."""
    if situation.title is TitleState.ABSENT and not situation.image:
        return str(Modality.STATEMENTS)
    return replace(situation, known=False).name


@dataclass(frozen=True)
class SourcedCells:
    """C cells of one property in one situation, whose items nothing here has learned from.

    ``logits`` [C, V] are the experts'; ``probabilities`` [S, C, V] are the sources', and NaN where
    one has no answer. ``true`` [C, V] are the item's values, ``item`` [C] is its number, and
    ``fold`` [C] is the same for all cells of an item.
    """

    logits: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    true: BoolArray
    item: IntArray
    fold: IntArray


@dataclass(frozen=True)
class SourceGain:
    """What a source adds to the log-likelihood of a cell in a group, in nats, and its ``error``.

    Both are over the ``items``, of which each counts once; ``beside`` are the sources that joined
    before it.
    """

    source: str
    group: str
    gain: float
    error: float
    items: int
    beside: tuple[str, ...] = ()

    @property
    def joins(self) -> bool:
        """Whether it adds more than the standard error, and enough items say so."""
        return self.items >= LEAST_ITEMS and self.gain > self.error


@dataclass(frozen=True)
class SecondStage:
    """The weights [S, 3] of the sources by group, and by group and property.

    A source that does not join in a group has weights of zero there. Where there are none for a
    group, the experts speak alone.
    """

    sources: tuple[str, ...]
    shared: Mapping[str, FloatArray]
    own: Mapping[tuple[str, str], FloatArray]
    gains: tuple[SourceGain, ...] = ()

    def joining(self, situation: Situation) -> list[int]:
        """Return the numbers of the sources that join in a situation."""
        shared = self.shared.get(group_of(situation))
        return [] if shared is None else np.flatnonzero(shared.any(1)).tolist()

    @property
    def joins_anywhere(self) -> bool:
        """Whether any source joins in any group."""
        return any(shared.any() for shared in self.shared.values())

    def join(
        self,
        situation: Situation,
        property: str,
        logits: NDArray[np.float32],
        probabilities: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """Return the joined logits of C cells.

        ``logits`` are the experts' [C, V], or [C, V + 1] with that of another value, which keeps
        its probability; ``probabilities`` [S, C, V] are as in :class:`SourcedCells`.
        """
        group = group_of(situation)
        shared = self.shared.get(group)
        weights = self.own.get((group, property), shared)
        if shared is None or weights is None or not shared.any():
            return logits
        values = probabilities.shape[2]
        own = logits[:, :values].astype(np.float64)
        joined = own + _features(own, probabilities) @ weights.ravel()
        joined += logsumexp(own, 1, keepdims=True) - logsumexp(joined, 1, keepdims=True)
        return np.concatenate([joined, logits[:, values:]], axis=1).astype(np.float32)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data, which :meth:`from_dict` reads."""
        properties: dict[str, dict[str, Any]] = defaultdict(dict)
        for (group, property), weights in sorted(self.own.items()):
            properties[group][property] = weights.tolist()
        return {
            "version": FORMAT_VERSION,
            "sources": list(self.sources),
            "groups": {
                group: {"shared": shared.tolist(), "properties": properties[group]}
                for group, shared in sorted(self.shared.items())
            },
            "gains": [
                {
                    "source": each.source,
                    "group": each.group,
                    "gain": round(each.gain, 6),
                    "error": round(each.error, 6),
                    "items": each.items,
                    "beside": list(each.beside),
                    "joins": each.joins,
                }
                for each in self.gains
            ],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SecondStage:
        """Read plain data; raises ValueError, KeyError, TypeError or AttributeError on any other.

        That is, on anything else than :meth:`as_dict` returns.
        """
        if data["version"] != FORMAT_VERSION:
            raise ValueError(f"version {shown(data['version'])} is not {FORMAT_VERSION}")
        sources = tuple(map(str, data["sources"]))
        shared = {}
        own = {}
        for group, found in data["groups"].items():
            shared[str(group)] = _checked_weights(found["shared"], len(sources))
            for property, weights in found["properties"].items():
                own[str(group), str(property)] = _checked_weights(weights, len(sources))
        gains = tuple(
            SourceGain(
                str(each["source"]),
                str(each["group"]),
                float(each["gain"]),
                float(each["error"]),
                int(each["items"]),
                tuple(map(str, each["beside"])),
            )
            for each in data["gains"]
        )
        return cls(sources, shared, own, gains)


@dataclass(frozen=True)
class FittedSecondStage:
    """A second stage, and the joined logits [C, V] of the cells that it was fitted on.

    Those of each fold come from weights that were fitted on the other folds. (The experts' logits
    of the cells in these are cross-fitted as well, so that few weights have seen the fold at all.)
    """

    stage: SecondStage
    held_out: dict[Key, NDArray[np.float32]]


def fit_second_stage(
    sources: Sequence[str], cells: Mapping[Key, SourcedCells]
) -> FittedSecondStage:
    """Decide in each group of situations which sources join, and fit their weights."""
    if not sources:
        alone = {key: each.logits for key, each in cells.items()}
        return FittedSecondStage(SecondStage((), {}, {}), alone)
    groups: dict[str, dict[Key, SourcedCells]] = defaultdict(dict)
    for key, each in sorted(cells.items(), key=lambda entry: entry[0]):
        groups[group_of(key[0])][key] = each
    shared: dict[str, FloatArray] = {}
    own: dict[tuple[str, str], FloatArray] = {}
    gains: list[SourceGain] = []
    held_out: dict[Key, NDArray[np.float32]] = {}
    for group, members in groups.items():
        fitting = _GroupFitting(tuple(sources), group, members)
        gains += fitting.choose()
        held_out |= fitting.cross_fitted()
        if fitting.chosen:
            weights = fitting.fit()
            shared[group] = weights.shared
            own |= {(group, property): each for property, each in weights.own.items()}
    return FittedSecondStage(SecondStage(tuple(sources), shared, own, tuple(gains)), held_out)


@dataclass(frozen=True)
class _Weights:
    """Weights [S, 3] that the properties share, and those of each."""

    shared: FloatArray
    own: dict[str, FloatArray]

    def of(self, property: str) -> FloatArray:
        return self.own.get(property, self.shared)


@dataclass(frozen=True)
class _Examples:
    """C cells of one property in a group, by their shortlisted values.

    ``base`` [C, K] are the experts' logits, ``features`` [C, K, F] what the weights multiply, and
    ``share`` [C] is by how much a cell counts: all cells of an item together count once. Cells
    whose values are not among the shortlisted ones are not among these.
    """

    base: FloatArray
    features: FloatArray
    true: BoolArray
    item: IntArray
    fold: IntArray
    share: FloatArray

    def select(self, mask: BoolArray) -> _Examples:
        return _Examples(
            self.base[mask],
            self.features[mask],
            self.true[mask],
            self.item[mask],
            self.fold[mask],
            self.share[mask],
        )

    def log_likelihood(self, weights: FloatArray) -> FloatArray:
        """Return that of each cell [C] by weights [F]."""
        return _log_likelihood(self.base + self.features @ weights, self.true)


class _GroupFitting:
    """The fit of one group of situations."""

    def __init__(
        self, sources: tuple[str, ...], group: str, members: Mapping[Key, SourcedCells]
    ) -> None:
        self.sources = sources
        self.group = group
        self.members = members
        self.folds = sorted({int(fold) for each in members.values() for fold in each.fold})
        parts: dict[str, list[_Examples]] = defaultdict(list)
        for (_, property), each in members.items():
            parts[property].append(_examples(each))
        self.examples = {name: _join(each) for name, each in parts.items()}
        self.chosen: tuple[int, ...] = ()
        self._fitted: dict[tuple[tuple[int, ...], int | None, int | None], _Weights] = {}

    def choose(self) -> list[SourceGain]:
        """Let sources join one by one, each time that which adds most; return what each adds."""
        joined: list[SourceGain] = []
        while True:
            rest = [number for number in range(len(self.sources)) if number not in self.chosen]
            gains = {number: self._gain(number) for number in rest}
            helping = [number for number in rest if gains[number].joins]
            if not helping:
                return joined + list(gains.values())
            best = max(helping, key=lambda number: gains[number].gain)
            joined.append(gains[best])
            self.chosen = tuple(sorted((*self.chosen, best)))

    def _gain(self, source: int) -> SourceGain:
        """Return what a source adds to those that are chosen, on cells that were not fitted on."""
        of_item: dict[int, list[float]] = defaultdict(list)
        with_it = tuple(sorted((*self.chosen, source)))
        for fold in self.folds:
            before = self.fit(with_it, fold, silent=source)
            after = self.fit(with_it, fold)
            for property, every in self.examples.items():
                part = every.select(every.fold == fold)
                difference = part.log_likelihood(after.of(property).ravel())
                difference -= part.log_likelihood(before.of(property).ravel())
                for item, each in zip(part.item.tolist(), difference.tolist(), strict=True):
                    of_item[item].append(each)
        means = np.array([np.mean(each) for each in of_item.values()])
        count = len(means)
        return SourceGain(
            source=self.sources[source],
            group=self.group,
            gain=float(means.mean()) if count else 0.0,
            error=float(means.std(ddof=1) / np.sqrt(count)) if count > 1 else 0.0,
            items=count,
            beside=tuple(self.sources[number] for number in self.chosen),
        )

    def cross_fitted(self) -> dict[Key, NDArray[np.float32]]:
        """Return the logits [C, V] of all cells, by the weights of the other folds."""
        found = {}
        for (situation, property), cells in self.members.items():
            logits = cells.logits.copy()
            for fold in self.folds if self.chosen else ():
                own = cells.fold == fold
                weights = self.fit(self.chosen, fold)
                stage = SecondStage(
                    self.sources,
                    {self.group: weights.shared},
                    {(self.group, name): each for name, each in weights.own.items()},
                )
                logits[own] = stage.join(
                    situation, property, cells.logits[own], cells.probabilities[:, own]
                )
            found[situation, property] = logits
        return found

    def fit(
        self,
        chosen: tuple[int, ...] | None = None,
        without: int | None = None,
        silent: int | None = None,
    ) -> _Weights:
        """Fit the weights of the chosen sources, ``without`` the cells of a fold.

        What a ``silent`` source says does not count, only whether it has an answer.
        """
        chosen = self.chosen if chosen is None else chosen
        key = (chosen, without, silent)
        if key not in self._fitted:
            self._fitted[key] = self._fit(chosen, without, silent)
        return self._fitted[key]

    def _fit(self, chosen: tuple[int, ...], without: int | None, silent: int | None) -> _Weights:
        nothing = np.zeros((len(self.sources), _WEIGHTS))
        if not chosen:
            return _Weights(nothing, {})
        examples = {
            property: each if without is None else each.select(each.fold != without)
            for property, each in self.examples.items()
        }
        examples = {property: each for property, each in examples.items() if len(each.base)}
        if not examples:
            return _Weights(nothing, {})
        shared = _maximise(
            list(examples.values()),
            chosen,
            nothing,
            np.array(_SHARED_DEVIATIONS),
            silent,
        )
        own = {
            property: _maximise([each], chosen, shared, np.array(_OWN_DEVIATIONS), silent)
            for property, each in examples.items()
        }
        return _Weights(shared, own)


def _features(logits: FloatArray, probabilities: NDArray[np.floating]) -> FloatArray:
    """Return what the weights multiply [C, V, F]; zero where a source has no answer."""
    features = []
    for source in probabilities.astype(np.float64):
        answers = ~np.isnan(source).any(1, keepdims=True)
        known = np.where(answers, source, 1.0)
        logarithm = np.log(np.maximum(known, LEAST_PROBABILITY))
        features += [np.where(answers, each, 0.0) for each in (logits, known, logarithm)]
    return np.stack(features, axis=2)


def _examples(cells: SourcedCells) -> _Examples:
    """Shortlist the values of cells by what the experts and the sources say of them."""
    logits = cells.logits[:, : cells.probabilities.shape[2]].astype(np.float64)
    true = cells.true[:, : logits.shape[1]]
    size = min(FITTED_VALUES, logits.shape[1])
    best = np.exp(logits - logsumexp(logits, 1, keepdims=True))
    for source in cells.probabilities:
        best = np.fmax(best, source)
    values = np.sort(np.argsort(-best, axis=1, kind="stable")[:, :size], axis=1)
    listed = np.take_along_axis(true, values, 1)
    base = np.take_along_axis(logits, values, 1)
    probabilities = np.take_along_axis(cells.probabilities, values[None], 2)
    every = _Examples(
        base,
        _features(base, probabilities),
        listed,
        cells.item,
        cells.fold,
        np.ones(len(base)),
    )
    return every.select(np.asarray(listed.any(1)))


def _join(parts: Sequence[_Examples]) -> _Examples:
    """Join cells of one property; the cells of an item share one vote."""
    joined = _Examples(
        np.concatenate([each.base for each in parts]),
        np.concatenate([each.features for each in parts]),
        np.concatenate([each.true for each in parts]),
        np.concatenate([each.item for each in parts]),
        np.concatenate([each.fold for each in parts]),
        np.zeros(0),
    )
    _, number, counts = np.unique(joined.item, return_inverse=True, return_counts=True)
    return replace(joined, share=1 / counts[number] if len(counts) else np.zeros(0))


def _log_likelihood(logits: FloatArray, true: BoolArray) -> FloatArray:
    only_true = np.where(true, logits, -np.inf)
    return np.asarray(logsumexp(only_true, axis=1) - logsumexp(logits, axis=1))


def _maximise(
    examples: Sequence[_Examples],
    chosen: tuple[int, ...],
    centre: FloatArray,
    deviations: FloatArray,
    silent: int | None,
) -> FloatArray:
    """Return the weights [S, 3] with the highest posterior likelihood; those not chosen are 0.

    The prior of each weight is normal around ``centre`` [S, 3], where the search begins. What a
    ``silent`` source says has no weight.
    """
    columns = np.concatenate([np.arange(_WEIGHTS) + _WEIGHTS * number for number in chosen])
    spread = np.tile(deviations, len(chosen))
    middle = centre.ravel()[columns]
    parts = [(each.base, each.features[:, :, columns], each.true, each.share) for each in examples]
    lowest = -_MOST_TAKEN / len(chosen)
    bounds = []
    for number in chosen:
        most = 0.0 if number == silent else MAX_WEIGHT
        bounds += [(lowest, MAX_WEIGHT), (0.0, most), (0.0, most)]

    def loss(weights: FloatArray) -> tuple[float, FloatArray]:
        """Return the negative log posterior, up to a constant, and its gradient."""
        distance = (weights - middle) / spread
        total = float(np.square(distance).sum()) / 2
        gradient = distance / spread
        for base, features, true, share in parts:
            logits = base + features @ weights
            every = np.exp(logits - logits.max(1, keepdims=True))
            every /= every.sum(1, keepdims=True)
            right = np.where(true, every, 0.0)
            likelihood = np.maximum(right.sum(1, keepdims=True), 1e-300)
            total -= float(share @ np.log(likelihood[:, 0]))
            by_logit = (every - right / likelihood) * share[:, None]
            gradient = gradient + np.tensordot(by_logit, features, axes=([0, 1], [0, 1]))
        return total, gradient

    result = minimize(
        loss,
        middle,
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": _STEPS},
    )
    weights = np.zeros(centre.size)
    weights[columns] = result.x
    return weights.reshape(centre.shape)


def _checked_weights(data: Any, sources: int) -> FloatArray:
    weights = np.array(data, dtype=np.float64)
    if weights.shape != (sources, _WEIGHTS) or not (np.abs(weights) <= MAX_WEIGHT).all():
        raise ValueError(f"the weights of {sources} sources are no {sources} times {_WEIGHTS}")
    return weights
