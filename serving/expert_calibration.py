"""Calibrate experts by what they say of the items that they learned from, each left out in turn."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from experts.fitting import FittedExperts, HeldOutCells
from serving.calibration import CellGroup, ScoredCells, fit_calibration


def calibrate_experts(fitted: FittedExperts) -> dict[str, Any]:
    """Fit temperatures and prove thresholds on the left-out cells of fitted experts.

    There are as many of them as labelled cells, and in every situation, also with the title blinded
    or thinned out; validation items are a tenth of that.
    """
    parts: dict[CellGroup, list[HeldOutCells]] = defaultdict(list)
    for (situation, property), cells in fitted.held_out.items():
        parts[CellGroup(situation.modalities, property)].append(cells)
    groups = {
        group: ScoredCells(
            logits=np.concatenate([part.logits for part in joined]),
            true=np.concatenate([part.true for part in joined]),
            fold=np.concatenate([part.fold for part in joined]),
            item=np.concatenate([part.item for part in joined]),
            values=joined[0].logits.shape[1],
        )
        for group, joined in sorted(parts.items())
    }
    return fit_calibration(groups, fitted.items.ids)
