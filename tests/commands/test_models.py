"""train, model show, runs, complete, evaluate, report: on a catalogue of a hundred squares."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli import main
from kg.home import Home
from kg.stores.tables import items_table, statements_table
from schema.terms import Item, Rank, Statement
from tests.commands.conftest import Call, Result, assert_fails
from tests.commands.drawn_catalogue import COLOURS, draw_catalogue

TRAIN = "train --preset joint --size tiny --steps 30 --name first --set log_every=10"
MISSING_CELLS = 20
METRICS = {
    *("hits@1", "hits@3", "hits@10", "mrr", "ece", "brier", "aurc"),
    *("coverage@0.9", "precision@0.9", "coverage@0.95", "precision@0.95"),
    *("coverage@0.99", "precision@0.99"),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one model."""
    folder = tmp_path_factory.mktemp("trained")
    home = str(folder / "home")
    assert main(["--home", home, "ingest", str(draw_catalogue(folder))]) == 0
    assert main(["--home", home, *TRAIN.split()]) == 0
    return Path(home)


@pytest.fixture
def run(call: Call, trained: Path) -> Call:
    """Call a command in the home with the trained model."""
    return lambda *args: call("--home", trained, *args)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read a file of JSON lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_train_leaves_a_whole_calibrated_model(run: Call) -> None:
    document = run("model", "show", "first", "--json").json
    assert (document["model"], document["calibrated"]) == ("first", True)
    assert (document["preset"], document["size"]) == ("joint", "tiny")
    assert document["parameters"] == sum(document["parts"].values())
    assert document["parameters"] == sum(tensor["parameters"] for tensor in document["tensors"])
    assert (document["properties"], document["values"]) == (2, 7)


def test_log_has_the_lines_of_the_contract(trained: Path) -> None:
    lines = read_lines(trained / "models" / "first" / "log.jsonl")
    assert [line["step"] for line in lines] == [10, 20, 30]
    assert {"step", "epoch", "seconds", "items_per_second", "lr", "loss"} <= set(lines[0])
    assert "total" in lines[0]["loss"]


def test_runs_lists_the_run(run: Call) -> None:
    (training,) = run("runs", "--json").json
    assert (Path(training["model"]).name, training["steps"]) == ("first", 30)
    assert "first" in run("runs").out


def test_runs_plots_the_loss_terms(run: Call, tmp_path: Path) -> None:
    assert run("runs", "--plot", "terms.svg").code == 0
    assert (tmp_path / "terms.svg").stat().st_size > 1000


def test_complete_completes_every_missing_cell(run: Call, tmp_path: Path) -> None:
    counts = run("complete", "--out", "filled.jsonl", "--json").json
    lines = read_lines(tmp_path / "filled.jsonl")
    assert counts["cells"] == len(lines) == MISSING_CELLS
    assert counts["cells"] == counts["fill"] + counts["review"] + counts["abstain"]
    assert set(lines[0]) == {"item", "property", "candidates", "decision", "evidence"}
    assert {line["property"] for line in lines} == {"colour"}
    probabilities = [candidate["probability"] for candidate in lines[0]["candidates"]]
    assert sum(probabilities) == pytest.approx(1, abs=1e-3)


def test_complete_says_what_can_be_proven(run: Call) -> None:
    result = run("complete", "--target-precision", "0.999", "--json")
    provable = result.json["provable"]
    assert result.json["fill"] == 0
    assert provable["target_precision"] == 0.999
    assert provable["needed"] == {"together": 3688, "of_property": 1386}
    assert provable["targets"][0]["target_precision"] == 0.9
    text = run("complete", "--target-precision", "0.999").out
    assert "0.999 needs 3,688 known cells without a mistake" in " ".join(text.split())


def test_complete_decides_as_the_ontology_says(call: Call, trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "copy")
    ontology = tmp_path / "copy" / "ontology.toml"
    decisions = [
        "[decisions]",
        "target_precision = 0.97",
        "review_above = 0",
        "[decisions.property.colour]",
        "review_above = 1",
        "[decisions.property.colr]",
        "review_above = 1",
    ]
    ontology.write_text(ontology.read_text() + "\n" + "\n".join(decisions) + "\n")
    result = call("--home", "copy", "complete", "--json")
    assert result.json["provable"]["target_precision"] == 0.97
    assert result.json["review"] == 0
    assert "'colr'" in result.err
    again = call("--home", "copy", "complete", "--target-precision", "0.9", "--json")
    assert again.json["provable"]["target_precision"] == 0.9

    ontology.write_text(ontology.read_text().replace("= 0.97", "= 97"))
    assert_fails(call("--home", "copy", "complete"), 1, "decisions.target_precision = 97")


def test_complete_takes_items_properties_and_cells(run: Call, tmp_path: Path) -> None:
    named = run("complete", "--item", "0", "--item", "5", "--property", "colour", "--json")
    assert named.json["cells"] == 2

    (tmp_path / "cells.csv").write_text("item,property\n1,shape\n")
    result = run("complete", "--cells", "cells.csv", "--top-k", "2", "--out", "one.jsonl", "--json")
    assert result.json["cells"] == 1
    (line,) = read_lines(tmp_path / "one.jsonl")
    assert len(line["candidates"]) == 2


def test_complete_prints_completions_without_out(run: Call) -> None:
    result = run("complete", "--item", "0")
    assert "colour" in result.out
    assert "%" in result.out


def test_complete_writes_through_a_link(run: Call, tmp_path: Path) -> None:
    # /dev/stdout is a link, and root could replace it.
    (tmp_path / "link").symlink_to("target.jsonl")
    assert run("complete", "--item", "0", "--out", "link").code == 0
    assert (tmp_path / "link").is_symlink()
    assert len(read_lines(tmp_path / "target.jsonl")) == 1


def test_interrupted_complete_keeps_the_old_file(
    run: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "filled.jsonl").write_text("old\n")

    def interrupt(*args: Any, **options: Any) -> Any:
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr("serving.home_completion.complete_cells", interrupt)
    assert run("complete", "--out", "filled.jsonl").code == 130
    assert [path.name for path in tmp_path.iterdir()] == ["filled.jsonl"]
    assert (tmp_path / "filled.jsonl").read_text() == "old\n"


def test_complete_refuses_unknown_items_and_properties(run: Call) -> None:
    assert_fails(run("complete", "--item", "nosuch"), 2, "nosuch")
    assert_fails(run("complete", "--property", "nosuch"), 2, "nosuch")


def test_complete_writes_predictions(trained: Path, tmp_path: Path, call: Call) -> None:
    shutil.copytree(trained, tmp_path / "copy")
    result = call("--home", "copy", "complete", "--target-precision", "0.01", "--write", "--json")
    ranks = call("--home", "copy", "stats", "--json").json["ranks"]
    assert ranks.get("predicted", 0) == result.json["written"]
    # A predicted value does not fill a cell: only a person's decision does.
    assert call("--home", "copy", "complete", "--json").json["cells"] == MISSING_CELLS


def test_a_model_completes_the_items_of_another_home(
    call: Call, trained: Path, tmp_path: Path
) -> None:
    (tmp_path / "other.csv").write_text(
        "id,title,colour,material\nx,A mug,red,tin\ny,A lamp,violet,\nz,A chair,,tin\n"
    )
    call("ingest", "other.csv")
    model = trained / "models" / "first"
    assert call("complete", "--model", model, "--out", "other.jsonl", "--json").code == 0
    lines = {
        (line["item"], line["property"]): line for line in read_lines(tmp_path / "other.jsonl")
    }
    assert lines["z", "colour"]["candidates"]
    # What the model does not know is not asked, and not without a word.
    assert ("y", "material") not in lines
    again = call("complete", "--model", model)
    assert "missing and not asked: 1 (unknown to the model 1)" in again.out
    assert "does not know 1 of this home's 2 properties that could be asked (material)" in again.err


@pytest.fixture
def copied(call: Call, trained: Path, tmp_path: Path) -> Call:
    """Call a command in a copy of the home, which may be changed."""
    shutil.copytree(trained, tmp_path / "copy")
    return lambda *args: call("--home", "copy", *args)


def edit_ontology(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "copy" / "ontology.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


BARE = "id,title,category\n" + "".join(f"new{n},A new thing {n},Things\n" for n in range(500))


def test_a_feed_of_bare_items_leaves_the_asked_cells_of_the_others(
    copied: Call, tmp_path: Path
) -> None:
    (tmp_path / "new.csv").write_text(BARE.replace("Things\n", "Things > New\n", 100))
    assert copied("ingest", "new.csv").code == 0
    result = copied("complete", "--out", "lines.jsonl", "--json")
    lines = read_lines(tmp_path / "lines.jsonl")
    former = [line for line in lines if not line["item"].startswith("new")]
    assert len(former) == MISSING_CELLS
    # Each of the new items is asked both of its properties.
    assert result.json["cells"] == MISSING_CELLS + 1000
    assert result.json["not_asked"] == {}


def test_flags_of_a_property_are_obeyed_and_said(copied: Call, tmp_path: Path) -> None:
    edit_ontology(tmp_path, "[property.colour]\n", "[property.colour]\ncomplete = false\n")
    shown = copied("schema", "show", "colour", "--json").json
    assert (shown["learn"], shown["complete"], shown["asked"]) == (True, False, False)
    assert "complete = false" in copied("schema", "show").out
    result = copied("complete", "--json").json
    assert (result["cells"], result["not_asked"]) == (0, {"complete_false": MISSING_CELLS})
    assert f"(complete = false in ontology.toml {MISSING_CELLS})" in copied("complete").out
    # It is kept, and training without the colour has nothing to learn of it.
    assert copied("schema", "infer").code == 0
    assert copied("schema", "show", "colour", "--json").json["complete"] is False
    edit_ontology(tmp_path, "complete = false\n", "learn = false\n")
    trained = copied(
        "train", "--preset", "joint", "--size", "tiny", "--steps", "1", "--name", "shapes"
    )
    assert trained.code == 0
    assert "not learned: colour (learn = false in ontology.toml)" in trained.err
    assert copied("model", "show", "shapes", "--json").json["properties"] == 1


def test_named_cells_are_answered_or_refused_with_the_reason(copied: Call, tmp_path: Path) -> None:
    (tmp_path / "more.csv").write_text(
        "id,title,category,ean,price,shape\nx,A mug,Cups,4012345000009,9.90,mug\n"
        "y,A lamp,Cups,4012345000016,8.90,lamp\nz,A lamp,Cups,4012345000023,,lamp\n"
    )
    assert copied("ingest", "more.csv").code == 0
    result = copied(
        *("complete", "--item", "x", "--item", "0", "--json"),
        *("--property", "colour", "--property", "ean", "--property", "shape"),
    ).json
    assert result["cells"] == 2
    reasons = {(each["item"], each["property"]): each["reason"] for each in result["refused"]}
    assert reasons == {
        ("0", "ean"): "identifier",
        ("0", "shape"): "has_value",
        ("x", "ean"): "identifier",
        ("x", "shape"): "has_value",
    }
    (tmp_path / "cells.csv").write_text("item,property\nx,price\nx,colour\ny,shape\n")
    result = copied("complete", "--cells", "cells.csv", "--out", "lines.jsonl", "--json").json
    assert (result["cells"], result["refused"][0]["reason"]) == (3, "numbers")
    lines = {line["property"]: line for line in read_lines(tmp_path / "lines.jsonl")}
    assert lines["colour"]["candidates"]
    assert lines["shape"]["candidates"]
    assert (lines["price"]["candidates"], lines["price"]["reason"]) == ([], "numbers")
    refused = copied("complete", "--property", "ean")
    assert "refused: ean: identifiers" in refused.out
    nothing_missing = copied("complete", "--item", "1")
    assert "refused: 1: " in nothing_missing.out
    # Two prices and three article numbers are too few to be missed elsewhere.
    whole = copied("complete", "--json").json["not_asked"]
    assert whole == {"does_not_apply": 2 * 100 + 1 + 3}


def test_values_that_were_edited_after_the_training_are_obeyed(
    copied: Call, tmp_path: Path
) -> None:
    edit_ontology(tmp_path, "\nred = 20\n", "\nturquoise = 0\n")
    assert copied("complete", "--out", "lines.jsonl", "--top-k", 9, "--json").code == 0
    for line in read_lines(tmp_path / "lines.jsonl"):
        values = {each["value"] for each in line["candidates"]}
        assert values == {"green", "blue", "yellow", "turquoise"}
        if line["candidates"][0]["value"] == "turquoise":
            assert line["decision"] != "fill"


def test_an_ontology_of_an_earlier_version_says_what_to_do(copied: Call, tmp_path: Path) -> None:
    path = tmp_path / "copy" / "ontology.toml"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.startswith("inferred_shares")))
    result = copied("complete", "--json")
    assert result.json["cells"] == MISSING_CELLS
    assert "of an earlier version" in result.err


def test_a_model_asks_a_home_of_few_items_for_what_it_knows(
    call: Call, trained: Path, tmp_path: Path
) -> None:
    (tmp_path / "few.csv").write_text(
        "id,title,category,shape\nx,A mug,Things,mug\ny,A lamp,Things,\nz,A lamp,Rugs,lamp\n"
    )
    call("ingest", "few.csv")
    model = ("--model", trained / "models" / "first")
    assert call("complete", *model, "--out", "lines.jsonl", "--json").json["cells"] == 3
    asked = {(line["item"], line["property"]) for line in read_lines(tmp_path / "lines.jsonl")}
    # Of the category of z the model knows nothing.
    assert asked == {("x", "colour"), ("y", "colour"), ("y", "shape")}


def test_a_rejected_value_is_not_offered_again(copied: Call, tmp_path: Path) -> None:
    with Home.open(tmp_path / "copy").store() as store:
        rejected = [Statement("0", "colour", value, Rank.REJECTED) for value in ("red", "green")]
        store.put(None, statements_table(rejected))
    copied("complete", "--item", "0", "--out", "lines.jsonl", "--top-k", 9)
    (line,) = read_lines(tmp_path / "lines.jsonl")
    assert {each["value"] for each in line["candidates"]} == {"blue", "yellow"}


def test_a_prediction_beside_an_asserted_value_is_not_written_and_counted(
    copied: Call, tmp_path: Path
) -> None:
    (tmp_path / "cells.csv").write_text("item,property\n0,colour\n1,colour\n1,shape\n")
    options = ("--cells", "cells.csv", "--target-precision", "0.01", "--write")
    result = copied("complete", *options, "--json").json
    assert result["fill"] == result["written"] + sum(result["not_written"].values())
    statements = copied("show", "1", "--json").json["statements"]
    assert {each["rank"] for each in statements} == {"asserted"}
    if result["not_written"]:
        assert "not written: " in copied("complete", *options).out


@pytest.fixture
def foreign(call: Call, tmp_path: Path) -> Call:
    """Call a command in a home whose columns have other names than the model's."""
    rows = [
        f"{n},A {('mug', 'lamp')[n % 2]},{COLOURS[n % 4]},{'cup' if n % 3 else ''}"
        for n in range(30)
    ]
    (tmp_path / "foreign.csv").write_text("id,title,Colours,Form\n" + "\n".join(rows) + "\n")
    assert call("ingest", "foreign.csv").code == 0
    return call


def test_a_home_of_other_names_is_told_and_mapped(
    foreign: Call, trained: Path, tmp_path: Path
) -> None:
    model = ("--model", trained / "models" / "first")
    plain = foreign("complete", *model, "--json")
    assert "does not know 2 of this home's 2 properties" in plain.err
    assert "Colours = colour" in plain.err
    assert (plain.json["cells"], plain.json["not_asked"]) == (0, {"unknown_to_model": 10})

    proposal = foreign("complete", *model, "--write-map", "map.csv", "--json").json
    assert proposal["proposed"]["Colours"] == "colour"
    (tmp_path / "map.csv").write_text(
        "property,model_property,value,model_value\nColours,colour\nForm,shape,cup,mug\n"
    )
    result = foreign(
        *("complete", *model, "--map-properties", "map.csv", "--out", "lines.jsonl", "--json"),
        *("--item", "0", "--property", "Form", "--property", "Colours"),
    )
    assert result.json["cells"] == 1
    (line,) = read_lines(tmp_path / "lines.jsonl")
    assert line["property"] == "Form"
    assert {each["value"] for each in line["candidates"]} == {"cup", "lamp", "chair"}
    known = {each["property"] for each in line["evidence"]["known"]}
    assert known == {"Colours"}

    evaluate = ("evaluate", "completion", *model, "--part", "train", "--json")
    assert foreign(*evaluate, "--image", "no").json["macro"]["mrr"]["value"] == 0
    mapped = foreign(*evaluate, "--image", "no", "--map-properties", "map.csv").json
    assert mapped["properties"]["Colours"]["mrr"]["value"] > 0
    wrong = foreign("complete", *model, "--map-properties", "foreign.csv")
    assert_fails(wrong, 2, "property,model_property")


def test_evaluate_reports_by_the_contract(run: Call) -> None:
    setting = ("--title", "blind", "--image", "yes", "--known", "none")
    report = run("evaluate", "completion", "--part", "train", *setting, "--json").json
    assert report["setting"] == {"title": "blind", "image": "yes", "known": "none"}
    assert set(report["macro"]) == METRICS
    assert set(report["macro"]["mrr"]) == {"value", "low", "high"}
    assert set(report["properties"]) == {"colour", "shape"}


def test_evaluate_compares_with_baselines_and_models(run: Call) -> None:
    evaluate = ("evaluate", "completion", "--image", "no", "--known", "none")
    against = ("--against", "classical", "--against", "most-frequent", "--against", "first")
    report = run(*evaluate, *against, "--json").json
    models = [other["model"] for other in report["against"]]
    assert models == ["classical", "most frequent", "first"]
    for other in report["against"]:
        assert set(other["macro"]) == set(other["difference"]["macro"]) == METRICS
        assert set(other["difference"]["properties"]) == set(report["properties"])
        difference = other["difference"]["macro"]["hits@1"]["value"]
        expected = report["macro"]["hits@1"]["value"] - other["macro"]["hits@1"]["value"]
        assert difference == pytest.approx(expected, abs=2e-6)
    assert report["against"][2]["difference"]["macro"]["mrr"] == {"value": 0, "low": 0, "high": 0}

    out = run(*evaluate, "--against", "classical").out
    assert "first against classical" in out
    assert "aurc" in out
    assert_fails(run(*evaluate, "--against", "nosuch"), 2, "nosuch")


def test_evaluate_all_settings(run: Call, tmp_path: Path) -> None:
    result = run("evaluate", "completion", "--all", "--out", "all.json", "--json")
    assert len(result.json) == 11
    assert json.loads((tmp_path / "all.json").read_text()) == result.json


def test_evaluate_tells_what_remains_without_twins(run: Call) -> None:
    evaluate = ("evaluate", "completion", "--known", "none", "--twins")
    report = run(*evaluate, "--against", "most-frequent", "--json").json
    # Every title has a number of its own, and one colour has no pattern to be known by.
    assert report["twins"]["items"] == report["items"]
    assert report["twins"]["either"] == {"items": 0, "share": 0}
    without = report["without_twins"]
    assert {**without, "twins": report["twins"], "without_twins": without} == report
    assert "twins: of " in run(*evaluate).out.splitlines()[0]
    assert_fails(run(*evaluate, "--part", "train"), 2, "--twins", "--part")


def test_evaluate_takes_a_split_file(run: Call, tmp_path: Path) -> None:
    rows = [f"{number},{'test' if number < 10 else 'train'}" for number in range(100)]
    (tmp_path / "split.csv").write_text("item,split\n" + "\n".join(rows) + "\n")
    assert run("evaluate", "completion", "--split", "split.csv", "--json").json["items"] == 10
    assert run("evaluate", "completion", "--split", "nosuch.csv").code == 2


def test_a_resumed_run_is_calibrated_on_its_own_split(
    call: Call, trained: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained, tmp_path / "copy")
    splits = ["validation"] * 10 + ["train"] * 90
    rows = [f"{number},{split}" for number, split in enumerate(splits)]
    (tmp_path / "split.csv").write_text("item,split\n" + "\n".join(rows) + "\n")
    train = (
        "--home",
        "copy",
        "train",
        "--preset",
        "joint",
        "--size",
        "tiny",
        "--name",
        "split",
        "--json",
    )
    assert call(*train, "--steps", "2", "--split", "split.csv").code == 0
    result = call(*train, "--steps", "3", "--resume")
    assert result.code == 0, result.err
    calibration = json.loads((Path(result.json["model"]) / "calibration.json").read_text())
    assert calibration["items"] == 10


def test_damaged_weights_are_refused(run: Call, trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "damaged"
    ignore = shutil.ignore_patterns("checkpoints")
    shutil.copytree(trained / "models" / "first", folder, ignore=ignore)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert_fails(run("complete", "--model", folder), 1, "damaged")


def test_existing_model_name_is_refused(run: Call) -> None:
    result = run("train", "--preset", "joint", "--size", "tiny", "--steps", "1", "--name", "first")
    assert_fails(result, 2, "--resume")


CATALOGUES = {
    "no images": ("id,title,colour", "{n},Item {colour} {n},{colour}"),
    "no titles": ("id,colour,size", "{n},{colour},{size}"),
    "one property": ("id,title,colour", "{n},Thing {n},{colour}"),
    "one value": ("id,title,kind", "{n},Thing {n},thing"),
}


@pytest.mark.parametrize("kind", CATALOGUES)
def test_a_bare_catalogue_trains_and_completes(call: Call, tmp_path: Path, kind: str) -> None:
    header, row = CATALOGUES[kind]
    rows = [row.format(n=n, colour=COLOURS[n % 4], size="SL"[n % 2]) for n in range(30)]
    bare_item = "30" + "," * header.count(",")
    (tmp_path / "bare.csv").write_text("\n".join([header, *rows, bare_item]) + "\n")
    assert call("ingest", "bare.csv").code == 0
    result = call("train", "--preset", "joint", "--size", "tiny", "--steps", "2", "--json")
    assert result.code == 0, result.err
    assert set(result.json) == {"model", "steps", "seconds", "items_per_second", "metrics"}
    assert call("complete", "--json").json["cells"] > 0


@pytest.mark.parametrize(
    "text", ["id,title,colour\n1,Red mug,red\n", "id,title\n1,Red mug\n", "id,colour\n1,red\n"]
)
def test_one_item_trains_or_fails_in_one_line(call: Call, tmp_path: Path, text: str) -> None:
    (tmp_path / "one.csv").write_text(text)
    call("ingest", "one.csv")
    result = call("train", "--preset", "joint", "--size", "tiny", "--steps", "2")
    assert result.code in (0, 1)
    assert "unexpected" not in result.err


def test_stopped_run_says_how_to_continue(run: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = {
        "model": "x/half",
        "steps": 7,
        "seconds": 1.0,
        "items_per_second": 9.0,
        "metrics": {},
        "finished": False,
    }
    monkeypatch.setattr("training.run.train", lambda *arguments, **options: dict(stopped))
    result = run("train", "--preset", "joint", "--json")
    assert result.code == 130
    assert "--resume --name half" in result.err
    assert "finished" not in result.json


def test_report_writes_one_self_contained_page(run: Call, tmp_path: Path) -> None:
    run("complete", "--out", "filled.jsonl")
    rows = [f"{number},colour,{COLOURS[number % 4]},hidden" for number in range(0, 100, 5)]
    (tmp_path / "truth.csv").write_text("item,property,value,kind\n" + "\n".join(rows) + "\n")
    result = run(
        *("report", "page.html", "--completions", "filled.jsonl", "--truth", "truth.csv", "--json")
    )
    assert result.json == {"page": "page.html"}
    page = (tmp_path / "page.html").read_text()
    assert "colour" in page
    assert 'src="http' not in page


@pytest.fixture
def moved_images(trained: Path) -> Iterator[None]:
    """The folder of the catalogue's images has moved, as if its disk were not mounted."""
    images = trained.parent / "images"
    images.rename(trained.parent / "moved")
    yield
    (trained.parent / "moved").rename(images)


def image_warnings(result: Result) -> list[str]:
    """Return the lines of warning that are about images."""
    lines = result.err.splitlines()
    return [line for line in lines if line.startswith("warning: ") and "images" in line]


HOW_TO_GO_ON = "mount their disk or put their folder back, or load them again with"


@pytest.mark.usefixtures("moved_images")
def test_completing_without_the_images_says_so(run: Call, tmp_path: Path) -> None:
    result = run("complete", "--out", "filled.jsonl", "--json")
    assert result.json["cells"] == MISSING_CELLS
    (warning,) = image_warnings(result)
    assert f"{MISSING_CELLS} of {MISSING_CELLS} images cannot be read any more" in warning
    assert "0.png, which does not exist" in warning
    assert HOW_TO_GO_ON in warning
    assert read_lines(tmp_path / "filled.jsonl")[0]["evidence"]["image"] is None

    page = run("report", "page.html", "--completions", "filled.jsonl")
    assert page.code == 0
    assert "images cannot be read any more" in page.err
    assert "warning: 100 of 100 images" in run("leaks").err
    assert "images cannot be read" in run("show", "1", "--graph", "one.png").err


@pytest.mark.usefixtures("moved_images")
def test_evaluating_the_images_without_them_is_refused(run: Call) -> None:
    evaluate = ("evaluate", "completion", "--part", "train")
    for setting in (("--image", "yes"), ("--all",)):
        assert_fails(run(*evaluate, *setting), 1, "images cannot be read", "--image no")
    assert run(*evaluate, "--image", "no").code == 0


@pytest.mark.usefixtures("moved_images")
def test_training_on_the_images_without_them_is_refused(run: Call) -> None:
    train = ("train", "--preset", "joint", "--size", "tiny", "--steps", "1", "--name", "blind")
    assert_fails(run(*train), 1, "100 of 100 images", HOW_TO_GO_ON, "image_encoder=none")
    assert run(*train, "--set", "image_encoder=none").code == 0


def test_training_and_completing_count_the_images_that_cannot_be_read(
    call: Call, tmp_path: Path
) -> None:
    table = draw_catalogue(tmp_path / "shop", 30)
    call("ingest", table)
    (tmp_path / "shop" / "images" / "0.png").unlink()
    (tmp_path / "shop" / "images" / "5.png").write_bytes(b"\x89PNG\r\n\x1a\n damaged")
    train = call("train", "--preset", "joint", "--size", "tiny", "--steps", "1")
    assert train.code == 0
    (warning,) = image_warnings(train)
    assert "2 of 30 images cannot be read any more" in warning
    complete = call("complete")
    gone, damaged = image_warnings(complete)
    assert "1 of 6 images cannot be read any more" in gone
    assert "0.png, which does not exist" in gone
    assert "1 of 6 images" in damaged
    assert "5.png, which is truncated" in damaged


def test_a_file_that_a_store_names_is_neither_trained_on_nor_shown(
    call: Call, tmp_path: Path
) -> None:
    table = draw_catalogue(tmp_path / "shop", 30)
    secret = tmp_path / "secret.png"
    (tmp_path / "shop" / "images" / "3.png").rename(secret)
    (tmp_path / "shop" / "images" / "3.png").symlink_to(secret)
    ingest = call("ingest", table)
    assert "'images/3.png' is reached through a symbolic link" in ingest.err
    with Home.open(tmp_path / "catalog").store() as store:
        store.put(items_table([Item("3", images=(str(secret),))]), None)
    train = call("train", "--preset", "joint", "--size", "tiny", "--steps", "1")
    assert f"{secret}, which is outside the image folders of this home" in train.err
    assert "`catalograph init --images DIR`" in train.err
    assert call("init", "--images", tmp_path / "shop", "--images", tmp_path).code == 0
    assert "outside" not in call("train", "--preset", "joint", "--size", "tiny", "--steps", "1").err
