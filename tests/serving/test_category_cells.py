"""What an item's category is filled with, and what that proves."""

import numpy as np
import pytest

from experts.category_tree import ANY_LEVEL, level_name
from schema.ontology import PropertySpec
from schema.terms import CATEGORY
from serving.calibration import Calibration
from serving.category_calibration import THRESHOLDS, prove_any_level
from serving.category_cells import CategoryFilling
from serving.deciding import CellLimits
from serving.proof import JudgedCells, prove_sequence

SPEC = PropertySpec(
    CATEGORY,
    values=("Shoes > Boots", "Shoes > Heels", "Bags > Totes"),
    counts=(10, 10, 10),
    learn=True,
)
LIMITS = CellLimits(target_precision=0.9)


def filling(path, parent, together):
    """Return a filling with these thresholds for 0.9; None where nothing is proven."""
    proven = {
        name: {"cells": 1, "steps": [] if threshold is None else [[0.9, threshold, 1.0]]}
        for name, threshold in (
            (CATEGORY, path),
            (level_name(1), parent),
            (ANY_LEVEL, together),
        )
    }
    temperatures = {"global": 1.0, "situations": {}}
    data = {"version": 2, "temperatures": temperatures, "proven": {"s": proven}}
    return CategoryFilling(SPEC, Calibration(data))


def said(probabilities, found, withheld=()):
    node = found.filled("s", np.array(probabilities), LIMITS, withheld)
    return None if node is None else (node.category, pytest.approx(node.probability))


def test_the_deepest_node_that_is_proven_is_filled():
    found = filling(0.8, 0.7, 0.75)
    assert said([0.9, 0.05, 0.05], found) == ("Shoes > Boots", 0.9)
    assert said([0.5, 0.45, 0.05], found) == ("Shoes", 0.95)
    assert said([0.4, 0.3, 0.3], found) is None


def test_both_thresholds_have_to_be_reached():
    # The path's own is stricter, so that its parent takes its place.
    assert said([0.9, 0.05, 0.05], filling(0.95, 0.7, 0.8)) == ("Shoes", 0.95)
    assert said([0.9, 0.0, 0.1], filling(0.5, 0.5, 0.95)) is None
    assert said([1.0, 0.0, 0.0], filling(0.5, 0.5, None)) is None
    # What is proven of the broadest level alone does not count.
    assert said([0.5, 0.45, 0.05], filling(None, None, 0.9)) == ("Shoes", 0.95)


def test_what_is_rejected_is_not_filled_nor_what_is_below_it():
    found = filling(0.8, 0.7, 0.75)
    assert said([0.9, 0.05, 0.05], found, {"Shoes"}) is None
    # Nor does its parent get its probability.
    assert said([0.9, 0.05, 0.05], found, {"Shoes > Boots"}) is None
    assert said([0.45, 0.5, 0.05], filling(0.8, 0.45, 0.45), {"Shoes > Boots"}) == ("Shoes", 0.5)
    assert said([0.1, 0.85, 0.05], found, {"Shoes > Boots"}) == ("Shoes > Heels", 0.85)


def judged(probability, right):
    items = np.arange(len(right))
    return JudgedCells(np.asarray(probability, float), np.asarray(right, bool), items)


def test_a_parent_makes_up_for_no_more_errors_than_the_target_allows():
    rng = np.random.default_rng(0)
    cells = 4000
    path = rng.uniform(0.3, 1, cells)
    parent = np.maximum(path, rng.uniform(0.9, 1, cells))
    right_path = rng.random(cells) < path
    right = right_path | (rng.random(cells) < parent)
    steps = prove_any_level([judged(parent, right), judged(path, right_path)])
    proven = {each.precision: each.probability for each in steps}
    assert 0.9 in proven
    for target, threshold in proven.items():
        depth = (path >= threshold).astype(int)
        filled = parent >= threshold
        answers = np.where(depth == 1, right_path, right)[filled]
        assert answers.mean() >= target


def test_wrong_parents_prove_nothing():
    sure = np.full(500, 0.99)
    wrong = np.arange(500) % 2 == 0
    assert prove_any_level([judged(sure, wrong), judged(sure / 2, wrong)]) == []
    assert THRESHOLDS[0] > 0.999 > THRESHOLDS[-1] == pytest.approx(0.5)


def test_a_sequence_ends_at_its_first_failure():
    counts = np.array([50, 100, 200, 400])
    assert prove_sequence(counts, np.array([0, 0, 0, 0]), 0.9) == 3
    assert prove_sequence(counts, np.array([0, 0, 60, 60]), 0.9) == 1
    assert prove_sequence(np.array([5]), np.array([0]), 0.9) is None
    assert prove_sequence(counts, np.array([0, 0, 0, 0]), 0.9, effect=100.0) is None
