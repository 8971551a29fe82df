import json

import numpy as np
import pytest

from evaluation.report import (
    read_completions,
    read_truth,
    reasons,
    reliability,
    render,
    report_data,
    thumbnail,
    wilson,
)
from kg.snapshot import GraphSnapshot
from schema.errors import DataError
from schema.ontology import Ontology, PropertySpec


@pytest.fixture
def snapshot():
    triples = np.array([[0, 0, 0], [0, 1, 2], [1, 0, 1]])
    return GraphSnapshot(
        ["a", "b"],
        ["Red <mug>", None],
        [None, None],
        [None, None],
        ["colour", "kind"],
        ["red", "blue", "mug"],
        triples,
        np.array([0, 2, 3]),
    )


@pytest.fixture
def ontology():
    return Ontology(
        [
            PropertySpec(name, values=("mug", "lamp"), counts=(2, 1), coverage=1.0)
            for name in ("colour", "kind")
        ]
    )


def line(value="lamp", decision="fill", probability=0.9):
    evidence = {
        "title": 0.2,
        "image": -0.5,
        "known": [{"property": "colour", "value": "blue", "effect": 0.1}],
    }
    return {
        "item": "b",
        "property": "kind",
        "candidates": [{"value": value, "probability": probability}],
        "decision": decision,
        "evidence": evidence,
    }


def test_coverage_counts_filled_cells_after_but_not_before(snapshot, ontology):
    data = report_data(snapshot, ontology, [line()], {})
    kind = next(row for row in data.coverage if row.property == "kind")
    assert (kind.before, kind.after) == (0.5, 1.0)


def test_cells_left_for_review_do_not_count_as_covered(snapshot, ontology):
    data = report_data(snapshot, ontology, [line(decision="review")], {})
    assert next(row for row in data.coverage if row.property == "kind").after == 0.5


def test_accuracy_stands_beside_the_most_frequent_value(snapshot, ontology):
    (row,) = report_data(snapshot, ontology, [line()], {("b", "kind"): {"lamp"}}).accuracy
    assert (row.model, row.guess) == (1.0, 0.0)


def test_a_page_escapes_titles_and_needs_nothing_from_outside(snapshot, ontology):
    page = render(report_data(snapshot, ontology, [{**line(), "item": "a"}], {}))
    assert "Red &lt;mug&gt;" in page
    assert "http" not in page


def test_reliability_bins_hold_every_answer():
    bins = reliability([(0.05, False), (0.95, True), (1.0, True)])
    assert [b.count for b in bins] == [1, 2]
    assert bins[1].accuracy == 1.0


def test_wilson_interval_of_all_right_stays_below_one_at_its_lower_end():
    low, high = wilson(10, 10)
    assert 0.7 < low < 0.73
    assert high == 1.0


def test_reasons_are_strongest_first():
    assert [name for name, _ in reasons(line()["evidence"])] == ["image", "title", "colour: blue"]


def test_a_image_that_cannot_be_read_is_left_out(tmp_path):
    (tmp_path / "x.jpg").write_bytes(b"no image")
    assert thumbnail(str(tmp_path / "x.jpg")) is None


def test_files_of_another_kind_are_refused(tmp_path):
    (tmp_path / "a").write_text(json.dumps({"item": "a"}) + "\n")
    with pytest.raises(DataError, match="is no completion"):
        read_completions(tmp_path / "a")
    with pytest.raises(DataError, match="item,property,value,kind"):
        read_truth(tmp_path / "a")
