"""Retrieval by hand."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from evaluation.tasks.same_products import retrieve_same_products
from fusion.inference.featurizer import ItemInput
from fusion.inference.item_encoder import ItemEncoder, TaskInput

ANGLES = {"a": 0.0, "b": 10.0, "c": 20.0, "d": 90.0, "e": 180.0}
ITEMS = [ItemInput(id) for id in ANGLES]


class Angles(ItemEncoder):
    """Points on a circle, of any length."""

    name = "angles"
    width = 2

    def forward(self, inputs: Sequence[TaskInput]) -> Tensor:
        angles = torch.tensor([ANGLES[each.item.id] for each in inputs]).deg2rad()
        return 3 * torch.stack([angles.cos(), angles.sin()], 1)


def test_recall_and_average_precision_by_hand():
    same = {"a": frozenset({"c"}), "c": frozenset({"a"}), "e": frozenset({"d", "b"})}
    found = retrieve_same_products(Angles(), ITEMS, ITEMS, same)
    assert (found.queries, found.index) == (3, 5)
    measured = found.measured["item"].values
    # a: b, c; c: b, a; e: d, c, b.
    assert measured["MAR@10"] == 1
    assert measured["MAP@10"] == pytest.approx((1 / 2 + 1 / 2 + (1 + 2 / 3) / 2) / 3)


def test_a_query_whose_same_product_is_not_in_the_index_is_not_asked():
    found = retrieve_same_products(Angles(), ITEMS[:2], ITEMS[:2], {"a": frozenset({"c"})})
    assert found.queries == 0
