from __future__ import annotations

import json

import numpy as np
import pytest

from evaluation.completion import evaluate_completion, evaluate_settings
from evaluation.settings import SETTINGS, Setting
from fusion.inference.featurizer import ItemInput
from schema.errors import DataError
from schema.ontology import Ontology, PropertySpec
from tests.serving.fakes import COLOURS, ONTOLOGY, FakeScorer


def catalogue(count: int = 40) -> list[ItemInput]:
    """Titles name the colour; images show it in three of four; every lamp's kind is known."""
    items = []
    for number in range(count):
        colour = COLOURS[number % 4]
        kind = ("mug", "lamp")[number % 2]
        items.append(
            ItemInput(
                f"i{number}",
                f"fine {colour} thing",
                colour if number % 4 else "red",
                (("colour", colour), ("kind", kind)),
            )
        )
    return items


def hits1(setting: Setting, scorer: FakeScorer | None = None) -> float:
    return (
        evaluate_completion(scorer or FakeScorer(), catalogue(), ONTOLOGY, setting, draws=5)
        .properties["colour"]["hits@1"]
        .value
    )


def test_full_titles_tell_all():
    assert hits1(Setting("full", False, "none")) == 1


def test_blind_titles_tell_nothing():
    assert hits1(Setting("blind", False, "none")) == 0  # all four tie: realistic rank 2.5


def test_images_tell_what_they_show():
    assert hits1(Setting("none", True, "none")) == 0.75


def test_known_statements_are_given_when_asked_for():
    scorer = FakeScorer()
    hits1(Setting("none", False, "all"), scorer)
    assert {cell.known for cell in scorer.asked if cell.property == "colour"} == {
        (("kind", "mug"),),
        (("kind", "lamp"),),
    }


def test_hidden_cell_is_never_given():
    scorer = FakeScorer()
    evaluate_settings(scorer, catalogue(), ONTOLOGY, SETTINGS, draws=2)
    assert all(name != cell.property for cell in scorer.asked for name, _ in cell.known)


def test_reports_come_in_the_order_asked_and_share_readings():
    scorer = FakeScorer()
    reports = evaluate_settings(scorer, catalogue(), ONTOLOGY, SETTINGS, draws=2)
    assert [report.setting for report in reports] == list(SETTINGS)
    assert set(scorer.encoded.values()) == {6}


def test_setting_alone_or_among_others_gives_the_same():
    together = evaluate_settings(FakeScorer(), catalogue(), ONTOLOGY, SETTINGS, draws=20)
    assert (
        evaluate_completion(FakeScorer(), catalogue(), ONTOLOGY, SETTINGS[3], draws=20)
        == together[3]
    )


def test_all_true_values_are_ranked_and_none_counts_against_another():
    item = ItemInput("1", "black white", None, (("colour", "black"), ("colour", "white")))
    report = evaluate_completion(FakeScorer(), [item], ONTOLOGY, Setting(), draws=2)
    assert report.properties["colour"]["mrr"].value == 1
    assert report.cells == {"colour": 1}


def test_value_unknown_to_the_model_is_never_hit():
    items = [
        ItemInput("1", "teal", None, (("colour", "teal"),)),
        ItemInput("2", "red", None, (("colour", "red"),)),
    ]
    line = evaluate_completion(FakeScorer(), items, ONTOLOGY, Setting(), draws=2).properties[
        "colour"
    ]
    assert (line["hits@10"].value, line["mrr"].value) == (0.5, 0.5)


def test_property_unknown_to_the_model_is_never_hit():
    home = Ontology([PropertySpec("maker", values=("Acme",), counts=(1,))])
    report = evaluate_completion(
        FakeScorer(), [ItemInput("1", "x", None, (("maker", "Acme"),))], home, Setting(), draws=2
    )
    assert report.properties["maker"]["hits@10"].value == 0
    assert np.isnan(report.properties["maker"]["ece"].value)


def test_property_outside_the_home_does_not_count():
    home = Ontology([ONTOLOGY["colour"]])
    assert set(
        evaluate_completion(FakeScorer(), catalogue(), home, Setting(), draws=2).properties
    ) == {"colour"}


def test_calibration_enters_the_calibration_error():
    rash = {"version": 1, "temperatures": {"global": 0.01, "situations": {}}, "curves": {}}
    setting = Setting("none", True, "none")
    plain = evaluate_completion(FakeScorer(), catalogue(), ONTOLOGY, setting, draws=2).properties[
        "colour"
    ]
    sure = evaluate_completion(
        FakeScorer(calibration=rash), catalogue(), ONTOLOGY, setting, draws=2
    ).properties["colour"]
    assert sure["ece"].value == pytest.approx(0.25)
    assert sure["ece"].value > plain["ece"].value


def test_nothing_to_hide_is_an_error():
    with pytest.raises(DataError, match="none of the 1 items"):
        evaluate_completion(FakeScorer(), [ItemInput("1", "x")], ONTOLOGY, Setting())


def test_report_is_plain_json_with_the_setting_and_a_line_a_property():
    data = json.loads(
        json.dumps(
            evaluate_completion(FakeScorer(), catalogue(), ONTOLOGY, Setting(), draws=5).as_dict(),
            allow_nan=False,
        )
    )
    assert data["setting"] == {"title": "full", "image": "yes", "known": "all"}
    assert (data["items"], data["cells"], set(data["properties"])) == (40, 80, {"colour", "kind"})
    assert set(data["macro"]["hits@1"]) == {"value", "low", "high"}


def test_rows_end_in_the_macro_mean():
    rows = evaluate_completion(FakeScorer(), catalogue(), ONTOLOGY, Setting(), draws=5).as_rows()
    assert [row[0] for row in rows] == ["property", "colour", "kind", "macro"]
    assert {len(row) for row in rows} == {8}
    assert rows[-1][2] == "0.500"


def test_progress_reaches_all_readings():
    seen: list[tuple[int, int]] = []
    evaluate_settings(
        FakeScorer(),
        catalogue(),
        ONTOLOGY,
        SETTINGS,
        draws=0,
        progress=lambda *counts: seen.append(counts),
    )
    assert seen[-1] == (240, 240)
