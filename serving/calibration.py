"""From logits to probabilities that can be acted on, measured on validation items.

Each known cell of each validation item is hidden in turn and asked for, in every situation that the item allows: with and without its
title, with and without its image, with and without its other statements (all of them for half of the cells, else a random part, as in a
catalogue with gaps). Situations are calibrated one by one, so that a cell without an image is judged by cells without one.

Temperatures minimise the negative log-likelihood under a normal prior on their logarithm: a property's is centred on its situation's, a
situation's on the global one, so that few cells move little. Decisions rest on curves of (probability, predictions at or above it, wrong
ones among them), made by halves: each item is judged with temperatures from the other half.

The result is plain data for ``calibration.json``; :class:`Calibration` reads it.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import betaincinv, logsumexp

from schema.errors import ModelError
from serving.cells import CellQuery, ItemInput, Scorer, probabilities, score_in_chunks, situation_of

VERSION = 1
TARGET_PRECISION = 0.99
CONFIDENCE = 0.95
"""Confidence of the one-sided Clopper-Pearson bound that a threshold has to pass."""
MOST_ITEMS = 2000
"""Validation items asked at most: enough to prove a precision of 0.998."""
_PRIOR_DEVIATION = {"situation": 0.5, "property": 0.3}
_LOG_RANGE = (-2.5, 2.5)
_ITEMS_AT_ONCE = 32

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Asked:
    """N cells of one property in one situation: ``logits`` [N, V], ``true`` [N, V] bool, ``fold`` [N] 0 or 1."""

    logits: NDArray[np.float32]
    true: NDArray[np.bool_]
    fold: NDArray[np.int64]

    def where(self, keep: NDArray[np.bool_]) -> Asked:
        """The cells that ``keep`` [N] marks."""
        return Asked(self.logits[keep], self.true[keep], self.fold[keep])


Group = tuple[str, str]
"""(situation, property)."""


def calibrate(
    scorer: Scorer, items: Sequence[ItemInput], *, seed: int = 0, progress: Progress | None = None
) -> dict[str, Any]:
    """Temperatures and precision curves from validation items, whose ``known`` statements are the truth."""
    asked = ask(scorer, items, seed=seed, progress=progress)
    halves = [
        _fit({group: cells.where(cells.fold != fold) for group, cells in asked.items()})
        for fold in (0, 1)
    ]
    curves: dict[str, dict[str, list[list[float]]]] = defaultdict(dict)
    for (situation, name), cells in asked.items():
        parts = [
            _top(cells.where(cells.fold == fold), _temperature(halves[fold], situation, name))
            for fold in (0, 1)
        ]
        curves[situation][name] = precision_curve(
            *(np.concatenate(column) for column in zip(*parts, strict=True))
        )
    return {
        "version": VERSION,
        "confidence": CONFIDENCE,
        "items": min(len(items), MOST_ITEMS),
        "cells": sum(len(cells.fold) for cells in asked.values()),
        "temperatures": _fit(asked),
        "curves": dict(curves),
    }


def ask(
    scorer: Scorer, items: Sequence[ItemInput], *, seed: int = 0, progress: Progress | None = None
) -> dict[Group, Asked]:
    """Hide and ask for every known cell in every situation that its item allows."""
    chosen = sorted(items, key=lambda item: zlib.crc32(item.id.encode()))[:MOST_ITEMS]
    rng = np.random.default_rng(seed)
    found: dict[Group, list[tuple[NDArray[np.float32], NDArray[np.bool_], int]]] = defaultdict(list)
    for start in range(0, len(chosen), _ITEMS_AT_ONCE):
        views = [view for item in chosen[start : start + _ITEMS_AT_ONCE] for view in _views(item)]
        cells = [
            cell for index, view in enumerate(views) for cell in _cells(scorer, index, view, rng)
        ]
        logits = score_in_chunks(scorer, scorer.encode(views), cells)
        for cell, row in zip(cells, logits, strict=True):
            item = views[cell.item]
            true = _truth(scorer, item, cell.property)
            group = situation_of(item.title, item.image, bool(cell.known)), cell.property
            found[group].append((row, true, zlib.crc32(b"fold " + item.id.encode()) & 1))
        if progress is not None:
            progress(min(start + _ITEMS_AT_ONCE, len(chosen)), len(chosen))
    return {
        group: Asked(*(np.stack(column) for column in zip(*rows, strict=True)))
        for group, rows in sorted(found.items())
    }


def _views(item: ItemInput) -> Iterator[ItemInput]:
    """The item with each part of its title and image that is there, and without."""
    for title in (item.title, None) if item.title else (None,):
        yield replace(item, title=title)
        if item.image is not None:
            yield replace(item, title=title, image=None)


def _cells(
    scorer: Scorer, index: int, item: ItemInput, rng: np.random.Generator
) -> Iterator[CellQuery]:
    for name in dict.fromkeys(name for name, _ in item.known):
        if not (name in scorer.ontology.properties and scorer.ontology.values_of(name)):
            continue
        yield CellQuery(index, name)
        others = [pair for pair in item.known if pair[0] != name]
        if not others:
            continue
        if rng.random() < 0.5:
            kept = rng.permutation(len(others))[: rng.integers(1, len(others) + 1)]
            others = [others[place] for place in sorted(kept)]
        yield CellQuery(index, name, tuple(others))


def _truth(scorer: Scorer, item: ItemInput, property: str) -> NDArray[np.bool_]:
    true = {value for name, value in item.known if name == property}
    return np.array([value in true for value in scorer.ontology.values_of(property)])


def _fit(asked: dict[Group, Asked]) -> dict[str, Any]:
    """Temperatures: ``global``, and for each situation ``all`` and ``properties``."""
    overall = fit_temperature(asked.values())
    situations: dict[str, Any] = {}
    for situation in dict.fromkeys(situation for situation, _ in asked):
        inside = {name: cells for (own, name), cells in asked.items() if own == situation}
        centre = fit_temperature(inside.values(), overall, _PRIOR_DEVIATION["situation"])
        fitted = {
            name: fit_temperature([cells], centre, _PRIOR_DEVIATION["property"])
            for name, cells in inside.items()
        }
        situations[situation] = {"all": centre, "properties": fitted}
    return {"global": overall, "situations": situations}


def fit_temperature(groups: Iterable[Asked], centre: float = 1.0, deviation: float = 1.0) -> float:
    """The temperature of most posterior likelihood; its logarithm's prior is normal around log ``centre``.

    A cell counts where the model knows one of its true values; several true ones count together.
    """
    known = [cells.where(np.asarray(cells.true.any(1))) for cells in groups]
    known = [cells for cells in known if len(cells.fold) and cells.logits.shape[1] > 1]

    def loss(log_temperature: float) -> float:
        """Negative log-likelihood of the true values, and of the temperature under its prior."""
        total = ((log_temperature - np.log(centre)) / deviation) ** 2 / 2
        for cells in known:
            scaled = cells.logits.astype(np.float64) / np.exp(log_temperature)
            total += float(
                (
                    logsumexp(scaled, axis=1)
                    - logsumexp(np.where(cells.true, scaled, -1e9), axis=1)
                ).sum()
            )
        return float(total)

    if not known:
        return centre
    return float(
        np.exp(
            minimize_scalar(loss, bounds=_LOG_RANGE, method="bounded", options={"xatol": 1e-3}).x
        )
    )


def _top(cells: Asked, temperature: float) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The best candidate's probability [N] and whether it is true [N]."""
    best = cells.logits.argmax(1)
    rows = np.arange(len(best))
    return probabilities(cells.logits, temperature)[rows, best] if len(best) else np.zeros(
        0
    ), cells.true[rows, best]


def precision_curve(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_]
) -> list[list[float]]:
    """Points [probability, predictions at or above it, wrong ones among them], probabilities falling.

    Only those are kept that can ever be the least proven one: whose bound no lower probability equals.
    """
    order = np.argsort(-confidence, kind="stable")
    falling = confidence[order]
    wrong = (~correct[order]).cumsum()
    last_of_ties = np.append(falling[1:] != falling[:-1], True)[: len(falling)]
    points: list[list[float]] = []
    best = 0.0
    for place in np.flatnonzero(last_of_ties)[::-1].tolist():
        bound = precision_bound(place + 1, int(wrong[place]))
        if bound > best:
            best = bound
            points.append([float(falling[place]), place + 1, int(wrong[place])])
    return points[::-1]


def precision_bound(count: int, wrong: int, confidence: float = CONFIDENCE) -> float:
    """One-sided Clopper-Pearson lower bound of the precision, ``wrong`` of ``count`` predictions having been wrong."""
    right = count - wrong
    return float(betaincinv(right, wrong + 1, 1 - confidence)) if right > 0 else 0.0


def _temperature(temperatures: dict[str, Any], situation: str, property: str) -> float:
    inside = temperatures["situations"].get(situation)
    return float(
        temperatures["global"]
        if inside is None
        else inside["properties"].get(property, inside["all"])
    )


class Calibration:
    """What :func:`calibrate` gave, for use; None stands for a model that was never calibrated: temperatures 1, nothing proven."""

    def __init__(self, data: dict[str, Any] | None) -> None:
        data = data or {
            "version": VERSION,
            "temperatures": {"global": 1.0, "situations": {}},
            "curves": {},
        }
        if data.get("version") != VERSION:
            raise ModelError(
                f"calibration.json has version {data.get('version')!r}, this catalograph reads {VERSION}: calibrate again"
            )
        self._confidence = float(data.get("confidence", CONFIDENCE))
        self._temperatures = data["temperatures"]
        self._curves = data["curves"]
        self._thresholds: dict[tuple[str, str, float], float | None] = {}

    def temperature(self, situation: str, property: str) -> float:
        """By what to divide the logits of the property's cells asked in that situation."""
        return _temperature(self._temperatures, situation, property)

    def threshold(self, situation: str, property: str, target: float) -> float | None:
        """The least probability from which on the target precision is proven; None where none is.

        Without a mistake a proof takes log(1 - confidence) / log(target) predictions: 299 for 0.99, 59 for 0.95, 29 for 0.9.
        """
        key = situation, property, target
        if key not in self._thresholds:
            points = self._curves.get(situation, {}).get(property, [])
            proven = [
                p
                for p, count, wrong in points
                if precision_bound(count, wrong, self._confidence) >= target
            ]
            self._thresholds[key] = min(proven, default=None)
        return self._thresholds[key]
