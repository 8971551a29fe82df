"""Calibrate experts by what they say of the items that they learned from, each left out in turn.

When a second stage joins other sources to them, only the items that these have not learned from
can tell how probable the joined answers are: a tenth, or less, of the items that the experts are
proven by. That proves little, so precision goes on being proven by the experts. A cell is filled
where the joined answer is the experts' own, and they are so sure of it that the target is proven.

Of the cells S that they are sure of, at most a share 1 - t is wrong. Those of them that are filled,
A, have no more errors, but they are fewer: a share of 1 - t of S is a share of (1 - t) |S| / |A| of
A. So a step that proves t for S proves 1 - (1 - t) |S| / |A| for A, whichever of the cells they
are. How often the answers agree, |A| / |S|, is a bound on the cells that both are held out on; it
takes no labels.
"""

from __future__ import annotations

import functools
import math
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experts.fitting import FittedExperts
from experts.labelled_items import HeldOutCells
from experts.second_stage import FittedSecondStage, Key
from experts.situations import every_situation
from schema.arrays import BoolArray
from schema.ontology import Ontology, PropertySpec
from serving.calibration import (
    Calibration,
    CellGroup,
    ScoredCells,
    fit_calibration,
    fit_temperatures,
    temperature_of,
)
from serving.cells import predict
from serving.estimates import fit_intervals
from serving.proof import CONFIDENCE, TARGETS, JudgedCells, design_effect, precision_bound

AGREEMENT_LEVEL = 0.01
"""The chance that the experts and the joined scores agree less often than the bound says."""


def calibrate_experts(fitted: FittedExperts) -> dict[str, Any]:
    """Fit temperatures and prove thresholds on the left-out cells of fitted experts.

    There are as many of them as labelled cells, and in every situation, also with the title blinded
    or thinned out; validation items are a tenth of that.
    """
    groups = {
        CellGroup(situation.name, property): scored_cells(cells, fitted.ensemble.ontology[property])
        for (situation, property), cells in sorted(fitted.held_out.items())
    }
    return fit_calibration(groups, fitted.items.ids, ontology=fitted.ensemble.ontology)


def scored_cells(
    cells: HeldOutCells, spec: PropertySpec, logits: NDArray[np.float32] | None = None
) -> ScoredCells:
    """Return left-out cells as calibration takes them, with other ``logits`` [C, V + 1] if given.

    The last value is any that the model does not know: also one that a single item has, without it.
    """
    shared = np.array(spec.counts) > 1
    return ScoredCells(
        logits=cells.logits if logits is None else logits,
        true=np.column_stack([cells.true, ~cells.true[:, shared].any(1)]),
        fold=cells.fold,
        item=cells.item,
        values=cells.true.shape[1],
        weight=cells.weight,
    )


def calibrate_joint(
    alone: dict[str, Any],
    held_out: Mapping[Key, HeldOutCells],
    joined: FittedSecondStage,
    ontology: Ontology,
) -> dict[str, Any]:
    """Calibrate a second stage, given the experts' own calibration, ``alone``.

    Where a source joins, the temperatures are fitted on the joined scores of the cells
    ``held_out``, and what the experts prove is discounted by how often the answers disagree there.
    Everywhere else all stays as it is. ``ontology`` is the experts'.
    """
    groups: dict[str, dict[Key, ScoredCells]] = defaultdict(dict)
    for key, cells in sorted(held_out.items()):
        situation, property = key
        if joined.stage.joining(situation):
            logits = joined.held_out[key]
            groups[situation.name][key] = scored_cells(cells, ontology[property], logits)
    by_group = {
        CellGroup(situation, key[1]): cells
        for situation, members in groups.items()
        for key, cells in members.items()
    }
    experts = Calibration(alone)
    temperatures = {
        **alone["temperatures"],
        "situations": {
            **alone["temperatures"]["situations"],
            **fit_temperatures(by_group)["situations"],
        },
    }
    discounted = {}
    intervals = dict(alone.get("intervals", {}))
    for situation in every_situation():
        proven = alone["proven"].get(situation.name)
        if proven is not None and joined.stage.joining(situation):
            members = groups.get(situation.name, {})
            # Of a property without any such cell nobody knows how often the answers agree.
            known = {property for _, property in members}
            kept = {
                name: each if name in known else {**each, "steps": []}
                for name, each in proven.items()
            }
            intervals.pop(situation.name, None)
            discounted[situation.name] = _discounted(kept, _agreements(experts, held_out, members))
    return {
        **alone,
        "confidence": round(CONFIDENCE - AGREEMENT_LEVEL, 4) if discounted else alone["confidence"],
        "temperatures": temperatures,
        "proving_temperatures": alone["temperatures"],
        "intervals": intervals
        | fit_intervals(by_group, ontology, functools.partial(temperature_of, temperatures)),
        "proven": {**alone["proven"], **discounted},
    }


def _agreements(
    experts: Calibration, held_out: Mapping[Key, HeldOutCells], members: Mapping[Key, ScoredCells]
) -> dict[float, float]:
    """Return by target how often the answers agree at least where the experts prove it.

    The cells are those of one situation, all properties together.
    """
    sure: dict[float, list[JudgedCells]] = {target: [] for target in TARGETS}
    for key, cells in members.items():
        situation, property = key[0].name, key[1]
        own = held_out[key].logits
        temperature = experts.temperature(situation, property)
        probability = predict(own, cells.values, temperature).candidates.max(1)
        agree = np.asarray(
            own[:, : cells.values].argmax(1) == cells.logits[:, : cells.values].argmax(1)
        )
        for target, found in sure.items():
            threshold = experts.threshold(situation, property, target)
            if threshold is not None:
                among: BoolArray = probability >= threshold
                found.append(JudgedCells(probability[among], agree[among], cells.item[among]))
    return {target: _agreement(found) for target, found in sure.items()}


def _agreement(cells: list[JudgedCells]) -> float:
    """Return a lower bound of the share of cells that are ``right``, here: that agree."""
    count = sum(len(each.right) for each in cells)
    if not count:
        return 0.0
    wrong = sum(int((~each.right).sum()) for each in cells)
    effect = design_effect(cells)
    # One bound of many, for each of which a share of the level is left.
    return precision_bound(count / effect, wrong / effect, 1 - AGREEMENT_LEVEL / len(TARGETS))


def _discounted(
    proven: Mapping[str, Any], agreements: Mapping[float, float]
) -> dict[str, dict[str, Any]]:
    """Return what is proven for the cells that agree; a step that proves too little is dropped."""
    found = {}
    for property, each in proven.items():
        steps = []
        for precision, probability, share in each["steps"]:
            agreement = agreements.get(precision, 0.0)
            lower = 1 - (1 - precision) / agreement if agreement > 0 else 0.0
            if lower >= min(TARGETS):
                # Downwards, since more must not be claimed than is proven.
                steps.append([math.floor(lower * 1e6) / 1e6, probability, share])
        found[property] = {**each, "steps": steps}
    return found
