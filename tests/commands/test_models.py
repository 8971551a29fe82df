"""train, model show, runs, complete, evaluate: the chain on a catalogue of a hundred coloured squares."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from cli import main
from tests.commands.conftest import Call

COLOURS = ("red", "green", "blue", "yellow")
SHAPES = ("mug", "lamp", "chair")


def draw_shop(folder: Path, items: int = 100) -> Path:
    """A table whose titles name the shape and whose images show the colour; every fifth item lacks its colour."""
    from PIL import Image

    (folder / "images").mkdir(parents=True)
    rows = ["id,title,category,image,colour,shape"]
    for number in range(items):
        colour = COLOURS[number % 4]
        shape = SHAPES[number % 3]
        Image.new("RGB", (16, 16), colour).save(folder / "images" / f"{number}.png")
        said = "" if number % 5 == 0 else colour
        rows.append(f"{number},A {shape} number {number},Things,images/{number}.png,{said},{shape}")
    (folder / "items.csv").write_text("\n".join(rows) + "\n")
    return folder / "items.csv"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one model."""
    folder = tmp_path_factory.mktemp("trained")
    home = str(folder / "home")
    assert main(["--home", home, "ingest", str(draw_shop(folder))]) == 0
    assert (
        main(
            [
                "--home",
                home,
                "train",
                "--size",
                "tiny",
                "--steps",
                "30",
                "--name",
                "first",
                "--set",
                "log_every=10",
            ]
        )
        == 0
    )
    return Path(home)


@pytest.fixture
def use(call: Call, trained: Path) -> Call:
    return lambda *args: call("--home", trained, *args)


def test_train_leaves_a_whole_calibrated_model(use: Call, trained: Path) -> None:
    document = use("model", "show", "first", "--json").json
    assert (document["model"], document["preset"], document["size"], document["calibrated"]) == (
        "first",
        "joint",
        "tiny",
        True,
    )
    assert document["parameters"] == sum(document["parts"].values())
    assert (document["properties"], document["values"]) == (2, 7)


def test_the_log_has_the_lines_of_the_contract(trained: Path) -> None:
    lines = [
        json.loads(line)
        for line in (trained / "models" / "first" / "log.jsonl").read_text().splitlines()
    ]
    assert [line["step"] for line in lines] == [10, 20, 30]
    assert {"step", "epoch", "seconds", "items_per_second", "lr", "loss"} <= set(lines[0])
    assert "total" in lines[0]["loss"]


def test_runs_lists_the_run(use: Call) -> None:
    (run,) = use("runs", "--json").json
    assert (Path(run["model"]).name, run["steps"]) == ("first", 30)
    assert "first" in use("runs").out


def test_runs_draws_the_terms(use: Call, tmp_path: Path) -> None:
    assert use("runs", "--plot", "terms.svg").code == 0
    assert (
        "total" in (tmp_path / "terms.svg").read_text()
        or (tmp_path / "terms.svg").stat().st_size > 1000
    )


def test_complete_answers_every_missing_cell(use: Call, tmp_path: Path) -> None:
    counts = use("complete", "--out", "filled.jsonl", "--json").json
    lines = [json.loads(line) for line in (tmp_path / "filled.jsonl").read_text().splitlines()]
    assert (
        counts["cells"] == len(lines) == 20 == counts["fill"] + counts["review"] + counts["abstain"]
    )
    assert set(lines[0]) == {"item", "property", "candidates", "decision", "evidence"}
    assert {line["property"] for line in lines} == {"colour"}
    assert sum(each["probability"] for each in lines[0]["candidates"]) == pytest.approx(1, abs=1e-3)


def test_complete_asks_what_it_is_told(use: Call, tmp_path: Path) -> None:
    assert (
        use("complete", "--item", "0", "--item", "5", "--property", "colour", "--json").json[
            "cells"
        ]
        == 2
    )
    (tmp_path / "cells.csv").write_text("item,property\n1,shape\n")
    assert (
        use(
            "complete", "--cells", "cells.csv", "--top-k", "2", "--out", "one.jsonl", "--json"
        ).json["cells"]
        == 1
    )
    assert len(json.loads((tmp_path / "one.jsonl").read_text())["candidates"]) == 2


def test_complete_shows_answers_where_no_file_is_asked_for(use: Call) -> None:
    said = use("complete", "--item", "0")
    assert "colour" in said.out
    assert "%" in said.out


def test_complete_refuses_an_unknown_item_and_property(use: Call) -> None:
    assert use("complete", "--item", "nosuch").code == 2
    said = use("complete", "--property", "nosuch")
    assert said.code == 2
    assert "nosuch" in said.err


def test_complete_writes_predictions(use: Call, trained: Path, tmp_path: Path, call: Call) -> None:
    shutil.copytree(trained, tmp_path / "copy")
    written = call(
        "--home", "copy", "complete", "--target-precision", "0.01", "--write", "--json"
    ).json["written"]
    stats = call("--home", "copy", "stats", "--json").json
    assert stats["ranks"].get("predicted", 0) == written
    assert call("--home", "copy", "complete", "--json").json["cells"] == 20


def test_a_model_completes_the_items_of_another_home(
    call: Call, trained: Path, tmp_path: Path
) -> None:
    (tmp_path / "other.csv").write_text(
        "id,title,colour,material\nx,A mug,red,tin\ny,A lamp,violet,\nz,A chair,,tin\n"
    )
    call("ingest", "other.csv")
    said = call(
        "complete", "--model", trained / "models" / "first", "--out", "other.jsonl", "--json"
    )
    assert said.code == 0
    lines = {
        (line["item"], line["property"]): line
        for line in map(json.loads, (tmp_path / "other.jsonl").read_text().splitlines())
    }
    assert lines["z", "colour"]["candidates"]
    assert (lines["y", "material"]["candidates"], lines["y", "material"]["decision"]) == (
        [],
        "abstain",
    )


def test_evaluate_measures_by_the_contract(use: Call) -> None:
    report = use(
        "evaluate",
        "completion",
        "--part",
        "train",
        "--title",
        "blind",
        "--image",
        "yes",
        "--known",
        "none",
        "--json",
    ).json
    assert report["setting"] == {"title": "blind", "image": "yes", "known": "none"}
    assert set(report["macro"]) == {"hits@1", "hits@3", "hits@10", "mrr", "ece"}
    assert set(report["macro"]["mrr"]) == {"value", "low", "high"}
    assert set(report["properties"]) == {"colour", "shape"}


def test_evaluate_goes_through_all_settings(use: Call, tmp_path: Path) -> None:
    said = use("evaluate", "completion", "--all", "--out", "all.json", "--json")
    assert len(said.json) == 11
    assert json.loads((tmp_path / "all.json").read_text()) == said.json


def test_evaluate_takes_a_split(use: Call, tmp_path: Path) -> None:
    rows = [f"{number},{'test' if number < 10 else 'train'}" for number in range(100)]
    (tmp_path / "split.csv").write_text("item,split\n" + "\n".join(rows) + "\n")
    assert use("evaluate", "completion", "--split", "split.csv", "--json").json["items"] == 10
    assert use("evaluate", "completion", "--split", "nosuch.csv").code == 2


def test_a_damaged_model_is_refused(use: Call, trained: Path, tmp_path: Path) -> None:
    shutil.copytree(
        trained / "models" / "first",
        tmp_path / "damaged",
        ignore=shutil.ignore_patterns("checkpoints"),
    )
    weights = tmp_path / "damaged" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    said = use("complete", "--model", tmp_path / "damaged")
    assert said.code == 1
    assert "damaged" in said.err


def test_a_name_that_is_taken_is_refused(use: Call) -> None:
    said = use("train", "--size", "tiny", "--steps", "1", "--name", "first")
    assert said.code == 2
    assert "--resume" in said.err


CATALOGUES = {
    "no images": ("id,title,colour", "{n},Item {c} {n},{c}"),
    "no titles": ("id,colour,size", "{n},{c},{s}"),
    "one property": ("id,title,colour", "{n},Thing {n},{c}"),
    "one value": ("id,title,kind", "{n},Thing {n},thing"),
}


@pytest.mark.parametrize("kind", CATALOGUES)
def test_a_bare_catalogue_trains_and_completes(call: Call, tmp_path: Path, kind: str) -> None:
    header, row = CATALOGUES[kind]
    rows = [row.format(n=n, c=COLOURS[n % 4], s="SL"[n % 2]) for n in range(30)]
    (tmp_path / "bare.csv").write_text(
        "\n".join([header, *rows, "last" + "," * header.count(",")]) + "\n"
    )
    assert call("ingest", "bare.csv").code == 0
    said = call("train", "--size", "tiny", "--steps", "2", "--json")
    assert said.code == 0, said.err
    assert set(said.json) == {"model", "steps", "seconds", "items_per_second", "metrics"}
    said = call("complete", "--json")
    assert said.json["cells"] > 0


@pytest.mark.parametrize(
    "text", ["id,title,colour\n1,Red mug,red\n", "id,title\n1,Red mug\n", "id,colour\n1,red\n"]
)
def test_one_item_is_a_sensible_answer_or_one_line(call: Call, tmp_path: Path, text: str) -> None:
    (tmp_path / "one.csv").write_text(text)
    call("ingest", "one.csv")
    said = call("train", "--size", "tiny", "--steps", "2")
    assert said.code in (0, 1)
    assert "unexpected" not in said.err


def test_a_stopped_run_says_how_to_go_on(use: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = {
        "model": "x/half",
        "steps": 7,
        "seconds": 1.0,
        "items_per_second": 9.0,
        "metrics": {},
        "finished": False,
    }
    monkeypatch.setattr("training.run.train", lambda home, options, progress: dict(stopped))
    said = use("train", "--json")
    assert said.code == 130
    assert "--resume --name half" in said.err
    assert "finished" not in said.json


def test_report_writes_one_whole_page(use: Call, tmp_path: Path) -> None:
    use("complete", "--out", "filled.jsonl")
    rows = [f"{number},colour,{COLOURS[number % 4]},hidden" for number in range(0, 100, 5)]
    (tmp_path / "truth.csv").write_text("item,property,value,kind\n" + "\n".join(rows) + "\n")
    assert use(
        "report", "page.html", "--completions", "filled.jsonl", "--truth", "truth.csv", "--json"
    ).json == {"page": "page.html"}
    page = (tmp_path / "page.html").read_text()
    assert "colour" in page
    assert 'src="http' not in page
