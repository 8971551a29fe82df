"""Calibrate a model: from logits to probabilities and decision thresholds.

Every known cell of the validation items is hidden in turn and predicted in every *situation* that
its item allows: with and without the title, with and without the image, with and without the
item's other statements. Where statements are used, half of the cells get all of them and the other
half a random subset, as in a catalogue with gaps. Situations are calibrated separately, so that a
cell of an item without an image is judged by cells without an image.

**Temperatures** (temperature scaling, Guo et al. 2017) minimise the negative log-likelihood. A few
cells must not move them far, so their logarithms have normal priors: a property's is centred on its
situation's temperature, and a situation's on the global one.

**Thresholds** are read from precision curves: points (probability, predictions at or above it,
wrong ones among them). The curves are cross-fitted: each item is scored with the temperatures that
the other half of the items gave.

The result is plain data for ``calibration.json``, which :class:`Calibration` reads.
"""

from __future__ import annotations

import itertools
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import betaincinv, logsumexp

from fusion.inference.featurizer import ItemInput
from fusion.inference.scorer import CellQuery
from schema.arrays import BoolArray, FloatArray, IntArray
from schema.errors import ModelError
from schema.progress import ProgressCallback, no_progress
from schema.settings import shown
from schema.shares import ShareOut, compute_all
from serving.cells import Scorer, probabilities, score_in_chunks, situation_of

FORMAT_VERSION = 1
TARGET_PRECISION = 0.99
CONFIDENCE = 0.95
"""Confidence of the one-sided Clopper-Pearson bound that a threshold has to pass."""
MAX_CALIBRATION_ITEMS = 2000
"""The most validation items that are used: enough to prove a precision of 0.998."""
MIN_TEMPERATURE = 1e-3
MAX_COUNT = 1e15
_CALIBRATION_BATCH = 32  # items; each of them is encoded once per subset of its modalities
# Standard deviations of a log temperature: factors of 1.65 and 1.35.
_SITUATION_PRIOR_DEVIATION = 0.5
_PROPERTY_PRIOR_DEVIATION = 0.3
# Temperatures from 0.08 to 12.2.
_LOG_TEMPERATURE_BOUNDS = (-2.5, 2.5)
_FOLDS = (0, 1)


@dataclass(frozen=True, order=True)
class CellGroup:
    """The cells of one property in one situation, which share a temperature and a curve."""

    situation: str
    property: str


@dataclass(frozen=True)
class ScoredCells:
    """N hidden cells of one group: ``logits`` [N, V], ``true`` [N, V] bool, ``fold`` [N] 0 or 1.

    ``true`` has several true values in a row if the cell has several, and none if the model knows
    none of them.
    """

    logits: NDArray[np.float32]
    true: BoolArray
    fold: IntArray

    def select(self, mask: BoolArray) -> ScoredCells:
        """Return the cells that ``mask`` [N] selects."""
        return ScoredCells(self.logits[mask], self.true[mask], self.fold[mask])


def calibrate(
    scorer: Scorer,
    items: Sequence[ItemInput],
    *,
    seed: int = 0,
    progress: ProgressCallback = no_progress,
    share_out: ShareOut = compute_all,
) -> dict[str, Any]:
    """Fit temperatures and precision curves on validation items, whose statements are the truth.

    With ``share_out`` several processes score a share of the items each, and one of them fits; all
    get the result.
    """
    groups = score_hidden_cells(scorer, items, seed=seed, progress=progress, share_out=share_out)
    (fitted,) = share_out([groups], lambda scored: fit_calibration(scored, items))
    return fitted


def fit_calibration(
    groups: dict[CellGroup, ScoredCells], items: Sequence[object]
) -> dict[str, Any]:
    """Fit temperatures and precision curves on the scored cells of ``items``."""
    temperatures_without_fold = {
        fold: _fit_temperatures(
            {group: cells.select(cells.fold != fold) for group, cells in groups.items()}
        )
        for fold in _FOLDS
    }
    curves: dict[str, dict[str, list[list[float]]]] = defaultdict(dict)
    for group, cells in groups.items():
        temperatures = {
            fold: _temperature_of(fitted, group.situation, group.property)
            for fold, fitted in temperatures_without_fold.items()
        }
        # With temperatures fitted on the same cells, the curve would look better than it is.
        curves[group.situation][group.property] = _cross_fitted_curve(cells, temperatures)

    return {
        "version": FORMAT_VERSION,
        "confidence": CONFIDENCE,
        "items": min(len(items), MAX_CALIBRATION_ITEMS),
        "cells": sum(len(cells.fold) for cells in groups.values()),
        "temperatures": _fit_temperatures(groups),
        "curves": dict(curves),
    }


@dataclass(frozen=True)
class ScoredCell:
    """One hidden cell: its ``logits`` [V], its ``true`` values [V], and its ``fold``."""

    group: CellGroup
    logits: NDArray[np.float32]
    true: BoolArray
    fold: int


@dataclass
class _GroupBuilder:
    """Rows of one group while batches of items are scored."""

    logits: list[NDArray[np.float32]] = field(default_factory=list)
    true: list[BoolArray] = field(default_factory=list)
    fold: list[int] = field(default_factory=list)

    def build(self) -> ScoredCells:
        """Stack the rows."""
        return ScoredCells(np.stack(self.logits), np.stack(self.true), np.array(self.fold))


def score_hidden_cells(
    scorer: Scorer,
    items: Sequence[ItemInput],
    *,
    seed: int = 0,
    progress: ProgressCallback = no_progress,
    share_out: ShareOut = compute_all,
) -> dict[CellGroup, ScoredCells]:
    """Hide and predict every known cell in every situation that its item allows.

    With ``share_out`` several processes score a share of the items each; all get the result.
    """
    # By a hash of the id, so that the choice does not depend on the order of the items.
    chosen = sorted(items, key=lambda item: zlib.crc32(item.id.encode()))[:MAX_CALIBRATION_ITEMS]

    def score(start: int) -> list[ScoredCell]:
        # Random numbers of its own, so that a part does not depend on those before it.
        rng = np.random.default_rng((seed, start))
        batch = chosen[start : start + _CALIBRATION_BATCH]
        variants = [variant for item in batch for variant in _modality_subsets(item)]
        cells = [
            cell
            for index, variant in enumerate(variants)
            for cell in _hidden_cells(scorer, index, variant, rng)
        ]
        logits = score_in_chunks(scorer, scorer.encode(variants), cells)
        progress(min(start + _CALIBRATION_BATCH, len(chosen)), len(chosen))
        return [
            ScoredCell(
                group=CellGroup(situation_of(variants[cell.item], cell), cell.property),
                logits=row,
                true=_true_values(scorer, variants[cell.item], cell.property),
                # By a hash of the id, too: all cells of an item share a fold.
                fold=zlib.crc32(b"fold " + variants[cell.item].id.encode()) & 1,
            )
            for cell, row in zip(cells, logits, strict=True)
        ]

    builders: dict[CellGroup, _GroupBuilder] = defaultdict(_GroupBuilder)
    for part in share_out(range(0, len(chosen), _CALIBRATION_BATCH), score):
        for cell in part:
            builder = builders[cell.group]
            builder.logits.append(cell.logits)
            builder.true.append(cell.true)
            builder.fold.append(cell.fold)
    return {group: builder.build() for group, builder in sorted(builders.items())}


def _modality_subsets(item: ItemInput) -> Iterator[ItemInput]:
    """Yield the item with every subset of its content modalities, the whole item first.

    These are 2^n variants for n modalities: four with title and image. With many more modalities,
    draw the subsets at random.
    """
    present = item.content_modalities()
    for kept in itertools.product((True, False), repeat=len(present)):
        variant = item
        for modality, keep in zip(present, kept, strict=True):
            if not keep:
                variant = variant.without(modality)
        yield variant


def _hidden_cells(
    scorer: Scorer, index: int, item: ItemInput, rng: np.random.Generator
) -> Iterator[CellQuery]:
    """Yield each known cell of the item without statements, then with some of the others."""
    for name in dict.fromkeys(name for name, _ in item.known):
        if not (name in scorer.ontology.properties and scorer.ontology.values_of(name)):
            continue
        yield CellQuery(index, name)

        others = [statement for statement in item.known if statement[0] != name]
        if not others:
            continue
        if rng.random() < 0.5:
            kept = rng.permutation(len(others))[: rng.integers(1, len(others) + 1)]
            others = [others[position] for position in sorted(kept)]
        yield CellQuery(index, name, tuple(others))


def _true_values(scorer: Scorer, item: ItemInput, property: str) -> BoolArray:
    """Mark the item's own values among the property's values [V]."""
    spec = scorer.ontology[property]
    true = {spec.position(value) for name, value in item.known if name == property}
    return np.array([position in true for position in range(len(spec.values))])


def _fit_temperatures(groups: dict[CellGroup, ScoredCells]) -> dict[str, Any]:
    """Fit a ``global`` temperature, and per situation one for ``all`` and for each property."""
    overall = fit_temperature(groups.values())
    situations: dict[str, Any] = {}
    for situation in dict.fromkeys(group.situation for group in groups):
        by_property = {
            group.property: cells for group, cells in groups.items() if group.situation == situation
        }
        centre = fit_temperature(by_property.values(), overall, _SITUATION_PRIOR_DEVIATION)
        fitted = {
            name: fit_temperature([cells], centre, _PROPERTY_PRIOR_DEVIATION)
            for name, cells in by_property.items()
        }
        situations[situation] = {"all": centre, "properties": fitted}
    return {"global": overall, "situations": situations}


def fit_temperature(
    groups: Iterable[ScoredCells], centre: float = 1.0, deviation: float = 1.0
) -> float:
    """Return the temperature with the highest posterior likelihood.

    The prior of its logarithm is normal around log ``centre``. Only cells with a true value that
    the model knows count; the probabilities of several true values are added.
    """
    answerable = [cells.select(np.asarray(cells.true.any(1))) for cells in groups]
    # With a single value the likelihood is 1 at any temperature.
    answerable = [cells for cells in answerable if len(cells.fold) and cells.logits.shape[1] > 1]
    if not answerable:
        return centre

    def loss(log_temperature: float) -> float:
        """Return the negative log posterior, up to a constant."""
        # The prior's part: a normal distribution of the log temperature around log centre.
        total = ((log_temperature - np.log(centre)) / deviation) ** 2 / 2
        for cells in answerable:
            scaled = cells.logits.astype(np.float64) / np.exp(log_temperature)
            only_true = np.where(cells.true, scaled, -1e9)
            total += float((logsumexp(scaled, axis=1) - logsumexp(only_true, axis=1)).sum())
        return float(total)

    optimum = minimize_scalar(
        loss, bounds=_LOG_TEMPERATURE_BOUNDS, method="bounded", options={"xatol": 1e-3}
    )
    return float(np.exp(optimum.x))


def _cross_fitted_curve(cells: ScoredCells, temperatures: dict[int, float]) -> list[list[float]]:
    """Return the precision curve of the best candidates, with the temperature of each fold."""
    confidence = []
    correct = []
    for fold, temperature in temperatures.items():
        part = cells.select(cells.fold == fold)
        rows = np.arange(len(part.fold))
        best = part.logits.argmax(1)
        confidence.append(probabilities(part.logits, temperature)[rows, best])
        correct.append(part.true[rows, best])
    return precision_curve(np.concatenate(confidence), np.concatenate(correct))


def precision_curve(confidence: FloatArray, correct: BoolArray) -> list[list[float]]:
    """Return points [probability, predictions at or above it, wrong ones among them].

    Probabilities fall from point to point. A point whose precision bound a lower probability also
    reaches is left out: no target would ever choose it as the threshold.
    """
    order = np.argsort(-confidence, kind="stable")
    descending = confidence[order]
    wrong = (~correct[order]).cumsum()
    # Equal probabilities are accepted or refused together, so only the last of them is a point.
    last_of_ties = np.append(descending[1:] != descending[:-1], True)[: len(descending)]

    points: list[list[float]] = []
    best_bound = 0.0
    for position in np.flatnonzero(last_of_ties)[::-1].tolist():
        bound = precision_bound(position + 1, int(wrong[position]))
        if bound > best_bound:
            best_bound = bound
            points.append([float(descending[position]), position + 1, int(wrong[position])])
    return points[::-1]


def precision_bound(count: int, wrong: int, confidence: float = CONFIDENCE) -> float:
    """Return the one-sided Clopper-Pearson lower bound of the precision.

    ``wrong`` of ``count`` predictions were wrong. Written out, because ``scipy.stats.binomtest``
    takes a single count, and slowly: a curve needs thousands of bounds.
    """
    right = count - wrong
    # The bound p solves P(X >= right | count, p) = 1 - confidence for a binomial X, which is a
    # quantile of the Beta distribution with parameters right and wrong + 1.
    return float(betaincinv(right, wrong + 1, 1 - confidence)) if right > 0 else 0.0


def _temperature_of(temperatures: dict[str, Any], situation: str, property: str) -> float:
    """Look up a property's temperature, falling back on its situation's and on the global one."""
    fitted = temperatures["situations"].get(situation)
    if fitted is None:
        return float(temperatures["global"])
    return float(fitted["properties"].get(property, fitted["all"]))


class Calibration:
    """The temperatures and thresholds of a model, from the data that :func:`calibrate` returned.

    None stands for a model that was never calibrated: its temperatures are 1, and it has no proven
    thresholds.
    """

    def __init__(self, data: dict[str, Any] | None) -> None:
        data = data or {
            "version": FORMAT_VERSION,
            "temperatures": {"global": 1.0, "situations": {}},
            "curves": {},
        }
        version = data.get("version")
        if version != FORMAT_VERSION:
            raise ModelError(
                f"calibration.json has version {version!r}, "
                f"this catalograph reads {FORMAT_VERSION}: calibrate again"
            )
        try:
            self._confidence = _number(data.get("confidence", CONFIDENCE), most=1)
            self._temperatures = _checked_temperatures(data["temperatures"])
            self._curves = _checked_curves(data["curves"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(
                f"calibration.json is damaged ({str(error)[:100]}): "
                "restore the model folder from a copy, or train again"
            ) from None
        self._thresholds: dict[tuple[str, str, float], float | None] = {}

    def temperature(self, situation: str, property: str) -> float:
        """Return the divisor of the logits of the property's cells in that situation."""
        return _temperature_of(self._temperatures, situation, property)

    def threshold(self, situation: str, property: str, target: float) -> float | None:
        """Return the lowest probability from which on the target precision is proven.

        None if no probability is. Without a mistake, the proof takes
        log(1 - confidence) / log(target) predictions: 299 for 0.99, 59 for 0.95, 29 for 0.9.
        """
        key = situation, property, target
        if key not in self._thresholds:
            points = self._curves.get(situation, {}).get(property, [])
            proven = [
                probability
                for probability, count, wrong in points
                if precision_bound(int(count), int(wrong), self._confidence) >= target
            ]
            self._thresholds[key] = min(proven, default=None)
        return self._thresholds[key]


def _checked_temperatures(data: Any) -> dict[str, Any]:
    """Return temperatures as :func:`_fit_temperatures` does.

    Raises ValueError, KeyError, TypeError or AttributeError on anything else.
    """
    situations = {}
    for name, fitted in data["situations"].items():
        properties = {
            property: _temperature(value) for property, value in fitted["properties"].items()
        }
        situations[name] = {"all": _temperature(fitted["all"]), "properties": properties}
    return {"global": _temperature(data["global"]), "situations": situations}


def _checked_curves(data: Any) -> dict[str, dict[str, list[list[float]]]]:
    """Return precision curves; raises ValueError, TypeError or AttributeError on anything else."""
    curves: dict[str, dict[str, list[list[float]]]] = {}
    for situation, properties in data.items():
        curves[situation] = {}
        for property, points in properties.items():
            curves[situation][property] = checked = []
            for probability, count, wrong in points:
                # A point of more mistakes than predictions would prove any precision.
                count = int(_number(count, most=MAX_COUNT))
                wrong = int(_number(wrong, most=count))
                checked.append([_number(probability, most=1), count, wrong])
    return curves


def _temperature(value: object) -> float:
    # Logits are divided by it.
    return _number(value, least=MIN_TEMPERATURE, most=1 / MIN_TEMPERATURE)


def _number(value: object, least: float = 0, most: float = 1) -> float:
    is_truth = isinstance(value, bool)
    if isinstance(value, int | float) and not is_truth and least <= value <= most:
        return value
    raise ValueError(f"{shown(value)} is no number between {least} and {most}")
