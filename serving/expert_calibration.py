"""Calibrate experts by what they say of the items that they learned from, each left out in turn."""

from __future__ import annotations

from typing import Any

from experts.fitting import FittedExperts
from serving.calibration import CellGroup, ScoredCells, fit_calibration


def calibrate_experts(fitted: FittedExperts) -> dict[str, Any]:
    """Fit temperatures and prove thresholds on the left-out cells of fitted experts.

    There are as many of them as labelled cells, and in every situation, also with the title blinded
    or thinned out; validation items are a tenth of that.
    """
    groups = {
        CellGroup(situation.name, property): ScoredCells(
            logits=cells.logits,
            true=cells.true,
            fold=cells.fold,
            item=cells.item,
            values=cells.logits.shape[1],
        )
        for (situation, property), cells in sorted(fitted.held_out.items())
    }
    return fit_calibration(groups, fitted.items.ids)
