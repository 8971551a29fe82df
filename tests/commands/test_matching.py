"""queries, train in two stages, match, evaluate matching, leaks: on a small synthetic catalogue."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli import main
from tests.commands.conftest import Call, assert_fails

TRAIN = "train --preset mbsd --size tiny --steps 6 --name two --set batch_size=8"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a model of both of MBSD's stages."""
    folder = tmp_path_factory.mktemp("matching")
    home = str(folder / "home")
    sample = str(folder / "sample")
    commands = [
        ["sample", sample, "--items", "80"],
        ["ingest", f"{sample}/items.csv", "--max-rejects", "5%"],
        ["queries", f"{sample}/queries.csv"],
        TRAIN.split(),
    ]
    for words in commands:
        assert main(["--home", home, *words]) == 0
    return Path(home)


@pytest.fixture
def run(call: Call, trained: Path) -> Call:
    """Call a command in the home with the trained model."""
    return lambda *args: call("--home", trained, *args)


def test_match_prints_a_probability(run: Call) -> None:
    (match,) = run("match", "blue mug", "P000003", "--json").json
    assert set(match) == {"item", "score", "title"}
    assert 0 <= match["score"] <= 1


@pytest.mark.parametrize(
    ("words", "message"),
    [(("mug", "nobody"), "no item 'nobody'"), ((" ", "P000003"), "has no word")],
)
def test_match_refuses_unknown_items_and_empty_queries(
    run: Call, words: tuple[str, str], message: str
) -> None:
    result = run("match", *words)
    assert result.code == 2
    assert message in result.err


def test_matching_is_evaluated_whole_and_without_a_modality(run: Call) -> None:
    document = run("evaluate", "matching", "--part", "train", "--json").json
    assert set(document["settings"]) == {"whole", "without title", "without image"}
    whole = document["settings"]["whole"]
    assert whole["roc_auc"]["low"] <= whole["roc_auc"]["value"] <= whole["roc_auc"]["high"]
    assert document["positive"] <= document["negative"] + document["positive"] / 2
    assert set(document["query_only"]) == {"roc_auc", "pr_auc"}
    assert sum(each["pairs"] for each in document["kinds"].values()) == document["negative"]


@pytest.mark.parametrize("rewrites", ["logged", "any"])
def test_matching_is_printed_beside_a_query_only_baseline(run: Call, rewrites: str) -> None:
    result = run(
        "evaluate", "matching", "--part", "train", "--rewrites", rewrites, "--against", "bm25"
    )
    assert "query only" in result.out
    assert "title: bm25" in result.out
    assert "rewritten" in result.out


def test_a_network_s_head_is_not_compared_with_text(run: Call) -> None:
    result = run("evaluate", "matching", "--network", "--against", "bm25")
    assert_fails(result, 2, "--against bm25", "--network")


def test_complete_warns_of_a_model_without_link_prediction(run: Call) -> None:
    result = run("complete", "--item", "P000003")
    assert "was not trained by link prediction" in result.err


def test_leaks_are_reported_by_title_and_image(run: Call) -> None:
    document = run("leaks", "--json").json
    assert {(twin["part"], twin["by"]) for twin in document["twins"]} == {
        (part, by) for part in ("validation", "test") for by in ("title", "image")
    }


@pytest.mark.parametrize("option", ["--no-images", "--no-pictures"])
def test_leaks_without_images(run: Call, option: str) -> None:
    document = run("leaks", option, "--json").json
    assert {twin["by"] for twin in document["twins"]} == {"title"}


def test_runs_write_tensorboard_files(trained: Path) -> None:
    pytest.importorskip("tensorboard")
    assert list((trained / "models" / "two" / "tensorboard").glob("events*"))
