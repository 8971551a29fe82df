"""Calibrate a classifier by the items that it learned from, each left out in turn.

Paths have one temperature for each situation. What is above them in the tree is as probable as all
paths below it together, at that temperature, and each level of the tree proves its own thresholds:
a level is a property of its own in the proof, so that what holds of all levels together holds at
once. Where no path is proven, a parent of it may be.

Shapes: C cells, V paths, U nodes of a level.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from experts.category_tree import level_name
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
from serving.proof import JudgedCells, prove

_FOLDS = (0, 1)


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
    judged: dict[str, dict[str, JudgedCells]] = defaultdict(dict)
    for group, cells in groups.items():
        probabilities = np.empty((len(cells.fold), cells.values))
        for fold in _FOLDS:
            inside = cells.fold == fold
            temperature = temperature_of(temperatures[fold], group.situation, CATEGORY)
            predicted = predict(cells.logits[inside], cells.values, temperature)
            probabilities[inside] = predicted.candidates
        true = cells.true[:, : cells.values].astype(np.float64)
        of_situation = judged[group.situation]
        of_situation[CATEGORY] = _judged(probabilities, true, cells)
        for number, level in enumerate(fitted.classifier.tree.parents, 1):
            of_situation[level_name(number)] = _judged(
                level.sums(probabilities), level.sums(true), cells
            )
    return {
        **found,
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
