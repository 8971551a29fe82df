"""Several values of a cell are measured one by one, as they are filled."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.completion import EvaluationReport, evaluate_completion
from evaluation.settings import Setting
from evaluation.several_values import ValueCounts, estimate_values
from fusion.inference.featurizer import ItemInput
from serving.calibration import CellGroup, fit_calibration
from serving.cells import Cell
from serving.completion import CompletionOptions, complete_cells
from serving.deciding import CellLimits
from tests.serving.test_several_values import ONTOLOGY, TitleScorer, made_cells


@pytest.fixture(scope="module")
def scorer() -> TitleScorer:
    cells = {CellGroup("title", "colour"): made_cells()}
    return TitleScorer(fit_calibration(cells, range(3000), ontology=ONTOLOGY))


def item(number: int, title: str, *colours: str) -> ItemInput:
    return ItemInput(f"I{number}", title=title, known=tuple(("colour", each) for each in colours))


ITEMS = [
    item(0, "red and blue", "red", "blue"),
    item(1, "red and blue", "red"),
    item(2, "green", "green", "white", "mauve"),
]


def evaluate(scorer: TitleScorer) -> EvaluationReport:
    return evaluate_completion(scorer, ITEMS, ONTOLOGY, Setting(), resamples=20)


def test_values_are_counted_one_by_one(scorer: TitleScorer) -> None:
    several = evaluate(scorer).several["colour"]
    assert (several.cells, several.values) == (3, 6)
    at_95 = several.targets[1]
    # Filled are red and blue, red and blue, and green, of which one blue is wrong.
    assert at_95.filled == 5
    assert at_95.precision.value == pytest.approx(4 / 5)
    assert at_95.recall.value == pytest.approx(4 / 6)
    assert at_95.f1.value == pytest.approx(8 / 11)
    assert at_95.precision.low <= 4 / 5 <= at_95.precision.high


def test_as_many_values_are_filled_as_complete_fills(scorer: TitleScorer) -> None:
    bare = [ItemInput(each.id, title=each.title) for each in ITEMS]
    cells = [Cell(number, "colour") for number in range(len(bare))]
    options = CompletionOptions(limits_of=lambda cell: CellLimits(0.95))
    completions = complete_cells(scorer, bare, cells, options)
    filled = sum(len(each.filled_values()) for each in completions)
    assert evaluate(scorer).several["colour"].targets[1].filled == filled


def test_a_cell_is_filled_if_a_value_is(scorer: TitleScorer) -> None:
    colour = evaluate(scorer).properties["colour"]
    assert colour["coverage@0.95"].value == 1
    assert colour["precision@0.95"].value == 1
    # The one red that is true beside a false blue is as probable as this one.
    assert colour["hits@1"].value == pytest.approx(3 / 6)


def test_without_a_filled_value_there_is_no_precision() -> None:
    nothing = np.zeros((2, 3), np.int64)
    counts = ValueCounts(np.array([0, 1]), np.array([1, 2]), nothing, nothing)
    at_90 = estimate_values(counts, 2, resamples=5).targets[0]
    assert np.isnan(at_90.precision.value)
    assert (at_90.recall.value, at_90.f1.value) == (0, 0)
