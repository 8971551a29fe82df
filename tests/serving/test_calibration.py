from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from fusion.inference.featurizer import ItemInput
from schema.errors import ModelError
from serving.calibration import (
    Asked,
    Calibration,
    ask,
    calibrate,
    fit_temperature,
    precision_bound,
    precision_curve,
)
from serving.cells import probabilities, situation_of

from .fakes import COLOURS, FakeScorer


def asked(count: int, temperature: float, seed: int = 0, values: int = 5) -> Asked:
    """Cells whose truth is drawn from softmax(logits / temperature)."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=3, size=(count, values)).astype(np.float32)
    true = np.array([rng.multinomial(1, p) for p in probabilities(logits, temperature)], dtype=bool)
    return Asked(logits, true, rng.integers(0, 2, count))


def catalogue(count: int = 60, wrong: int = 0) -> list[ItemInput]:
    """Items whose title names their colour, but for the first ``wrong``."""
    items = []
    for number in range(count):
        colour = COLOURS[number % 4]
        kind = ("mug", "lamp")[number % 2]
        said = COLOURS[(number + 1) % 4] if number < wrong else colour
        items.append(
            ItemInput(
                f"i{number}", f"a {said} {kind}", colour, (("colour", colour), ("kind", kind))
            )
        )
    return items


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_temperature_is_found_again(temperature):
    assert fit_temperature([asked(4000, temperature)]) == pytest.approx(temperature, rel=0.08)


def test_few_cells_stay_near_the_centre():
    few, many = (
        fit_temperature([asked(count, 3.0)], centre=1.0, deviation=0.3) for count in (5, 2000)
    )
    assert few < 1.6
    assert many > 2.5


@pytest.mark.parametrize("groups", [[], [asked(50, 1.0, values=1)]])
def test_nothing_to_fit_gives_the_centre(groups):
    assert fit_temperature(groups, centre=1.7) == 1.7


def test_cells_whose_truth_is_unknown_to_the_model_do_not_move_the_temperature():
    cells = asked(500, 2.0)
    strange = Asked(cells.logits, np.zeros_like(cells.true), cells.fold)
    assert fit_temperature([cells, strange]) == fit_temperature([cells])


def test_several_true_values_count_together():
    logits = np.array([[5.0, 5.0, 0.0]] * 20, dtype=np.float32)
    both = np.array([[True, True, False]] * 20)
    assert (
        fit_temperature([Asked(logits, both, np.zeros(20, int))]) < 1
    )  # being sure of either is right


@pytest.mark.parametrize(("count", "wrong"), [(299, 0), (50, 3), (10, 9)])
def test_bound_is_clopper_pearson(count, wrong):
    oracle = binomtest(count - wrong, count, alternative="greater").proportion_ci(
        0.95, method="exact"
    )
    assert precision_bound(count, wrong) == pytest.approx(oracle.low, abs=1e-9)


def test_bound_of_nothing_right_is_nought():
    assert precision_bound(0, 0) == precision_bound(7, 7) == 0


def test_proof_without_mistakes_takes_as_many_predictions_as_documented():
    assert [
        precision_bound(n, 0) >= t for n, t in ((299, 0.99), (298, 0.99), (29, 0.9), (28, 0.9))
    ] == [True, False, True, False]


def test_curve_keeps_only_what_no_lower_probability_proves():
    confidence = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    correct = np.array([True, True, True, True, False, False])
    assert precision_curve(confidence, correct) == [[0.6, 4, 0], [0.5, 5, 1], [0.4, 6, 2]]


@pytest.mark.parametrize("target", [0.5, 0.8, 0.9, 0.999])
def test_curve_gives_the_smallest_proven_probability_for_any_target(target):
    rng = np.random.default_rng(6)
    confidence = rng.beta(6, 1, 500)
    correct = rng.random(500) < confidence
    proven = [
        p
        for p in confidence
        if precision_bound((confidence >= p).sum(), (~correct[confidence >= p]).sum()) >= target
    ]
    assert Calibration(plain({"s": {"p": precision_curve(confidence, correct)}})).threshold(
        "s", "p", target
    ) == min(proven, default=None)


def test_curve_never_parts_equal_probabilities():
    assert precision_curve(np.array([0.9, 0.9, 0.9]), np.array([True, False, True])) == [
        [0.9, 3, 1]
    ]


def test_curve_of_nothing_is_empty():
    assert precision_curve(np.zeros(0), np.zeros(0, bool)) == []


def test_proven_precision_holds_on_fresh_cells():
    rng = np.random.default_rng(5)
    fresh = rng.beta(6, 1, 20_000)
    misses = 0
    for _ in range(100):
        confidence = rng.beta(6, 1, 300)
        curve = precision_curve(confidence, rng.random(300) < confidence)
        threshold = Calibration(plain({"all": {"p": curve}})).threshold("all", "p", 0.9)
        misses += threshold is not None and fresh[fresh >= threshold].mean() < 0.9
    assert misses <= 10


def plain(curves: dict[str, Any]) -> dict[str, Any]:
    return {"version": 1, "temperatures": {"global": 1.5, "situations": {}}, "curves": curves}


def test_threshold_is_the_smallest_that_is_proven():
    calibration = Calibration(
        plain({"title": {"colour": [[0.9, 40, 0], [0.7, 80, 2], [0.2, 100, 30]]}})
    )
    assert calibration.threshold("title", "colour", 0.9) == 0.7
    assert calibration.threshold("title", "colour", 0.5) == 0.2


def test_nothing_proven_gives_no_threshold():
    calibration = Calibration(plain({"title": {"colour": [[0.9, 40, 0]]}}))
    assert calibration.threshold("title", "colour", 0.99) is None
    assert calibration.threshold("image", "colour", 0.9) is None
    assert calibration.threshold("title", "unheard of", 0.9) is None


def test_unmeasured_situation_takes_the_global_temperature():
    assert Calibration(plain({})).temperature("image", "colour") == 1.5


def test_no_calibration_means_plain_softmax_and_no_proof():
    bare = Calibration(None)
    assert (bare.temperature("title", "colour"), bare.threshold("title", "colour", 0.5)) == (
        1.0,
        None,
    )


def test_other_version_is_a_model_error():
    with pytest.raises(ModelError, match="calibrate again"):
        Calibration({"version": 99})


def test_calibration_is_plain_data_that_survives_json():
    data = calibrate(FakeScorer(), catalogue())
    assert json.loads(json.dumps(data)) == data


def test_every_situation_is_asked():
    groups = ask(FakeScorer(), catalogue(20))
    parts = [
        situation_of(t, i, k) for t in (True, None) for i in (True, None) for k in (True, None)
    ]
    assert {situation for situation, _ in groups} == set(parts)
    assert all(len(cells.fold) == 20 for cells in groups.values())


def test_items_without_title_are_asked_without():
    groups = ask(FakeScorer(), [ItemInput("1", None, None, (("colour", "red"),))])
    assert set(groups) == {("nothing", "colour")}


def test_hidden_cell_is_never_among_the_known():
    scorer = FakeScorer()
    ask(scorer, catalogue(10))
    assert all(name != cell.property for cell in scorer.asked for name, _ in cell.known)


def test_value_unknown_to_the_model_counts_as_wrong():
    groups = ask(
        FakeScorer(), [ItemInput("1", "a red mug", None, (("colour", "teal"), ("strange", "x")))]
    )
    assert {name for _, name in groups} == {"colour"}
    assert not groups["title", "colour"].true.any()


def test_careful_scorer_is_sharpened_and_a_rash_one_softened():
    careful = Calibration(calibrate(FakeScorer(1.0), catalogue())).temperature("title", "colour")
    rash = Calibration(calibrate(FakeScorer(12.0), catalogue(wrong=25))).temperature(
        "title", "colour"
    )
    assert careful < 0.5
    assert rash > 2


def test_fills_where_titles_tell_and_not_where_nothing_does():
    calibration = Calibration(calibrate(FakeScorer(), catalogue()))
    assert calibration.threshold("title", "colour", 0.9) is not None
    assert calibration.threshold("nothing", "colour", 0.9) is None


def test_calibration_is_seeded_and_does_not_depend_on_order():
    assert calibrate(FakeScorer(), catalogue()) == calibrate(FakeScorer(), catalogue()[::-1])


def test_progress_ends_at_the_number_of_items():
    seen: list[tuple[int, int]] = []
    calibrate(FakeScorer(), catalogue(40), progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (40, 40)


def test_no_validation_items_leave_plain_softmax_and_no_proof():
    data = calibrate(FakeScorer(), [])
    assert data["cells"] == 0
    assert (
        Calibration(data).temperature("title", "colour"),
        Calibration(data).threshold("title", "colour", 0.5),
    ) == (1.0, None)
