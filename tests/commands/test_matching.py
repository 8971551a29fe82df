"""queries, train in two stages, match, evaluate matching, leaks: on a small drawn shop."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli import main
from tests.commands.conftest import Call


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a model of both of MBSD's stages."""
    folder = tmp_path_factory.mktemp("matching")
    home = str(folder / "home")
    shop = str(folder / "shop")
    steps = [
        ["sample", shop, "--items", "80"],
        ["ingest", f"{shop}/items.csv", "--max-rejects", "5%"],
        ["queries", f"{shop}/queries.csv"],
        [
            "train",
            "--preset",
            "mbsd",
            "--size",
            "tiny",
            "--steps",
            "6",
            "--name",
            "two",
            "--set",
            "batch_size=8",
        ],
    ]
    for words in steps:
        assert main(["--home", home, *words]) == 0
    return Path(home)


@pytest.fixture
def use(call: Call, trained: Path) -> Call:
    return lambda *args: call("--home", trained, *args)


def test_match_says_how_probable_it_is(use: Call) -> None:
    (found,) = use("match", "blue mug", "P000003", "--json").json
    assert set(found) == {"item", "score", "title"}
    assert 0 <= found["score"] <= 1


@pytest.mark.parametrize(
    ("words", "said"), [(("mug", "nobody"), "no item 'nobody'"), ((" ", "P000003"), "has no word")]
)
def test_what_cannot_be_matched_is_said(use: Call, words: tuple[str, str], said: str) -> None:
    answer = use("match", *words)
    assert answer.code != 0
    assert said in answer.err


def test_matching_is_evaluated_whole_and_without_a_modality(use: Call) -> None:
    document = use("evaluate", "matching", "--part", "train", "--json").json
    assert set(document["settings"]) == {"whole", "without title", "without image"}
    whole = document["settings"]["whole"]
    assert whole["roc_auc"]["low"] <= whole["roc_auc"]["value"] <= whole["roc_auc"]["high"]
    assert document["positive"] <= document["negative"] + document["positive"] / 2


def test_a_model_that_cannot_complete_says_so(use: Call) -> None:
    answer = use("complete", "--item", "P000003")
    assert "was not trained by link prediction" in answer.err


def test_leaks_are_reported(use: Call) -> None:
    document = use("leaks", "--json").json
    parts = ("validation", "test")
    assert {(twin["part"], twin["by"]) for twin in document["twins"]} == {
        (part, by) for part in parts for by in ("title", "image")
    }


def test_runs_have_tensorboards_files(trained: Path) -> None:
    pytest.importorskip("tensorboard")
    assert list((trained / "models" / "two" / "tensorboard").glob("events*"))
