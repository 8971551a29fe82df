"""models list, compare, promote and delete, and what the champion changes for other commands."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli import main
from encoders import patch_dictionary
from kg.home_models import numbered_folder
from kg.model_lock import LOCK
from tests.commands.conftest import Call, assert_fails
from tests.commands.drawn_catalogue import draw_catalogue


@pytest.fixture(scope="module", autouse=True)
def quickly() -> Iterator[None]:
    """Learn few patches."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(patch_dictionary, "CENTROIDS", 20)
        patch.setattr(patch_dictionary, "_SAMPLED_PATCHES", 2000)
        yield


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with two models, the second of which is the newest."""
    folder = tmp_path_factory.mktemp("fitted")
    home = str(folder / "home")
    assert main(["--home", home, "ingest", str(draw_catalogue(folder))]) == 0
    assert main(["--home", home, "train", "--preset", "experts", "--no-refit"]) == 0
    models = Path(home) / "models"
    shutil.copytree(models / "experts-1", models / "experts-2")
    (models / "experts-2" / "manifest.json").touch()
    return Path(home)


@pytest.fixture
def run(call: Call, fitted: Path, tmp_path: Path) -> Call:
    """Call a command in a copy of the home."""
    shutil.copytree(fitted, tmp_path / "copy")
    return lambda *args: call("--home", "copy", *args)


def test_models_are_listed_with_what_they_have_learned(run: Call) -> None:
    document = run("models", "list", "--json").json
    assert document["champion"] is None
    first, second = document["models"]
    assert [first["name"], second["name"]] == ["experts-1", "experts-2"]
    assert (first["kind"], first["state"], first["properties"]) == ("experts", "whole", 2)
    assert 80 < first["items"] < 100
    assert 0.5 < first["held_out"]["hits@1"] <= 1
    assert first["answers"]["ontology"] == "the same"
    assert "no champion" in run("models", "list").out


def test_the_champion_completes_until_another_is_promoted(run: Call) -> None:
    def used() -> str:
        return str(run("complete", "--item", "1", "--json").json["model"])

    assert used() == "experts-2"
    made = run("models", "promote", "experts-1", "--by", "ann", "--json").json
    assert (made["champion"]["name"], made["champion"]["by"]) == ("experts-1", "ann")
    assert used() == "experts-1"
    assert run("model", "show", "--json").json["model"] == "experts-1"
    assert "* experts-1 is the champion since" in run("models", "list").out
    assert run("models", "promote", "--none", "--json").json["before"]["name"] == "experts-1"
    assert used() == "experts-2"


def test_a_model_that_is_damaged_or_missing_is_not_promoted(run: Call, tmp_path: Path) -> None:
    path = tmp_path / "copy" / "models" / "experts-1" / "experts.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert_fails(run("models", "promote", "experts-1"), 1, "experts.safetensors", "damaged")
    assert_fails(run("models", "promote", "other"), 2, "'other'", "experts-1, experts-2")
    assert_fails(run("models", "promote"), 2, "--none")
    assert run("models", "list", "--json").json["champion"] is None


def test_a_champion_deleted_by_hand_is_told(run: Call, tmp_path: Path) -> None:
    assert run("models", "promote", "experts-1").code == 0
    shutil.rmtree(tmp_path / "copy" / "models" / "experts-1")
    assert_fails(run("complete"), 2, "champion 'experts-1'", "models promote")
    assert "experts-1 is gone" in run("models", "list").out
    assert run("models", "promote", "experts-2").code == 0


def test_deleting_says_what_is_left_behind(run: Call, tmp_path: Path) -> None:
    assert_fails(run("models", "delete", "experts-2"), 2, "experts-2 (", "--yes")
    assert run("models", "promote", "experts-1").code == 0
    assert_fails(
        run("models", "delete", "experts-2", "experts-1", "--yes"), 2, "champion", "--force"
    )
    written = run(
        "complete", "--model", "experts-2", "--target-precision", "0.5", "--write", "--json"
    )
    predicted = written.json["written"]
    assert predicted > 0
    (deleted,) = run("models", "delete", "experts-2", "--yes", "--json").json["deleted"]
    assert deleted["left"] == {"runs": 0, "predicted": predicted}
    assert not (tmp_path / "copy" / "models" / "experts-2").exists()


def test_models_are_compared_on_the_same_cells(run: Call) -> None:
    document = run("models", "compare", "experts-1", "experts-2", "--out", "c.json", "--json").json
    (comparison,) = document["comparisons"]
    assert (comparison["model"], comparison["other"]) == ("experts-1", "experts-2")
    ours, theirs = (each["macro"]["hits@1"]["value"] for each in document["models"])
    difference = comparison["difference"]["macro"]["hits@1"]
    assert difference["value"] == pytest.approx(ours - theirs, abs=1e-5)
    assert json.loads(Path("c.json").read_text()) == document
    # Both have learned the same, so that neither is better.
    assert set(comparison["better"]["properties"].values()) == {None}
    assert_fails(run("models", "compare", "experts-1"), 2, "two or more")


def test_what_folders_report_is_compared_without_evaluating(run: Call) -> None:
    document = run("models", "compare", "experts-1", "experts-2", "--reported", "--json").json
    assert [each["name"] for each in document["reported"]] == ["experts-1", "experts-2"]
    assert_fails(run("models", "compare", "experts-1", "other", "--reported"), 2, "'other'")


def test_model_show_says_what_it_can_still_answer(run: Call, tmp_path: Path) -> None:
    path = tmp_path / "copy" / "ontology.toml"
    path.write_text(path.read_text().replace("colour", "hue"))
    assert run("models", "list", "--json").json["models"][0]["answers"]["answered"] == ["shape"]
    assert "hue = colour" in run("model", "show").out


def test_a_number_that_another_training_has_taken_is_passed_over(run: Call, tmp_path: Path) -> None:
    first, second = (numbered_folder(tmp_path / "copy" / "models", "experts") for _ in range(2))
    assert [first.name, second.name] == ["experts-3", "experts-4"]
    # What a training that was killed has left is no model.
    (first / LOCK).touch()
    assert run("models", "promote", "experts-1").code == 0
    trained = run("train", "--preset", "experts", "--name", "experts-3")
    assert "the champion is still experts-1" in trained.err
    assert not (first / LOCK).exists()
