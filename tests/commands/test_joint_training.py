"""train by default: experts first, then a network beside them, and what becomes of both."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli import main
from encoders import patch_dictionary
from experts import second_stage
from tests.commands.conftest import Call, Result, assert_fails
from tests.commands.drawn_catalogue import draw_catalogue

TRAIN = ("train", "--size", "tiny", "--set", "precision=fp32", "--set", "log_every=1")


@pytest.fixture(scope="module", autouse=True)
def quickly() -> Iterator[None]:
    """Learn few patches, and let few items tell whether a network helps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(patch_dictionary, "CENTROIDS", 20)
        patch.setattr(patch_dictionary, "_SAMPLED_PATCHES", 2000)
        patch.setattr(second_stage, "LEAST_ITEMS", 2)
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with experts and a network as its only model."""
    folder = tmp_path_factory.mktemp("both")
    home = str(folder / "home")
    assert main(["--home", home, "ingest", str(draw_catalogue(folder))]) == 0
    assert main(["--home", home, *TRAIN, "--steps", "3", "--name", "both"]) == 0
    return Path(home)


@pytest.fixture
def run(call: Call, trained: Path) -> Call:
    """Call a command in the home with the model."""
    return lambda *args: call("--home", trained, *args)


@pytest.fixture
def copied(call: Call, trained: Path, tmp_path: Path) -> Call:
    """Call a command in a copy of the home, which may be changed."""
    shutil.copytree(trained, tmp_path / "copy")
    return lambda *args: call("--home", "copy", *args)


def kinds(result: Result) -> list[str]:
    return [training["preset"] for training in result.json]


def test_one_folder_has_the_experts_and_the_network(run: Call, trained: Path) -> None:
    document = run("model", "show", "--json").json
    assert document["model"] == "both"
    assert document["calibrated"]
    assert (document["network"]["preset"], document["network"]["step"]) == ("joint", 3)
    assert {each["source"] for each in document["second_stage"]} == {"network"}
    text = " ".join(run("model", "show").out.split())
    assert "change of a cell's log-likelihood" in text
    assert kinds(run("runs", "--json")) == ["experts", "joint"]
    lines = (trained / "models" / "both" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3]


def test_the_folder_completes_matches_and_is_whole(run: Call) -> None:
    completed = run("complete", "--json").json
    assert completed["cells"] == completed["fill"] + completed["review"] + completed["abstain"]
    assert run("match", "red", "1").code == 0
    network = run("model", "show", "both/network", "--json").json
    assert network["preset"] == "joint"
    assert run("verify", "--quick").code == 0


def test_test_items_are_learned_from_and_left_out_when_they_are_evaluated(run: Call) -> None:
    result = run("evaluate", "completion", "--json")
    assert "fitted again without them" in result.err
    assert result.json["macro"]["hits@1"]["value"] >= 0.5
    assert "fitted again" not in run("evaluate", "completion", "--part", "train", "--json").err


def test_a_network_that_is_not_the_joined_one_is_left_out(copied: Call, tmp_path: Path) -> None:
    joint = tmp_path / "copy" / "models" / "both" / "joint.json"
    document = json.loads(joint.read_text())
    for group in document["stage"]["groups"].values():
        group["shared"] = [[0.0, 1.0, 0.5]]
    document["stage"]["groups"].setdefault("image", {"shared": [[0, 1, 0.5]], "properties": {}})
    from fusion.checkpoint import add_file

    add_file(joint.parent, "joint.json", json.dumps(document).encode())
    assert "not the one that was joined" not in copied("complete", "--json").err
    add_file(joint.parent, "joint.json", json.dumps(document | {"network": "other"}).encode())
    result = copied("complete", "--json")
    assert result.code == 0
    assert "not the one that was joined" in result.err
    add_file(joint.parent, "joint.json", json.dumps(document | {"stage": 3}).encode())
    assert_fails(copied("complete"), 1, "joint.json", "damaged")


def test_an_interrupted_run_keeps_its_experts_and_goes_on(
    copied: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    split = tmp_path / "split.csv"
    parts = ["test"] * 10 + ["validation"] * 20 + ["train"] * 70
    rows = [f"{number},{part}" for number, part in enumerate(parts)]
    split.write_text("\n".join(["item,split", *rows]))

    def stop(*args: object) -> bool:
        raise KeyboardInterrupt

    train = (*TRAIN, "--name", "later", "--split", split)
    with monkeypatch.context() as patch:
        patch.setattr("training.run.run_loop", stop)
        assert copied(*train, "--steps", "2").code != 0
    show = copied("model", "show", "later", "--json").json
    assert (show["network"], show["second_stage"], show["calibrated"]) == (None, None, True)
    assert copied("complete", "--model", "later", "--json").code == 0
    assert_fails(copied("match", "red", "1", "--model", "later"), 2, "experts alone")
    about = json.loads((tmp_path / "copy/models/later/config.json").read_text())
    assert about["learned"] == ["train", "validation"]
    evaluated = copied("evaluate", "completion", "--model", "later", "--split", split, "--json")
    assert "fitted again" not in evaluated.err

    result = copied("train", "--resume", "--name", "later", "--json")
    assert result.json["steps"] == 2
    assert result.json["second_stage"]
    assert result.json["experts"]["hits@1"] > 0.5
    again = json.loads((tmp_path / "copy/models/later/config.json").read_text())
    assert (again["learned"], again["split"]) == (about["learned"], about["split"])
    assert copied("match", "red", "1", "--model", "later").code == 0


def test_experts_that_take_all_of_the_time_leave_none_for_a_network(copied: Call) -> None:
    result = copied(*TRAIN, "--minutes", "0.0001", "--name", "short", "--json")
    assert result.json["steps"] == 0
    assert "no network is trained" in result.err
    assert "--resume --name short" in " ".join(result.err.split())
    more = copied(*TRAIN, "--resume", "--name", "short", "--steps", "1", "--json")
    assert more.json["steps"] == 1
    assert copied("model", "show", "short", "--json").json["network"]["step"] == 1


def test_options_are_checked_before_anything_is_fitted(run: Call, trained: Path) -> None:
    assert_fails(run("train", "--size", "huge", "--name", "no"), 2, "huge")
    assert_fails(run(*TRAIN, "--set", "speed=9", "--name", "no"), 2, "speed")
    assert_fails(run(*TRAIN, "--name", "both"), 2, "'both'", "exists")
    assert_fails(run(*TRAIN, "--preset", "joint", "--name", "both"), 2, "'both'", "exists")
    assert_fails(run(*TRAIN, "--preset", "joint", "--refit"), 2, "--refit", "joint")
    assert not (trained / "models" / "no").exists()


def test_with_other_weights_the_network_is_trained_alone(copied: Call) -> None:
    result = copied(*TRAIN, "--init", "both", "--steps", "1", "--name", "from", "--json")
    assert "trained alone" in result.err
    assert "second_stage" not in result.json
    assert copied("model", "show", "from", "--json").json["preset"] == "joint"
