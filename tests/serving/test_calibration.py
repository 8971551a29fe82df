from __future__ import annotations

import itertools
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fusion.inference.featurizer import ItemInput
from schema.errors import ModelError
from serving.calibration import (
    Calibration,
    CellGroup,
    ScoredCells,
    calibrate,
    fit_calibration,
    fit_temperature,
    join_groups,
    score_hidden_cells,
)
from serving.cells import probabilities

from .fakes import COLOURS, FakeScorer


def scored(logits: np.ndarray, true: np.ndarray, fold: Any = 0) -> ScoredCells:
    """Cells of as many items."""
    count, values = logits.shape
    return ScoredCells(logits, true, np.full(count, fold), np.arange(count), values)


def drawn_cells(count: int, temperature: float, values: int = 5) -> ScoredCells:
    """Cells whose true value is drawn from softmax(logits / temperature)."""
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=3, size=(count, values)).astype(np.float32)
    true = np.array([rng.multinomial(1, p) for p in probabilities(logits, temperature)], dtype=bool)
    return scored(logits, true, rng.integers(0, 2, count))


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


def test_what_reviewers_do_not_agree_about_counts_less_and_proves_nothing():
    cells = drawn_cells(500, 2.0)
    twice = join_groups(
        {CellGroup("title", "colour"): cells}, {CellGroup("title", "colour"): cells}
    )
    (doubled,) = twice.values()
    halved = replace(doubled, weight=np.full(1000, 0.5))
    assert fit_temperature([halved]) == pytest.approx(fit_temperature([cells]), rel=1e-3)
    sure = np.zeros((600, 5), np.float32)
    sure[:, 0] = 9
    right = np.zeros((600, 5), bool)
    right[:, 0] = True
    agreed = scored(sure, right, np.arange(600) % 2)
    disputed = replace(agreed, weight=np.where(np.arange(600) < 60, 2 / 3, 1.0))
    ontology = FakeScorer().ontology
    steps = [
        fit_calibration({CellGroup("title", "colour"): each}, range(600), ontology=ontology)[
            "proven"
        ]["title"]["colour"]
        for each in (agreed, disputed)
    ]
    # A tenth is wrong, as far as anyone can tell.
    assert max(step[0] for step in steps[0]["steps"]) > 0.98
    assert max(step[0] for step in steps[1]["steps"]) < 0.9


def test_cells_whose_true_value_the_model_does_not_know_do_not_move_the_temperature():
    cells = drawn_cells(500, 2.0)
    without_truth = scored(cells.logits, np.zeros_like(cells.true))
    assert fit_temperature([cells, without_truth]) == fit_temperature([cells])


def test_probabilities_of_several_true_values_are_added():
    logits = np.array([[5.0, 5.0, 0.0]] * 20, dtype=np.float32)
    both = np.array([[True, True, False]] * 20)
    # The model is sure of the two values together, and right, so it is sharpened.
    assert fit_temperature([scored(logits, both)]) < 1


def proven(*steps: list[float]) -> Calibration:
    data = {"title": {"colour": {"cells": 100, "steps": list(steps)}}}
    temperatures = {"global": 1.5, "situations": {}}
    return Calibration({"version": 2, "temperatures": temperatures, "proven": data})


def test_the_threshold_of_a_target_is_that_of_the_next_precision():
    calibration = proven([0.95, 0.9, 0.2], [0.9, 0.7, 0.6])
    assert calibration.threshold("title", "colour", 0.95) == 0.9
    assert calibration.threshold("title", "colour", 0.91) == 0.9
    assert calibration.threshold("title", "colour", 0.9) == 0.7
    assert calibration.threshold("title", "colour", 0.96) is None
    assert calibration.threshold("image", "colour", 0.9) is None


def test_the_proven_precision_of_a_cell_is_the_highest_that_fills_it():
    calibration = proven([0.95, 0.9, 0.2], [0.9, 0.7, 0.6])
    found = [calibration.proven_precision("title", "colour", each) for each in (0.99, 0.8, 0.6)]
    assert found == [0.95, 0.9, None]


def test_a_calibration_of_the_former_version_keeps_its_thresholds():
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
        for name in ("logits", "true", "fold", "item"):
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


@pytest.mark.parametrize(
    "proofs",
    [
        None,
        [],
        {"title": []},
        {"title": {"colour": []}},
        {"title": {"colour": {"cells": 1}}},
        {"title": {"colour": {"steps": [[0.9, 0.5]]}}},
        {"title": {"colour": {"steps": [[1.5, 0.5, 1]]}}},
        {"title": {"colour": {"steps": [[0.9, float("nan"), 1]]}}},
        {"title": {"colour": {"steps": [[0.9, "0.5", 1]]}}},
    ],
)
def test_damaged_proofs_are_refused(proofs):
    temperatures = {"global": 1.5, "situations": {}}
    data = {"version": 2, "temperatures": temperatures, "proven": proofs}
    with pytest.raises(ModelError, match=r"calibration\.json is damaged"):
        Calibration(data)


def leave_one_out(count: int) -> dict[CellGroup, ScoredCells]:
    """Cells of items that a scorer has learned from, scored as by :class:`FakeScorer`."""
    items = [replace(item, id=f"t{item.id}") for item in catalogue(count)]
    return score_hidden_cells(FakeScorer(), items)


def test_cells_scored_without_their_item_prove_more_than_validation_alone():
    validation = catalogue(40)
    alone = Calibration(calibrate(FakeScorer(), validation))
    data = calibrate(FakeScorer(), validation, out_of_fold=leave_one_out(400))
    together = Calibration(data)
    assert alone.threshold("title", "colour", 0.99) is None
    assert together.threshold("title", "colour", 0.99) is not None
    assert (data["items"], data["cells"]) == (40, 440 * 2 * 8)
    assert data["out_of_fold_cells"] == 400 * 2 * 8


def test_joined_groups_have_the_cells_of_both():
    first = {CellGroup("title", "colour"): drawn_cells(3, 1.0)}
    second = {
        CellGroup("title", "colour"): drawn_cells(4, 1.0),
        CellGroup("image", "colour"): drawn_cells(2, 1.0),
    }
    joined = join_groups(first, second)
    counts = {group.situation: len(cells.fold) for group, cells in joined.items()}
    assert counts == {"image": 2, "title": 7}


def test_cells_over_other_values_cannot_be_joined():
    group = CellGroup("title", "colour")
    with pytest.raises(ValueError, match="same values"):
        join_groups({group: drawn_cells(3, 1.0)}, {group: drawn_cells(3, 1.0, values=4)})


class TellsOther(FakeScorer):
    """A scorer that takes a title with "strange" for that of another value."""

    def score(self, encoded, cells):
        rows = super().score(encoded, cells)
        strange = ["strange" in (encoded[cell.item].title or "") for cell in cells]
        return [
            np.append(row, np.float32(6.0 * each)) for row, each in zip(rows, strange, strict=True)
        ]


def test_a_scorer_may_say_how_probable_another_value_is():
    items = catalogue(60)
    strange = [
        ItemInput(f"s{number}", "a strange red mug", None, (("colour", "teal"),))
        for number in range(60)
    ]
    groups = score_hidden_cells(TellsOther(), items + strange)
    cells = groups[CellGroup("title", "colour")]
    assert cells.values == 4
    assert cells.logits.shape == cells.true.shape == (120, 5)
    assert cells.true[:, 4].sum() == 60
    # No strange title is taken for red, so the others prove what they are.
    blind = Calibration(calibrate(FakeScorer(), items + strange))
    telling = Calibration(calibrate(TellsOther(), items + strange))
    assert blind.threshold("title", "colour", 0.9) is None
    assert telling.threshold("title", "colour", 0.9) is not None
