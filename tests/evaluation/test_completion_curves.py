"""Completion under K3M's protocol, by a scorer that reads titles alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from evaluation.completion_curves import completion_curves
from evaluation.modality_faults import ModalityFault
from evaluation.settings import Setting
from fusion.inference.featurizer import ItemInput
from fusion.inference.scorer import CellQuery, situation_of
from schema.modalities import NETWORK_MODALITIES
from tests.evaluation.tasks.made_items import made_items

ITEMS = made_items()


class TitleScorer:
    """Gives a value that the title names the higher score."""

    name = "titles"
    ontology = ITEMS.ontology
    calibration = None
    modalities = NETWORK_MODALITIES

    def situation(self, item: ItemInput, cell: CellQuery) -> str:
        return situation_of(item, cell)

    def encode(self, items: Sequence[ItemInput]) -> Any:
        return [(item.title or "").split() for item in items]

    def score(self, encoded: Any, cells: Sequence[CellQuery]) -> list[Any]:
        return [
            np.array(
                [
                    5.0 * (value in encoded[cell.item]) + 0.001 * place
                    for place, value in enumerate(self.ontology.values_of(cell.property))
                ],
                np.float32,
            )
            for cell in cells
        ]


def test_titles_count_and_images_do_not():
    curves = {
        each.fault: each
        for each in completion_curves(
            TitleScorer(), ITEMS.parts["train"], ITEMS.ontology, Setting(), ratios=(0.0, 0.5, 1.0)
        )
    }
    assert set(curves) == set(ModalityFault)
    assert curves[ModalityFault.IMR].values == (1, 1, 1)
    whole, half, none = curves[ModalityFault.TMR].values
    # Without a title the last value of each property comes first: a quarter and a half are right.
    assert whole == 1
    assert none == pytest.approx((1 / 4 + 1 / 2) / 2)
    assert half == pytest.approx((whole + none) / 2, abs=0.1)
    assert curves[ModalityFault.TNR].values[-1] < 0.5
