"""train --preset experts, and what its model does: show, complete, evaluate, and refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cli import main
from tests.commands.conftest import Call, assert_fails
from tests.commands.drawn_catalogue import draw_catalogue

MISSING_CELLS = 20


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with experts as its only model."""
    folder = tmp_path_factory.mktemp("fitted")
    home = str(folder / "home")
    assert main(["--home", home, "ingest", str(draw_catalogue(folder))]) == 0
    assert main(["--home", home, "train", "--preset", "experts"]) == 0
    return Path(home)


@pytest.fixture
def run(call: Call, fitted: Path) -> Call:
    """Call a command in the home with the experts."""
    return lambda *args: call("--home", fitted, *args)


def test_the_run_is_listed_with_its_left_out_hits(run: Call) -> None:
    (training,) = run("runs", "--json").json
    assert Path(training["model"]).name == "experts-1"
    assert training["steps"] == 0
    metrics = training["metrics"]
    assert 0.5 < metrics["hits@1"] <= 1
    assert set(metrics) > {"hits@1", "image", "title(says)+image"}


def test_model_show_lists_the_experts(run: Call) -> None:
    document = run("model", "show", "--json").json
    assert (document["model"], document["preset"]) == ("experts-1", "experts")
    assert document["calibrated"]
    names = [each["name"] for each in document["experts"]]
    assert "title" in names
    assert "title+image+known" in names
    assert document["parameters"] == sum(each["parameters"] for each in document["experts"])
    assert "title+image" in run("model", "show", "experts-1").out


def test_experts_complete_every_missing_cell(run: Call, tmp_path: Path) -> None:
    counts = run("complete", "--out", "filled.jsonl", "--json").json
    lines = [json.loads(line) for line in (tmp_path / "filled.jsonl").read_text().splitlines()]
    assert counts["cells"] == len(lines) == MISSING_CELLS
    for line in lines:
        probabilities = [each["probability"] for each in line["candidates"]]
        assert probabilities == sorted(probabilities, reverse=True)
        assert sum(probabilities) == pytest.approx(1, abs=0.01)


def test_experts_are_evaluated_in_every_setting(run: Call) -> None:
    reports = run("evaluate", "completion", "--all", "--part", "test", "--json").json
    assert len(reports) == 11
    assert all(0 <= report["macro"]["hits@1"]["value"] <= 1 for report in reports)


def test_an_embedding_is_tuned_and_compared_with(run: Call, fitted: Path) -> None:
    evaluate = ("evaluate", "completion", "--against", "transe", "--title", "none", "--image", "no")
    assert_fails(run(*evaluate), 2, "TransE", "baseline kge --only transe")
    (tuned,) = run("baseline", "kge", "--only", "transe", "--minutes", "0.01", "--json").json[
        "tuned"
    ]
    assert Path(tuned["file"]) == fitted / "baselines" / "transe.json"
    assert tuned["settings"]["interaction"] == "transe"
    report = run(*evaluate, "--json").json
    (against,) = report["against"]
    assert against["model"] == "TransE"
    assert set(against["difference"]["properties"]) == {"colour", "shape"}


def test_of_many_items_some_are_learned_from_and_read(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import kg.image_cache
    import training.experts

    monkeypatch.setattr(training.experts, "MAX_ITEMS", 30)
    read: list[str] = []
    read_all = kg.image_cache._read_all

    def counted(images: list[str], *args: Any) -> Any:
        read.extend(images)
        return read_all(images, *args)

    monkeypatch.setattr(kg.image_cache, "_read_all", counted)
    call("--home", "many", "ingest", draw_catalogue(tmp_path / "drawn"))
    result = call("--home", "many", "train", "--preset", "experts", "--json")
    assert "the experts learn from 30 of 100 items" in result.err
    assert len(read) == 30
    assert result.json["metrics"]["hits@1"] > 0.5


def test_of_many_values_the_most_frequent_are_learned_and_completed(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import training.inputs

    monkeypatch.setattr(training.inputs, "MAX_VALUES", 2)
    call("--home", "home", "ingest", draw_catalogue(tmp_path / "drawn"))
    result = call("--home", "home", "train", "--preset", "experts", "--json")
    assert "colour: the 2 most frequent of its 4 values are learned, which 50%" in result.err
    assert "shape: the 2 most frequent of its 3 values are learned" in result.err
    call("--home", "home", "complete", "--out", "filled.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "filled.jsonl").read_text().splitlines()]
    assert len(lines) == MISSING_CELLS
    candidates = [each for line in lines for each in line["candidates"]]
    learned = {each["value"] for each in candidates if each.get("source") != "title"}
    assert learned == {"blue", "green"}
    assert min(line["another_value"] for line in lines) > 0.25


def test_experts_match_no_queries(run: Call) -> None:
    assert_fails(run("match", "red", "1"), 2, "experts-1", "--preset joint")
    assert_fails(run("evaluate", "matching"), 2, "experts-1", "--preset joint")


@pytest.mark.parametrize(
    ("option", "value"), [("--steps", "3"), ("--set", "batch_size=4"), ("--init", "experts-1")]
)
def test_options_that_do_not_fit_are_refused(run: Call, option: str, value: str) -> None:
    assert_fails(run("train", "--preset", "experts", option, value), 2, option, "experts")


def test_a_name_that_is_taken_is_refused(run: Call) -> None:
    assert_fails(
        run("train", "--preset", "experts", "--name", "experts-1"), 2, "'experts-1'", "exists"
    )


def test_a_network_does_not_start_from_experts(run: Call) -> None:
    assert_fails(run("train", "--init", "experts-1", "--steps", "1"), 1, "experts-1", "experts")
