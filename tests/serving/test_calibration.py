from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from fusion.inference.featurizer import ItemInput
from schema.errors import ModelError
from serving.calibration import (
    Calibration,
    CellGroup,
    ScoredCells,
    calibrate,
    fit_temperature,
    precision_bound,
    precision_curve,
    score_hidden_cells,
)
from serving.cells import probabilities

from .fakes import COLOURS, FakeScorer


def drawn_cells(count: int, temperature: float, values: int = 5) -> ScoredCells:
    """Cells whose true value is drawn from softmax(logits / temperature)."""
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=3, size=(count, values)).astype(np.float32)
    true = np.array([rng.multinomial(1, p) for p in probabilities(logits, temperature)], dtype=bool)
    return ScoredCells(logits, true, rng.integers(0, 2, count))


def catalogue(count: int = 60, wrong_titles: int = 0) -> list[ItemInput]:
    """Items whose title names their colour, except for the first ``wrong_titles``."""
    items = []
    for number in range(count):
        colour = COLOURS[number % 4]
        kind = ("mug", "lamp")[number % 2]
        in_title = COLOURS[(number + 1) % 4] if number < wrong_titles else colour
        known = (("colour", colour), ("kind", kind))
        items.append(ItemInput(f"i{number}", f"a {in_title} {kind}", colour, known))
    return items


def with_curves(curves: dict[str, Any]) -> Calibration:
    temperatures = {"global": 1.5, "situations": {}}
    return Calibration({"version": 1, "temperatures": temperatures, "curves": curves})


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_true_temperature_is_recovered(temperature):
    cells = drawn_cells(4000, temperature)
    assert fit_temperature([cells]) == pytest.approx(temperature, rel=0.08)


def test_few_cells_stay_near_the_centre_of_the_prior():
    few = fit_temperature([drawn_cells(5, 3.0)], centre=1.0, deviation=0.3)
    many = fit_temperature([drawn_cells(2000, 3.0)], centre=1.0, deviation=0.3)
    assert few < 1.6
    assert many > 2.5


@pytest.mark.parametrize("groups", [[], [drawn_cells(50, 1.0, values=1)]])
def test_without_informative_cells_the_temperature_is_the_centre(groups):
    assert fit_temperature(groups, centre=1.7) == 1.7


def test_cells_whose_true_value_the_model_does_not_know_do_not_move_the_temperature():
    cells = drawn_cells(500, 2.0)
    without_truth = ScoredCells(cells.logits, np.zeros_like(cells.true), cells.fold)
    assert fit_temperature([cells, without_truth]) == fit_temperature([cells])


def test_probabilities_of_several_true_values_are_added():
    logits = np.array([[5.0, 5.0, 0.0]] * 20, dtype=np.float32)
    both = np.array([[True, True, False]] * 20)
    # The model is sure of the two values together, and right, so it is sharpened.
    assert fit_temperature([ScoredCells(logits, both, np.zeros(20, int))]) < 1


@pytest.mark.parametrize(("count", "wrong"), [(299, 0), (50, 3), (10, 9)])
def test_the_precision_bound_is_clopper_pearson(count, wrong):
    test = binomtest(count - wrong, count, alternative="greater")
    expected = test.proportion_ci(0.95, method="exact").low
    assert precision_bound(count, wrong) == pytest.approx(expected, abs=1e-9)


def test_the_precision_bound_is_zero_if_nothing_is_right():
    assert precision_bound(0, 0) == precision_bound(7, 7) == 0


@pytest.mark.parametrize(("count", "target"), [(299, 0.99), (59, 0.95), (29, 0.9)])
def test_a_proof_without_mistakes_takes_the_documented_number_of_predictions(count, target):
    assert precision_bound(count, 0) >= target
    assert precision_bound(count - 1, 0) < target


def test_curve_leaves_out_points_that_no_target_needs():
    confidence = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    correct = np.array([True, True, True, True, False, False])
    assert precision_curve(confidence, correct) == [[0.6, 4, 0], [0.5, 5, 1], [0.4, 6, 2]]


@pytest.mark.parametrize("target", [0.5, 0.8, 0.9, 0.999])
def test_threshold_is_the_lowest_proven_probability_of_all(target):
    rng = np.random.default_rng(6)
    confidence = rng.beta(6, 1, 500)
    correct = rng.random(500) < confidence
    proven = []
    for probability in confidence:
        accepted = confidence >= probability
        if precision_bound(accepted.sum(), (~correct[accepted]).sum()) >= target:
            proven.append(probability)
    calibration = with_curves({"s": {"p": precision_curve(confidence, correct)}})
    assert calibration.threshold("s", "p", target) == min(proven, default=None)


def test_curve_does_not_separate_equal_probabilities():
    curve = precision_curve(np.array([0.9, 0.9, 0.9]), np.array([True, False, True]))
    assert curve == [[0.9, 3, 1]]


def test_curve_of_no_predictions_is_empty():
    assert precision_curve(np.zeros(0), np.zeros(0, bool)) == []


def test_proven_precision_holds_on_new_cells():
    rng = np.random.default_rng(5)
    new = rng.beta(6, 1, 20_000)
    failures = 0
    for _ in range(100):
        confidence = rng.beta(6, 1, 300)
        curve = precision_curve(confidence, rng.random(300) < confidence)
        threshold = with_curves({"all": {"p": curve}}).threshold("all", "p", 0.9)
        failures += threshold is not None and new[new >= threshold].mean() < 0.9
    assert failures <= 10


def test_threshold_is_the_lowest_proven_probability():
    curve = [[0.9, 40, 0], [0.7, 80, 2], [0.2, 100, 30]]
    calibration = with_curves({"title": {"colour": curve}})
    assert calibration.threshold("title", "colour", 0.9) == 0.7
    assert calibration.threshold("title", "colour", 0.5) == 0.2


def test_there_is_no_threshold_without_proof():
    calibration = with_curves({"title": {"colour": [[0.9, 40, 0]]}})
    assert calibration.threshold("title", "colour", 0.99) is None
    assert calibration.threshold("image", "colour", 0.9) is None
    assert calibration.threshold("title", "unknown", 0.9) is None


def test_a_situation_without_cells_takes_the_global_temperature():
    assert with_curves({}).temperature("image", "colour") == 1.5


def test_without_calibration_temperatures_are_one_and_nothing_is_proven():
    calibration = Calibration(None)
    assert calibration.temperature("title", "colour") == 1.0
    assert calibration.threshold("title", "colour", 0.5) is None


def test_another_version_is_a_model_error():
    with pytest.raises(ModelError, match="calibrate again"):
        Calibration({"version": 99})


def test_calibration_is_plain_data_that_survives_json():
    data = calibrate(FakeScorer(), catalogue())
    assert json.loads(json.dumps(data)) == data


def test_cells_are_scored_in_every_situation():
    groups = score_hidden_cells(FakeScorer(), catalogue(20))
    expected = {
        "+".join(modalities) or "nothing"
        for count in range(4)
        for modalities in itertools.combinations(("title", "image", "known"), count)
    }
    assert {group.situation for group in groups} == expected
    assert all(len(cells.fold) == 20 for cells in groups.values())


def test_an_item_with_statements_alone_has_one_situation():
    groups = score_hidden_cells(
        FakeScorer(), [ItemInput("1", None, None, known=(("colour", "red"),))]
    )
    assert set(groups) == {CellGroup("nothing", "colour")}


def test_the_hidden_property_is_never_among_the_known_statements():
    scorer = FakeScorer()
    score_hidden_cells(scorer, catalogue(10))
    assert all(name != query.property for query in scorer.queries for name, _ in query.known)


def test_a_value_that_the_model_does_not_know_counts_as_wrong():
    item = ItemInput("1", "a red mug", None, (("colour", "teal"), ("unknown", "x")))
    groups = score_hidden_cells(FakeScorer(), [item])
    assert {group.property for group in groups} == {"colour"}
    assert not groups[CellGroup("title", "colour")].true.any()


def test_an_underconfident_scorer_is_sharpened_and_an_overconfident_one_softened():
    underconfident = Calibration(calibrate(FakeScorer(1.0), catalogue()))
    overconfident = Calibration(calibrate(FakeScorer(12.0), catalogue(wrong_titles=25)))
    assert underconfident.temperature("title", "colour") < 0.5
    assert overconfident.temperature("title", "colour") > 2


def test_precision_is_proven_only_in_situations_that_identify_the_value():
    calibration = Calibration(calibrate(FakeScorer(), catalogue()))
    assert calibration.threshold("title", "colour", 0.9) is not None
    assert calibration.threshold("nothing", "colour", 0.9) is None


def test_calibration_is_seeded_and_does_not_depend_on_the_order_of_the_items():
    assert calibrate(FakeScorer(), catalogue()) == calibrate(FakeScorer(), catalogue()[::-1])


def test_progress_ends_at_the_number_of_items():
    calls: list[tuple[int, int]] = []
    calibrate(FakeScorer(), catalogue(40), progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (40, 40)


def test_without_validation_items_temperatures_are_one_and_nothing_is_proven():
    data = calibrate(FakeScorer(), [])
    assert data["cells"] == 0
    calibration = Calibration(data)
    assert calibration.temperature("title", "colour") == 1.0
    assert calibration.threshold("title", "colour", 0.5) is None


def test_several_processes_score_what_one_does():
    items = catalogue(80)

    def backwards(work, compute):
        return [compute(part) for part in reversed(work)][::-1]

    alone = score_hidden_cells(FakeScorer(), items)
    shared = score_hidden_cells(FakeScorer(), items, share_out=backwards)
    assert alone.keys() == shared.keys()
    for group, cells in alone.items():
        for name in ("logits", "true", "fold"):
            assert np.array_equal(getattr(cells, name), getattr(shared[group], name))


@pytest.mark.parametrize(
    "change",
    [
        {"temperatures": None},
        {"temperatures": []},
        {"temperatures": {"global": 1.0}},
        {"temperatures": {"global": 0, "situations": {}}},
        {"temperatures": {"global": float("nan"), "situations": {}}},
        {"temperatures": {"global": "1", "situations": {}}},
        {"temperatures": {"global": 1.0, "situations": []}},
        {"temperatures": {"global": 1.0, "situations": {"title": {"all": 1.0}}}},
        {"temperatures": {"global": 1.0, "situations": {"title": {"properties": {}}}}},
        {"curves": None},
        {"curves": {"title": []}},
        {"curves": {"title": {"colour": [[0.9, 10]]}}},
        {"curves": {"title": {"colour": [[0.9, 10, 11]]}}},
        {"curves": {"title": {"colour": [[0.9, 10, -1]]}}},
        {"curves": {"title": {"colour": [[2, 10, 1]]}}},
        {"curves": {"title": {"colour": "abc"}}},
        {"confidence": 2},
        {"confidence": "0.95"},
    ],
    ids=range(18),
)
def test_a_damaged_calibration_is_refused(change):
    data = {"version": 1, "temperatures": {"global": 1.5, "situations": {}}, "curves": {}}
    Calibration(data)
    with pytest.raises(ModelError, match=r"calibration\.json is damaged") as caught:
        Calibration(data | change)
    assert "\n" not in str(caught.value)
