"""Hits@1 of items that were left out, by hand."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from evaluation.left_out import left_out_figures
from experts.labelled_items import HeldOutCells
from kg.model_facts import Numbers


@dataclass(frozen=True)
class Named:
    name: str


@dataclass
class Fitted:
    held_out: Any


def figures(held_out: Any) -> dict[str, dict[str, Numbers]]:
    fitted: Any = Fitted(held_out)
    return left_out_figures(fitted)


def cells(best, true, items):
    """Cells of three values, whose ``best`` are told, and the values that they have."""
    logits = np.full((len(best), 4), -1.0, np.float32)
    logits[np.arange(len(best)), best] = 1
    has = np.zeros((len(best), 3), bool)
    for row, values in enumerate(true):
        has[row, list(values)] = True
    fold = np.zeros(len(best), np.int64)
    return HeldOutCells(logits, has, np.array(items), fold, fold)


def test_means_are_over_situations_of_means_over_properties():
    found = figures(
        {
            (Named("image"), "colour"): cells([0, 1, 2, 0], [{0}, {1}, {0}, {1, 0}], [1, 2, 3, 4]),
            (Named("image"), "size"): cells([0, 1], [{1}, {1}], [1, 2]),
            # What nobody can answer is no cell.
            (Named("title"), "colour"): cells([0, 1], [{0}, set()], [1, 2]),
        }
    )
    assert found["macro"]["hits@1"][0] == pytest.approx(((0.75 + 0.5) / 2 + 1) / 2)
    assert found["colour"]["hits@1"][0] == pytest.approx((0.75 + 1) / 2)
    assert found["size"]["hits@1"][0] == pytest.approx(0.5)
    for value, low, high in (each["hits@1"] for each in found.values()):
        assert 0 <= low <= value <= high <= 1


def test_an_interval_covers_what_items_vary_by():
    rng = np.random.default_rng(0)
    right = rng.random(400) < 0.8
    own = cells(np.where(right, 0, 1), [{0}] * 400, range(400))
    value, low, high = figures({(Named("image"), "colour"): own})["macro"]["hits@1"]
    assert value == pytest.approx(right.mean())
    # 1.96 standard deviations of a share of 400.
    deviation = 1.96 * np.sqrt(value * (1 - value) / 400)
    assert high - value == pytest.approx(deviation, rel=0.2)
    assert value - low == pytest.approx(deviation, rel=0.2)


def test_items_take_all_their_cells_along():
    items = np.repeat(np.arange(50), 20)
    right = np.repeat(np.arange(50) % 2 == 0, 20)
    own = cells(np.where(right, 0, 1), [{0}] * 1000, items)
    _, low, high = figures({(Named("image"), "colour"): own})["macro"]["hits@1"]
    assert high - low == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(50), rel=0.2)


def test_without_cells_there_is_no_figure():
    assert figures({}) == {}
