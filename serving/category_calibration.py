"""Calibrate a classifier by the items that it learned from, each left out in turn.

Paths have one temperature for each situation. What is above them in the tree is as probable as all
paths below it together, at that temperature. An item is filled with the deepest node that is
probable enough, ``Shoes`` where ``Shoes > Boots`` is not, so what has to be right often enough is
whatever an item is filled with: at one threshold for all levels, which is tested from strict to lax
like the thresholds of :mod:`serving.proof`. Besides, each level below the broadest has a threshold
of its own, as properties have. It is no laxer for the paths because their parents are nearly always
right; where it keeps a path back, its parent takes its place, which is right whenever the path is.

Shapes: C cells, V paths, U nodes of a level, D levels, M thresholds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from experts.category_tree import ANY_LEVEL, level_name
from experts.classification import FittedClassifier
from experts.labelled_items import HeldOutCells
from schema.arrays import FloatArray
from schema.terms import CATEGORY
from serving.calibration import (
    CellGroup,
    ScoredCells,
    fit_calibration,
    fit_temperatures,
    temperature_of,
)
from serving.cells import predict
from serving.proof import TARGETS, JudgedCells, Proven, design_effect, prove, prove_sequence

_FOLDS = (0, 1)
LEAST_PROBABILITY = 0.5
"""From here on the most probable nodes of all levels are parents of each other."""
THRESHOLDS = 1 - LEAST_PROBABILITY * 0.75 ** np.arange(80)[::-1]
"""The thresholds for all levels that are tested, from strict to lax."""


def calibrate_classifier(fitted: FittedClassifier) -> dict[str, Any]:
    """Fit temperatures, and prove thresholds for the paths and for each level above them."""
    ontology = fitted.classifier.ontology
    shared = np.array(ontology[CATEGORY].counts) > 1
    groups = {
        CellGroup(situation, CATEGORY): _scored(cells, shared)
        for situation, cells in sorted(fitted.held_out.items())
    }
    found = fit_calibration(groups, fitted.ids, ontology=ontology)
    temperatures = {
        fold: fit_temperatures(
            {group: cells.select(cells.fold != fold) for group, cells in groups.items()}
        )
        for fold in _FOLDS
    }
    tree = fitted.classifier.tree
    judged: dict[str, dict[str, JudgedCells]] = defaultdict(dict)
    of_any_level: dict[str, list[Proven]] = {}
    for group, cells in groups.items():
        probabilities = np.empty((len(cells.fold), cells.values))
        for fold in _FOLDS:
            inside = cells.fold == fold
            temperature = temperature_of(temperatures[fold], group.situation, CATEGORY)
            predicted = predict(cells.logits[inside], cells.values, temperature)
            probabilities[inside] = predicted.candidates
        true = cells.true[:, : cells.values].astype(np.float64)
        of_situation = judged[group.situation]
        levels = [
            _judged(level.sums(probabilities), level.sums(true), cells) for level in tree.levels
        ]
        of_situation[CATEGORY] = levels[-1]
        for number, level in enumerate(levels[:-1], 1):
            of_situation[level_name(number)] = level
        of_any_level[group.situation] = prove_any_level(levels)
    return {
        **found,
        "proven": {
            situation: {
                name: {
                    "cells": len(properties[CATEGORY].right),
                    "steps": [
                        [each.precision, each.probability, round(each.share, 6)] for each in steps
                    ],
                }
                for name, steps in (
                    *prove(properties).items(),
                    (ANY_LEVEL, of_any_level[situation]),
                )
            }
            for situation, properties in judged.items()
        },
    }


def prove_any_level(levels: Sequence[JudgedCells]) -> list[Proven]:
    """Return what is proven of items that are filled at any level, the highest precision first.

    ``levels`` are the same C cells, judged at each of the D levels, the broadest first.
    """
    probability = np.stack([each.probability for each in levels], 1)
    right = np.stack([each.right for each in levels], 1)
    rows = np.arange(len(right))
    depth = (probability[:, :, None] >= THRESHOLDS).sum(1)
    counts = (depth > 0).sum(0)
    is_wrong = ~right[rows[:, None], np.maximum(depth - 1, 0)] & (depth > 0)
    wrong = is_wrong.sum(0)
    laxest = depth[:, -1] > 0
    item = levels[0].item
    effect = design_effect(
        [JudgedCells(probability[laxest, 0], ~is_wrong[laxest, -1], item[laxest])]
    )
    steps: list[Proven] = []
    for target in sorted(TARGETS, reverse=True):
        last = prove_sequence(counts, wrong, target, effect)
        if last is not None:
            share = float(counts[last] / max(len(right), 1))
            threshold = float(THRESHOLDS[last])
            # What proves a precision also proves a lower one.
            lowest = min([threshold, *(each.probability for each in steps)])
            steps.append(Proven(target, lowest, share))
    return steps


def _scored(cells: HeldOutCells, shared: np.ndarray[Any, Any]) -> ScoredCells:
    """Return left-out cells as calibration takes them.

    A path that a single item has is "another one" without it.
    """
    return ScoredCells(
        logits=cells.logits,
        true=np.column_stack([cells.true, ~cells.true[:, shared].any(1)]),
        fold=cells.fold,
        item=cells.item,
        values=cells.true.shape[1],
    )


def _judged(probabilities: FloatArray, true: FloatArray, cells: ScoredCells) -> JudgedCells:
    """Judge the most probable nodes of probabilities [C, U]; ``true`` [C, U] are ones."""
    best = probabilities.argmax(1)
    rows = np.arange(len(best))
    return JudgedCells(probabilities[rows, best], true[rows, best] > 0, cells.item)
