"""Calibrate experts by what they say of the items that they learned from, each left out in turn."""

from __future__ import annotations

from typing import Any

import numpy as np

from experts.fitting import FittedExperts, HeldOutCells
from schema.arrays import BoolArray
from schema.ontology import PropertySpec
from serving.calibration import CellGroup, ScoredCells, fit_calibration


def calibrate_experts(fitted: FittedExperts) -> dict[str, Any]:
    """Fit temperatures and prove thresholds on the left-out cells of fitted experts.

    There are as many of them as labelled cells, and in every situation, also with the title blinded
    or thinned out; validation items are a tenth of that.
    """
    groups = {
        CellGroup(situation.name, property): ScoredCells(
            logits=cells.logits,
            true=_with_unknown(cells, fitted.ensemble.ontology[property]),
            fold=cells.fold,
            item=cells.item,
            values=cells.true.shape[1],
        )
        for (situation, property), cells in sorted(fitted.held_out.items())
    }
    return fit_calibration(groups, fitted.items.ids, ontology=fitted.ensemble.ontology)


def _with_unknown(cells: HeldOutCells, spec: PropertySpec) -> BoolArray:
    """Return which values are true [C, V + 1], the last one being any that the model does not know.

    A value that a single item has is unknown without it.
    """
    shared = np.array(spec.counts) > 1
    return np.column_stack([cells.true, ~cells.true[:, shared].any(1)])
