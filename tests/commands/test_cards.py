"""Model cards: written by train and evaluate, read by Hugging Face's own code, found by verify."""

from __future__ import annotations

import getpass
import math
import socket
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from cli import main
from kg.model_facts import LEFT_OUT, ModelFacts
from tests.commands.conftest import Call, assert_fails
from tests.commands.drawn_catalogue import draw_catalogue


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with experts that were evaluated."""
    folder = tmp_path_factory.mktemp("fitted")
    home = str(folder / "home")
    assert main(["--home", home, "ingest", str(draw_catalogue(folder, 50))]) == 0
    assert main(["--home", home, "train", "--preset", "experts", "--name", "m"]) == 0
    return Path(home)


@pytest.fixture
def run(call: Call, fitted: Path) -> Call:
    return lambda *args: call("--home", fitted, *args)


def card(home: Path) -> Any:
    return ModelCard.load(home / "models" / "m" / "README.md")


def test_a_trained_model_has_a_card_of_what_was_left_out(run: Call, fitted: Path) -> None:
    (training,) = run("runs", "--json").json
    results = card(fitted).data.eval_results
    macro = next(each for each in results if each.metric_name == "hits@1 (macro)")
    assert macro.dataset_split == LEFT_OUT
    assert macro.metric_value == pytest.approx(training["metrics"]["hits@1"], abs=1e-5)
    assert macro.metric_args["low"] <= macro.metric_value <= macro.metric_args["high"]
    trained_on = ModelFacts.read(fitted / "models" / "m").trained_on
    assert trained_on is not None
    (source,) = trained_on.sources
    assert f"| {source} |" in card(fitted).text


def test_an_evaluation_is_added_once(run: Call, fitted: Path) -> None:
    for part in ("test", "test", "validation"):
        found = run("evaluate", "completion", "--part", part, "--json").json
    facts = ModelFacts.read(fitted / "models" / "m")
    assert [each.part for each in facts.measured] == [LEFT_OUT, "test", "validation"]
    results = [each for each in card(fitted).data.eval_results if each.dataset_split == part]
    own = {each.metric_name: each for each in results}
    for about in ("macro", "pooled"):
        expected = found[about]["hits@1"]
        assert own[f"hits@1 ({about})"].metric_value == expected["value"]
        assert own[f"hits@1 ({about})"].metric_args["low"] == expected["low"]
    assert all(math.isfinite(each.metric_value) for each in results)
    # A figure that is measured later is of the same model, which is no newer by that.
    assert run("verify", "--json").json["problems"] == []


def test_train_items_give_no_figure(run: Call, fitted: Path) -> None:
    before = (fitted / "models" / "m" / "README.md").read_bytes()
    run("evaluate", "completion", "--part", "train")
    assert (fitted / "models" / "m" / "README.md").read_bytes() == before


def test_a_card_names_nothing_of_this_machine(fitted: Path) -> None:
    text = (fitted / "models" / "m" / "README.md").read_text()
    text += (fitted / "models" / "m" / "card.toml").read_text()
    folders = {str(fitted), str(Path.home()), str(Path.cwd()), "/tmp", fitted.parent.name}
    for name in {*folders, socket.gethostname(), getpass.getuser()} - {"/"}:
        assert name not in text, name


@pytest.mark.parametrize(
    ("licence", "expected", "name"),
    [("CC BY 4.0", "cc-by-4.0", None), ("Shop's own", "other", "shop-s-own")],
)
def test_a_licence_and_a_text_are_kept(
    run: Call, fitted: Path, licence: str, expected: str, name: str | None
) -> None:
    document = run(
        "model", "card", "m", "--licence", licence, "--about", "Of the shop.\n\n---\n", "--json"
    ).json
    assert Path(document["page"]) == fitted / "models" / "m" / "README.md"
    run("model", "card")
    data = card(fitted).data
    assert (data.license, data.to_dict().get("license_name")) == (expected, name)
    assert "Of the shop." in card(fitted).text


def test_an_edited_page_is_noted_and_written_anew(run: Call, fitted: Path) -> None:
    page = fitted / "models" / "m" / "README.md"
    before = page.read_bytes()
    page.write_bytes(before.replace(b"0.", b"1."))
    assert any("README.md" in each for each in run("verify", "--json").json["notes"])
    run("model", "card", "m")
    assert page.read_bytes() == before
    assert not any("README.md" in each for each in run("verify", "--json").json["notes"])


def test_damaged_facts_are_told(run: Call, fitted: Path) -> None:
    path = fitted / "models" / "m" / "card.toml"
    before = path.read_bytes()
    try:
        path.write_bytes(before.replace(b"[[measured]]", b"[[measured", 1))
        assert_fails(run("model", "card", "m"), 1, "card.toml", "evaluate again")
        found = bytearray(before)
        found[-3] ^= 1
        path.write_bytes(found)
        assert any("card.toml looks damaged" in p for p in run("verify", "--json").json["problems"])
    finally:
        path.write_bytes(before)
