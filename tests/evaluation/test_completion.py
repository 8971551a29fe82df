from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from evaluation.completion import (
    EvaluationReport,
    compare,
    evaluate_completion,
    evaluate_settings,
)
from evaluation.settings import SETTINGS, Setting
from fusion.inference.featurizer import ItemInput
from fusion.inference.scorer import CellQuery
from schema.errors import DataError
from schema.ontology import Ontology, PropertySpec
from tests.serving.fakes import COLOURS, ONTOLOGY, FakeScorer

IMAGE_ONLY = Setting("none", "yes", "none")


def catalogue(count: int = 40) -> list[ItemInput]:
    """Items whose title names the colour; images show it in three of four; kinds alternate."""
    items = []
    for number in range(count):
        colour = COLOURS[number % 4]
        kind = ("mug", "lamp")[number % 2]
        image = colour if number % 4 else "red"
        known = (("colour", colour), ("kind", kind))
        items.append(ItemInput(f"i{number}", f"fine {colour} thing", image, known))
    return items


def evaluate(
    setting: Setting | None = None, scorer: FakeScorer | None = None, resamples: int = 2
) -> EvaluationReport:
    return evaluate_completion(
        scorer or FakeScorer(), catalogue(), ONTOLOGY, setting or Setting(), resamples=resamples
    )


def colour_hits(setting: Setting, scorer: FakeScorer | None = None) -> float:
    return evaluate(setting, scorer).properties["colour"]["hits@1"].value


def test_full_titles_identify_the_colour():
    assert colour_hits(Setting("full", "no", "none")) == 1


def test_blind_titles_do_not():
    # All four colours tie, which is a realistic rank of 2.5.
    assert colour_hits(Setting("blind", "no", "none")) == 0


def test_what_the_category_says_of_the_hidden_cell_is_hidden_from_it_alone():
    scorer = FakeScorer()
    path = ("Home", "LAMP", "Blue")
    item = ItemInput("1", known=(("kind", "lamp"), ("colour", "red")), category=path)
    setting = Setting(category="yes")
    evaluate_completion(scorer, [item], ONTOLOGY, setting, resamples=2)
    seen = {query.property: query.category for query in scorer.queries}
    # That the item is not blue is not known, so that the wrong level stays.
    assert seen == {"kind": ("Home", "Blue"), "colour": path}


def test_images_identify_the_colour_that_they_show():
    assert colour_hits(IMAGE_ONLY) == 0.75


def test_known_statements_are_given_if_the_setting_shows_them():
    scorer = FakeScorer()
    evaluate(Setting("none", "no", "all"), scorer)
    assert {query.known for query in scorer.queries if query.property == "colour"} == {
        (("kind", "mug"),),
        (("kind", "lamp"),),
    }


def test_the_hidden_property_is_never_given():
    scorer = FakeScorer()
    evaluate_settings(scorer, catalogue(), ONTOLOGY, SETTINGS, resamples=2)
    assert all(name != query.property for query in scorer.queries for name, _ in query.known)


def test_reports_are_in_the_order_of_the_settings_which_share_encoded_items():
    scorer = FakeScorer()
    reports = evaluate_settings(scorer, catalogue(), ONTOLOGY, SETTINGS, resamples=2)
    assert [report.setting for report in reports] == list(SETTINGS)
    # Three titles with and without the image; known statements need no further encoding.
    assert set(scorer.encoded_items.values()) == {6}


def test_a_setting_gives_the_same_alone_and_among_others():
    together = evaluate_settings(FakeScorer(), catalogue(), ONTOLOGY, SETTINGS, resamples=20)
    # As JSON, in which NaN is None: it is not equal to itself.
    assert evaluate(SETTINGS[3], resamples=20).as_dict() == together[3].as_dict()


def test_all_true_values_are_ranked_and_none_counts_against_another():
    item = ItemInput("1", "black white", None, (("colour", "black"), ("colour", "white")))
    report = evaluate_completion(FakeScorer(), [item], ONTOLOGY, Setting(), resamples=2)
    assert report.properties["colour"]["mrr"].value == 1
    assert report.cells == {"colour": 1}


def test_a_value_that_the_model_does_not_know_is_never_hit():
    items = [
        ItemInput("1", "teal", None, (("colour", "teal"),)),
        ItemInput("2", "red", None, (("colour", "red"),)),
    ]
    report = evaluate_completion(FakeScorer(), items, ONTOLOGY, Setting(), resamples=2)
    colour = report.properties["colour"]
    assert (colour["hits@10"].value, colour["mrr"].value) == (0.5, 0.5)


def test_a_property_that_the_model_does_not_know_is_never_hit():
    ontology = Ontology([PropertySpec("maker", values=("Acme",), counts=(1,))])
    items = [ItemInput("1", "x", None, (("maker", "Acme"),))]
    report = evaluate_completion(FakeScorer(), items, ontology, Setting(), resamples=2)
    assert report.properties["maker"]["hits@10"].value == 0
    assert np.isnan(report.properties["maker"]["ece"].value)


def test_a_property_outside_the_ontology_does_not_count():
    ontology = Ontology([ONTOLOGY["colour"]])
    report = evaluate_completion(FakeScorer(), catalogue(), ontology, Setting(), resamples=2)
    assert set(report.properties) == {"colour"}


def test_the_calibration_error_is_that_of_calibrated_probabilities():
    temperatures = {"global": 0.01, "situations": {}}
    calibration = {"version": 1, "temperatures": temperatures, "curves": {}}
    plain = evaluate(IMAGE_ONLY).properties["colour"]["ece"]
    overconfident = evaluate(IMAGE_ONLY, FakeScorer(calibration=calibration))
    error = overconfident.properties["colour"]["ece"]
    # A quarter is wrong, all in one bin; the noise of 40 cells takes a little off.
    assert error.value == pytest.approx(0.25, abs=0.01)
    assert error.value > plain.value


def proving(threshold: float) -> dict[str, Any]:
    """A calibration that proves colours at .95, if the title is seen."""
    steps = [[0.95, threshold, 0.5]]
    proofs = {"title": {"colour": {"cells": 100, "steps": steps}}}
    return {"version": 2, "temperatures": {"global": 1.0, "situations": {}}, "proven": proofs}


def test_decisions_are_those_of_the_models_calibration():
    title_only = Setting("full", "no", "none")
    report = evaluate(title_only, FakeScorer(calibration=proving(0.9)))
    colour = report.properties["colour"]
    coverage = [colour[f"coverage@{target}"].value for target in (0.9, 0.95, 0.99)]
    assert coverage == [1, 1, 0]
    assert colour["precision@0.95"].value == 1
    assert report.properties["kind"]["coverage@0.9"].value == 0
    assert report.pooled["coverage@0.9"].value == 0.5
    # The same model in a situation in which nothing is proven.
    assert evaluate(IMAGE_ONLY, FakeScorer(calibration=proving(0.9))).decision_lines() == [
        f"at {target}: nothing is proven, and no cell filled" for target in (0.9, 0.95, 0.99)
    ]


def test_a_property_that_the_model_does_not_know_is_not_filled():
    ontology = Ontology([PropertySpec("maker", values=("Acme",), counts=(1,)), ONTOLOGY["colour"]])
    items = [
        ItemInput("1", "red", None, (("maker", "Acme"),)),
        ItemInput("2", "red", None, (("colour", "red"),)),
    ]
    title_only = Setting("full", "no", "none")
    scorer = FakeScorer(calibration=proving(0.9))
    report = evaluate_completion(scorer, items, ontology, title_only, resamples=2)
    assert report.properties["maker"]["coverage@0.9"].value == 0
    assert report.properties["maker"]["aurc"].value == 1
    assert report.pooled["coverage@0.9"].value == 0.5


class TellsOther(FakeScorer):
    """A scorer that gives another value as much as a word of the title."""

    def score(self, encoded, cells):
        rows = super().score(encoded, cells)
        return [np.append(row, np.float32(self.title_weight)) for row in rows]


def test_another_value_is_no_candidate_but_lowers_the_probability():
    title_only = Setting("full", "no", "none")
    calibrated = proving(0.4)
    report = evaluate(title_only, TellsOther(calibration=calibrated))
    colour = report.properties["colour"]
    assert colour["hits@1"].value == 1
    assert colour["brier"].value == pytest.approx(0.26, abs=0.02)
    # As probable as the best value: the cell is not filled.
    assert colour["coverage@0.9"].value == 0


def test_the_comparison_with_a_blinder_model():
    report = evaluate(IMAGE_ONLY, resamples=200)
    blind = evaluate(IMAGE_ONLY, FakeScorer(image_weight=0.0), resamples=200)
    comparison = compare(report, blind, resamples=200)
    colour = comparison.difference.properties["colour"]["hits@1"]
    assert colour.value == 0.75
    assert 0 < colour.low < 0.75 < colour.high <= 1
    data = json.loads(json.dumps(comparison.as_dict(), allow_nan=False))
    assert data["difference"]["properties"]["colour"]["hits@1"]["value"] == 0.75
    assert (data["model"], set(data["difference"])) == ("fake", {"macro", "pooled", "properties"})
    heading, colour_row, kind_row, macro_row = comparison.as_rows()
    assert heading == ["property", "Hits@1", "fake", "difference", "95% interval"]
    assert colour_row[:4] == ["colour", "0.7500", "0.0000", "+0.7500"]
    assert (kind_row[3], macro_row[3]) == ("+0.0000", "+0.3750")


def test_a_metric_that_neither_model_has_makes_no_difference():
    report = evaluate()
    rows = compare(report, report, resamples=2).metric_rows()
    assert rows[-1] == ["precision@0.99", "", "", "", ""]


def test_reports_on_other_cells_are_not_compared():
    report = evaluate(IMAGE_ONLY)
    with pytest.raises(DataError, match="not evaluated on the same cells"):
        compare(report, evaluate(Setting()))
    fewer = evaluate_completion(FakeScorer(), catalogue(36), ONTOLOGY, IMAGE_ONLY, resamples=2)
    with pytest.raises(DataError, match="not evaluated on the same cells"):
        compare(report, fewer)


def test_without_a_statement_to_hide_there_is_an_error():
    with pytest.raises(DataError, match="none of the 1 items"):
        evaluate_completion(FakeScorer(), [ItemInput("1", "x")], ONTOLOGY, Setting())


def test_a_report_is_plain_json_with_the_setting_and_an_entry_per_property():
    data = json.loads(json.dumps(evaluate().as_dict(), allow_nan=False))
    assert data["setting"] == {
        "title": "full",
        "image": "yes",
        "known": "all",
    }
    assert (data["items"], data["cells"], set(data["properties"])) == (40, 80, {"colour", "kind"})
    assert set(data["macro"]["hits@1"]) == {"value", "low", "high"}


def test_the_last_row_is_the_macro_average():
    rows = evaluate().as_rows()
    assert [row[0] for row in rows] == ["property", "colour", "kind", "macro"]
    assert {len(row) for row in rows} == {8}
    assert rows[-1][2] == "0.500"
    decisions = evaluate().decision_rows()
    assert [row[0] for row in decisions] == ["property", "colour", "kind", "macro", "all cells"]
    assert {len(row) for row in decisions} == {9}


def test_progress_ends_at_the_number_of_encoded_items():
    calls: list[tuple[int, int]] = []
    evaluate_settings(
        FakeScorer(),
        catalogue(),
        ONTOLOGY,
        SETTINGS,
        resamples=0,
        progress=lambda *counts: calls.append(counts),
    )
    assert calls[-1] == (240, 240)


class Contradicted(FakeScorer):
    """A scorer that the scores by which its precision is proven contradict."""

    def proving_scores(
        self, encoded: Any, cells: Sequence[CellQuery]
    ) -> list[NDArray[np.float32]] | None:
        return [np.roll(row, 1) for row in self.score(encoded, cells)]


def test_only_cells_that_the_proving_scores_agree_on_count_as_filled():
    title_only = Setting("full", "no", "none")
    both = evaluate(title_only, FakeScorer(calibration=proving(0.5))).properties["colour"]
    contradicted = evaluate(title_only, Contradicted(calibration=proving(0.5))).properties["colour"]
    assert both["coverage@0.9"].value > 0
    assert contradicted["coverage@0.9"].value == 0
    assert contradicted["hits@1"].value == both["hits@1"].value
