"""Calibrate a model: from logits to probabilities and decision thresholds.

Every known cell of the validation items is hidden in turn and predicted in every *situation* that
its item allows: with and without the title, with and without the image, with and without the
item's other statements. Where statements are used, half of the cells get all of them and the other
half a random subset, as in a catalogue with gaps. Situations are calibrated separately, so that a
cell of an item without an image is judged by cells without an image.

**Temperatures** (temperature scaling, Guo et al. 2017) minimise the negative log-likelihood. A few
cells must not move them far, so their logarithms have normal priors: a property's is centred on its
situation's temperature, and a situation's on the global one.

**Thresholds** are proven by the same cells (see :mod:`serving.proof`), whose probabilities are
cross-fitted: each item is scored with the temperatures that the other half of the items gave.

A scorer that can score the items it has learned from as if it had not seen them, by leaving each of
them out, gives those cells as well: with ten times as many, far more can be proven.

The result is plain data for ``calibration.json``, which :class:`Calibration` reads.
"""

from __future__ import annotations

import functools
import itertools
import zlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from fusion.inference.featurizer import ItemInput
from fusion.inference.scorer import CellQuery
from schema.arrays import BoolArray, FloatArray, IntArray
from schema.errors import ModelError
from schema.log_sums import log_sum_exp
from schema.modalities import Modality
from schema.ontology import Ontology
from schema.progress import ProgressCallback, no_progress
from schema.settings import shown
from schema.shares import ShareOut, compute_all
from serving.cells import Scorer, predict, score_in_chunks
from serving.estimates import fit_intervals
from serving.proof import (
    CONFIDENCE,
    JudgedCells,
    Proven,
    highest_precision,
    lowest_threshold,
    precision_bound,
    prove,
)
from serving.several_values import fit_several

FORMAT_VERSION = 2
FORMER_VERSION = 1
"""The version whose thresholds each pass a Clopper-Pearson bound by themselves."""
TARGET_PRECISION = 0.99
MAX_CALIBRATION_ITEMS = 2000
"""The most validation items that are used."""
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
    """N hidden cells of one group with V values.

    - ``logits`` [N, V], or [N, V + 1] if the scorer says how probable another value is
    - ``true`` [N, V] or [N, V + 1] bool: several in a row if the cell has several true values, and
      none, or the last one, if the model knows none of them
    - ``fold`` [N] 0 or 1: all cells of an item are in one fold
    - ``item`` [N]: a number for each item
    - ``values``: V
    - ``weight`` [N]: the share of reviewers that agreed with the true values; None if all did
    """

    logits: NDArray[np.float32]
    true: BoolArray
    fold: IntArray
    item: IntArray
    values: int
    weight: FloatArray | None = None

    @property
    def weights(self) -> FloatArray:
        """How much each cell counts [N]."""
        return np.ones(len(self.fold)) if self.weight is None else self.weight

    def select(self, mask: BoolArray) -> ScoredCells:
        """Return the cells that ``mask`` [N] selects."""
        return ScoredCells(
            self.logits[mask],
            self.true[mask],
            self.fold[mask],
            self.item[mask],
            self.values,
            None if self.weight is None else self.weight[mask],
        )


ScoredGroups = Mapping[CellGroup, ScoredCells]
"""Scored cells by group."""


def item_number(id: str) -> int:
    """Return the number of an item in :class:`ScoredCells`, by a hash of its id."""
    return zlib.crc32(id.encode())


def fold_of(id: str) -> int:
    """Return the fold of an item in :class:`ScoredCells`, 0 or 1, by a hash of its id."""
    return zlib.crc32(b"fold " + id.encode()) & 1


def calibrate(
    scorer: Scorer,
    items: Sequence[ItemInput],
    *,
    out_of_fold: ScoredGroups | None = None,
    seed: int = 0,
    progress: ProgressCallback = no_progress,
    share_out: ShareOut = compute_all,
) -> dict[str, Any]:
    """Fit temperatures and prove thresholds on validation items, whose statements are the truth.

    ``out_of_fold`` are cells of items that the scorer has learned from, each scored without its
    item. With ``share_out`` several processes score a share of the items each, and one of them
    fits; all get the result.
    """
    groups = score_hidden_cells(scorer, items, seed=seed, progress=progress, share_out=share_out)
    (fitted,) = share_out(
        [groups],
        lambda scored: fit_calibration(
            scored, items, out_of_fold=out_of_fold, ontology=scorer.ontology
        ),
    )
    return fitted


def fit_calibration(
    groups: ScoredGroups,
    items: Sequence[object],
    *,
    ontology: Ontology,
    out_of_fold: ScoredGroups | None = None,
) -> dict[str, Any]:
    """Fit temperatures and intervals, and prove thresholds, on the scored cells of ``items``.

    ``ontology`` is the scorer's, and ``out_of_fold`` are further cells.
    """
    out_of_fold = out_of_fold or {}
    groups = join_groups(groups, out_of_fold)
    temperatures_without_fold = {
        fold: fit_temperatures(
            {group: cells.select(cells.fold != fold) for group, cells in groups.items()}
        )
        for fold in _FOLDS
    }
    judged: dict[str, dict[str, JudgedCells]] = defaultdict(dict)
    for group, cells in groups.items():
        of_folds = {
            fold: temperature_of(fitted, group.situation, group.property)
            for fold, fitted in temperatures_without_fold.items()
        }
        # With temperatures fitted on the same cells, they would look better than they are.
        judged[group.situation][group.property] = _judge(cells, of_folds)

    temperatures = fit_temperatures(groups)
    of_all = functools.partial(temperature_of, temperatures)
    return {
        "version": FORMAT_VERSION,
        "confidence": CONFIDENCE,
        "items": min(len(items), MAX_CALIBRATION_ITEMS),
        "cells": sum(len(cells.fold) for cells in groups.values()),
        "out_of_fold_cells": sum(len(cells.fold) for cells in out_of_fold.values()),
        "temperatures": temperatures,
        "intervals": fit_intervals(groups, ontology, of_all),
        "several": fit_several(groups, ontology, of_all),
        "proven": {
            situation: {
                name: {
                    "cells": len(properties[name].right),
                    "steps": [
                        [each.precision, each.probability, round(each.share, 6)] for each in steps
                    ],
                }
                for name, steps in prove(properties).items()
            }
            for situation, properties in judged.items()
        },
    }


def join_groups(first: ScoredGroups, second: ScoredGroups) -> dict[CellGroup, ScoredCells]:
    """Put the cells of the same groups together."""
    joined = dict(first)
    for group, cells in second.items():
        others = joined.get(group)
        joined[group] = cells if others is None else _join(others, cells)
    return dict(sorted(joined.items()))


def _join(first: ScoredCells, second: ScoredCells) -> ScoredCells:
    if first.logits.shape[1] != second.logits.shape[1]:
        raise ValueError("the cells to join are not scored over the same values")
    return ScoredCells(
        logits=np.concatenate([first.logits, second.logits]),
        true=np.concatenate([first.true, second.true]),
        fold=np.concatenate([first.fold, second.fold]),
        item=np.concatenate([first.item, second.item]),
        values=first.values,
        weight=np.concatenate([first.weights, second.weights]),
    )


@dataclass(frozen=True)
class ScoredCell:
    """One hidden cell of :class:`ScoredCells`."""

    group: CellGroup
    logits: NDArray[np.float32]
    true: BoolArray
    fold: int
    item: int
    values: int


@dataclass
class _GroupBuilder:
    """Rows of one group while batches of items are scored."""

    values: int = 0
    logits: list[NDArray[np.float32]] = field(default_factory=list)
    true: list[BoolArray] = field(default_factory=list)
    fold: list[int] = field(default_factory=list)
    item: list[int] = field(default_factory=list)

    def add(self, cell: ScoredCell) -> None:
        """Add a row."""
        self.values = cell.values
        self.logits.append(cell.logits)
        self.true.append(cell.true)
        self.fold.append(cell.fold)
        self.item.append(cell.item)

    def build(self) -> ScoredCells:
        """Stack the rows."""
        return ScoredCells(
            np.stack(self.logits),
            np.stack(self.true),
            np.array(self.fold),
            np.array(self.item),
            self.values,
        )


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
        variants = [
            variant for item in batch for variant in _modality_subsets(item, scorer.modalities)
        ]
        cells = [
            cell
            for index, variant in enumerate(variants)
            for cell in _hidden_cells(scorer, index, variant, rng)
        ]
        logits = score_in_chunks(scorer, scorer.encode(variants), cells)
        progress(min(start + _CALIBRATION_BATCH, len(chosen)), len(chosen))
        return [
            ScoredCell(
                group=CellGroup(scorer.situation(variants[cell.item], cell), cell.property),
                logits=row,
                true=_true_values(scorer, variants[cell.item], cell.property, len(row)),
                fold=fold_of(variants[cell.item].id),
                item=item_number(variants[cell.item].id),
                values=len(scorer.ontology.values_of(cell.property)),
            )
            for cell, row in zip(cells, logits, strict=True)
        ]

    builders: dict[CellGroup, _GroupBuilder] = defaultdict(_GroupBuilder)
    for part in share_out(range(0, len(chosen), _CALIBRATION_BATCH), score):
        for cell in part:
            builders[cell.group].add(cell)
    return {group: builder.build() for group, builder in sorted(builders.items())}


def _modality_subsets(item: ItemInput, read: Collection[Modality]) -> Iterator[ItemInput]:
    """Yield the item with every subset of its content that is ``read``, the whole item first.

    These are 2^n variants for n modalities: four with title and image. With many more modalities,
    draw the subsets at random.
    """
    present = item.content_modalities(read)
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


def _true_values(scorer: Scorer, item: ItemInput, property: str, width: int) -> BoolArray:
    """Mark the item's own values among the property's values [width].

    If the scores have a column for another value as well, it is marked if no other one is.
    """
    spec = scorer.ontology[property]
    true = {spec.position(value) for name, value in item.known if name == property}
    marked = np.array([position in true for position in range(width)])
    if width > len(spec.values):
        marked[-1] = not marked.any()
    return marked


def fit_temperatures(groups: ScoredGroups) -> dict[str, Any]:
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
    the model knows count, by their weights; the probabilities of several true values are added.
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
            surprise = log_sum_exp(scaled) - log_sum_exp(only_true)
            total += float((surprise * cells.weights).sum())
        return float(total)

    optimum = minimize_scalar(
        loss, bounds=_LOG_TEMPERATURE_BOUNDS, method="bounded", options={"xatol": 1e-3}
    )
    return float(np.exp(optimum.x))


def _judge(cells: ScoredCells, temperatures: dict[int, float]) -> JudgedCells:
    """Judge the best candidates, with the temperature of each fold."""
    probability = np.empty(len(cells.fold))
    for fold, temperature in temperatures.items():
        inside = cells.fold == fold
        predicted = predict(cells.logits[inside], cells.values, temperature)
        probability[inside] = predicted.candidates.max(1)
    best = cells.logits[:, : cells.values].argmax(1)
    # What reviewers did not agree about proves nothing: it counts as wrong.
    right = cells.true[np.arange(len(best)), best] & (cells.weights >= 1)
    return JudgedCells(probability, right, cells.item)


def temperature_of(temperatures: dict[str, Any], situation: str, property: str) -> float:
    """Look up a property's temperature, falling back on its situation's and on the global one."""
    fitted = temperatures["situations"].get(situation)
    if fitted is None:
        return float(temperatures["global"])
    return float(fitted["properties"].get(property, fitted["all"]))


class Calibration:
    """The temperatures and thresholds of a model, from the data that :func:`calibrate` returned.

    None stands for a model that was never calibrated: its temperatures are 1, and it has no proven
    thresholds. ``cells`` is the number of cells that it was calibrated on.
    """

    def __init__(self, data: dict[str, Any] | None) -> None:
        data = data or {
            "version": FORMAT_VERSION,
            "temperatures": {"global": 1.0, "situations": {}},
            "proven": {},
        }
        version = data.get("version")
        if version not in (FORMER_VERSION, FORMAT_VERSION):
            raise ModelError(
                f"calibration.json has version {shown(version)}, "
                f"this catalograph reads {FORMAT_VERSION}: calibrate again"
            )
        try:
            self._temperatures = _checked_temperatures(data["temperatures"])
            proving = data.get("proving_temperatures")
            self._proving = (
                self._temperatures if proving is None else _checked_temperatures(proving)
            )
            if version == FORMER_VERSION:
                confidence = _number(data.get("confidence", CONFIDENCE))
                self._proven = _proven_by_curves(data["curves"], confidence)
            else:
                self._proven = _checked_proofs(data["proven"])
            self.cells = int(_number(data.get("cells", 0), most=MAX_COUNT))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(
                f"calibration.json is damaged ({str(error)[:100]}): "
                "restore the model folder from a copy, or train again"
            ) from None

    def temperature(self, situation: str, property: str) -> float:
        """Return the divisor of the logits of the property's cells in that situation."""
        return temperature_of(self._temperatures, situation, property)

    def proving_temperature(self, situation: str, property: str) -> float:
        """Return the divisor of the logits by which precision is proven, if these are others."""
        return temperature_of(self._proving, situation, property)

    def threshold(self, situation: str, property: str, target: float) -> float | None:
        """Return the lowest probability from which on the target precision is proven.

        None if no probability is. How many cells a proof takes, :mod:`serving.proof` says.
        """
        return lowest_threshold(self._steps(situation, property), target)

    def proven_precision(self, situation: str, property: str, probability: float) -> float | None:
        """Return the highest precision that is proven from a lower probability on, or from it.

        None if there is none.
        """
        return highest_precision(self._steps(situation, property), probability)

    def _steps(self, situation: str, property: str) -> list[Proven]:
        return self._proven.get(situation, {}).get(property, [])


def _checked_temperatures(data: Any) -> dict[str, Any]:
    """Return temperatures as :func:`fit_temperatures` does.

    Raises ValueError, KeyError, TypeError or AttributeError on anything else.
    """
    situations = {}
    for name, fitted in data["situations"].items():
        properties = {
            property: _temperature(value) for property, value in fitted["properties"].items()
        }
        situations[name] = {"all": _temperature(fitted["all"]), "properties": properties}
    return {"global": _temperature(data["global"]), "situations": situations}


def _checked_proofs(data: Any) -> dict[str, dict[str, list[Proven]]]:
    """Return what is proven; raises ValueError, KeyError, TypeError or AttributeError if nothing.

    That is, on anything else than :func:`calibrate` returns.
    """
    return {
        situation: {
            property: [
                Proven(_number(precision), _number(probability), _number(share))
                for precision, probability, share in found["steps"]
            ]
            for property, found in properties.items()
        }
        for situation, properties in data.items()
    }


def _proven_by_curves(data: Any, confidence: float) -> dict[str, dict[str, list[Proven]]]:
    """Return what the precision curves of the former version prove, each point by itself.

    Raises ValueError, TypeError or AttributeError on anything else than such curves.
    """
    proven: dict[str, dict[str, list[Proven]]] = {}
    for situation, properties in data.items():
        proven[situation] = {}
        for property, points in properties.items():
            proven[situation][property] = steps = []
            for probability, count, wrong in points:
                # A point of more mistakes than predictions would prove any precision.
                count = int(_number(count, most=MAX_COUNT))
                wrong = int(_number(wrong, most=count))
                bound = precision_bound(count, wrong, confidence)
                steps.append(Proven(bound, _number(probability), 0.0))
    return proven


def _temperature(value: object) -> float:
    # Logits are divided by it.
    return _number(value, least=MIN_TEMPERATURE, most=1 / MIN_TEMPERATURE)


def _number(value: object, least: float = 0, most: float = 1) -> float:
    is_truth = isinstance(value, bool)
    if isinstance(value, int | float) and not is_truth and least <= value <= most:
        return value
    raise ValueError(f"{shown(value)} is no number between {least} and {most}")
