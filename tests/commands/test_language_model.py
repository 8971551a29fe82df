"""--llm: a language model beside experts that knows what these do not, and what becomes of it."""

from __future__ import annotations

import json
import re
import shutil
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cli import main
from encoders import patch_dictionary
from experts import second_stage
from tests.commands.conftest import Call, assert_fails
from tests.experts.language_model.stand_in import (
    Asked,
    Reply,
    StandIn,
    answered,
    answers_of,
    completion,
    stand_in,
)

COLOURS = ("red", "green", "blue", "yellow")
SHAPES = ("mug", "lamp", "chair")
ITEMS = 120


def colour_of(number: int) -> str:
    """Return an item's colour, which nothing tells but its number."""
    return COLOURS[zlib.crc32(str(number).encode()) % 4]


def knows_numbers(asked: Asked) -> Reply:
    """Answer by the number in the title, of which the experts make nothing."""
    answers = answers_of(asked)
    titles = {item["id"]: item.get("title", "") for item in asked.items}
    for answer in answers:
        numbered = re.search(r"number (\d+)", titles[answer["item"]])
        if answer["property"] == "colour" and numbered:
            answer |= {
                "value": colour_of(int(numbered[1])),
                "confidence": 0.95,
                "span": numbered[0],
                "reason": None,
            }
    return answered(answers)


def write_catalogue(folder: Path) -> Path:
    """Write items whose title names the shape, and their number."""
    rows = ["id,title,category,colour,shape"]
    for number in range(ITEMS):
        shape = SHAPES[number % 3]
        stated = "" if number % 6 == 0 else colour_of(number)
        rows.append(f"{number},A {shape} number {number},Things,{stated},{shape}")
    (folder / "items.csv").write_text("\n".join(rows) + "\n")
    return folder / "items.csv"


@dataclass(frozen=True)
class Trained:
    """A home whose only model has learned from answers, and the server that gives them."""

    home: Path
    server: StandIn
    file: Path
    split: Path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    folder = tmp_path_factory.mktemp("asked")
    home = folder / "home"
    with pytest.MonkeyPatch.context() as patch, stand_in(knows_numbers) as server:
        patch.setattr(patch_dictionary, "CENTROIDS", 20)
        patch.setattr(patch_dictionary, "_SAMPLED_PATCHES", 2000)
        file = folder / "llm.toml"
        file.write_text(
            f'url = "http://127.0.0.1:{server.port}/v1"\nmodel = "stand-in"\ntraining_cells = 500\n'
        )
        split = folder / "split.csv"
        parts = ("train", "test", "validation", "train", "train")
        rows = [f"{number},{parts[number % 5]}" for number in range(ITEMS)]
        split.write_text("\n".join(["item,split", *rows]) + "\n")
        assert main(["--home", str(home), "ingest", str(write_catalogue(folder))]) == 0
        train = ["train", "--preset", "experts", "--llm", str(file), "--split", str(split)]
        assert main(["--home", str(home), *train]) == 0
        yield Trained(home, server, file, split)


@pytest.fixture
def run(call: Call, trained: Trained) -> Call:
    """Call a command in the home of the model; the server answers well."""
    trained.server.behaviour = knows_numbers
    return lambda *args: call("--home", trained.home, *args)


def completions(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_what_was_learned_is_shown(run: Call) -> None:
    shown = run("model", "show", "--json").json["language_model"]
    assert (shown["model"], shown["prompt"]) == ("stand-in", 1)
    assert any(each["joins"] for each in shown["gains"])
    assert "the language model joins for" in run("model", "show").out


def test_it_completes_what_the_experts_cannot_know(
    run: Call, trained: Trained, tmp_path: Path
) -> None:
    counts = run("complete", "--llm", trained.file, "--out", "with.jsonl", "--json").json
    run("complete", "--out", "without.jsonl")
    asked = completions(tmp_path / "with.jsonl")
    alone = completions(tmp_path / "without.jsonl")
    assert len(asked) == len(alone) == counts["cells"] == ITEMS // 6
    assert counts["language_model"]["answered"] == len(asked)
    for line in asked:
        colour = colour_of(int(line["item"]))
        assert line["candidates"][0]["value"] == colour
        assert line["candidates"][0]["probability"] > 0.7
        assert line["evidence"]["language_model"] == {
            "value": colour,
            "confidence": 0.95,
            "span": f"number {line['item']}",
        }
    assert not any("language_model" in line["evidence"] for line in alone)
    right = [line["candidates"][0]["value"] == colour_of(int(line["item"])) for line in alone]
    assert sum(right) < 0.7 * len(right)


def test_a_second_run_asks_nothing(run: Call, trained: Trained) -> None:
    run("complete", "--llm", trained.file)
    before = len(trained.server.asked)
    counts = run("complete", "--llm", trained.file, "--json").json["language_model"]
    assert len(trained.server.asked) == before
    assert counts["from_cache"] == counts["answered"] > 0
    assert counts["calls"] == 0


def test_without_it_the_experts_answer_alone_and_it_is_said(run: Call, trained: Trained) -> None:
    before = len(trained.server.asked)
    result = run("complete", "--json")
    assert result.json["language_model"] is None
    assert "has learned from answers of stand-in as well, which is not asked" in result.err
    assert len(trained.server.asked) == before


def test_a_server_that_fails_leaves_the_experts(
    run: Call, trained: Trained, tmp_path: Path
) -> None:
    shutil.copytree(trained.home, tmp_path / "copy")
    for each in (tmp_path / "copy" / "cache").glob("language_model*"):
        each.unlink()
    trained.server.behaviour = lambda asked: completion("no")
    result = run(
        "--home", "copy", "complete", "--llm", trained.file, "--out", "with.jsonl", "--json"
    )
    run("--home", "copy", "complete", "--out", "without.jsonl")
    assert result.code == 0
    assert result.json["language_model"]["flaws"]["no_json"] > 0
    assert completions(tmp_path / "with.jsonl") == completions(tmp_path / "without.jsonl")


def test_it_is_evaluated(run: Call, trained: Trained) -> None:
    options = ("evaluate", "completion", "--split", trained.split, "--json")
    alone = run(*options).json
    asked = run(*options, "--llm", trained.file).json
    assert "language_model" not in alone
    assert asked["language_model"]["answered"] > 0
    hits = [each["properties"]["colour"]["hits@1"]["value"] for each in (alone, asked)]
    assert hits[1] > hits[0]
    assert hits[1] > 0.9


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ('model = "another"', "how far to trust 'stand-in'"),
        ('model = "stand-in"\nimages = true', "images = false"),
        ('model = "stand-in"\nstatements = false', "statements = true"),
    ],
)
def test_another_model_than_was_learned_about_is_refused(
    run: Call, trained: Trained, tmp_path: Path, changed: str, message: str
) -> None:
    url = f'url = "http://127.0.0.1:{trained.server.port}/v1"\n'
    (tmp_path / "other.toml").write_text(url + changed)
    assert_fails(run("complete", "--llm", "other.toml"), 2, message)


def test_a_file_that_does_not_fit_is_told_before_anything_is_done(
    run: Call, trained: Trained, tmp_path: Path
) -> None:
    (tmp_path / "llm.toml").write_text('url = "http://localhost/v1"')
    for command in (("complete",), ("evaluate", "completion"), ("train", "--preset", "experts")):
        assert_fails(run(*command, "--llm", "llm.toml"), 2, "llm.toml", "model is missing")
    assert_fails(run("train", "--preset", "joint", "--llm", trained.file), 2, "--llm")


def test_a_model_that_was_trained_without_it_says_so(
    run: Call, trained: Trained, tmp_path: Path
) -> None:
    shutil.copytree(trained.home, tmp_path / "copy")
    assert run("--home", "copy", "train", "--preset", "experts", "--name", "plain").code == 0
    assert_fails(
        run("--home", "copy", "complete", "--llm", trained.file), 2, "plain", "train experts with"
    )


def test_it_answers_in_a_home_of_other_names(run: Call, trained: Trained, tmp_path: Path) -> None:
    table = (trained.home.parent / "items.csv").read_text().replace("colour", "farbe", 1)
    (tmp_path / "items.csv").write_text(table)
    assert run("--home", "other", "ingest", "items.csv").code == 0
    (tmp_path / "map.csv").write_text("property,model_property\nfarbe,colour\n")
    model = trained.home / "models" / "experts-1"
    options = ("--model", model, "--map-properties", "map.csv", "--llm", trained.file)
    named = ("--property", "farbe", "--item", "6", "--out", "out.jsonl")
    assert run("--home", "other", "complete", *options, *named).code == 0
    (line,) = completions(tmp_path / "out.jsonl")
    assert line["property"] == "farbe"
    assert line["candidates"][0]["value"] == colour_of(6)
    assert line["evidence"]["language_model"]["span"] == "number 6"


def test_it_joins_experts_and_a_network(
    run: Call, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(second_stage, "LEAST_ITEMS", 2)
    shutil.copytree(trained.home, tmp_path / "copy")
    train = ("train", "--size", "tiny", "--set", "precision=fp32", "--steps", "2")
    options = ("--name", "all", "--split", trained.split, "--llm", trained.file, "--json")
    result = run("--home", "copy", *train, *options)
    assert result.code == 0
    learned = result.json["language_model"]
    assert learned["answered"] > 0
    assert any(each["joins"] for each in learned["gains"])
    shown = run("--home", "copy", "model", "show", "all", "--json").json
    assert shown["network"] is not None
    assert shown["language_model"]["gains"] == learned["gains"]
    complete = ("complete", "--model", "all", "--llm", trained.file, "--out", "out.jsonl")
    assert run("--home", "copy", *complete).code == 0
    best = [line["candidates"][0]["value"] for line in completions(tmp_path / "out.jsonl")]
    items = [int(line["item"]) for line in completions(tmp_path / "out.jsonl")]
    assert best == [colour_of(item) for item in items]
    assert_fails(run("--home", "copy", "train", "--init", "all", "--llm", trained.file), 2, "--llm")
