"""finetune align, align and evaluate alignment: from labelled pairs to matches of two files."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from cli import main
from serving.alignment.records import Record
from tests.commands.conftest import Call, assert_fails
from tests.serving.alignment.made_pairs import made_records

ITEMS = 50


def write_items(path: Path, records: Sequence[Record]) -> None:
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("id", "title", "price"))
        for record in records:
            writer.writerow((record.id, record.title, record.values["price"][0]))


def write_pairs(path: Path, shifts: Sequence[int], items: range) -> None:
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("left", "right", "label"))
        for shift in shifts:
            for number in items:
                other = (number + shift) % ITEMS
                writer.writerow((f"L{number}", f"R{other}", int(shift == 0)))


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two catalogues in one home and as two files, labelled pairs, and a model of them."""
    folder = tmp_path_factory.mktemp("aligned")
    left, right = made_records(ITEMS)
    write_items(folder / "left.csv", left)
    write_items(folder / "right.csv", right)
    write_items(folder / "items.csv", [*left, *right])
    write_pairs(folder / "train.csv", (0, 1, 2, 7), range(40))
    write_pairs(folder / "valid.csv", (0, 3, 5), range(40, ITEMS))
    home = ("--home", str(folder / "home"))
    assert main([*home, "ingest", str(folder / "items.csv")]) == 0
    pairs = ("--pairs", str(folder / "train.csv"), "--validation", str(folder / "valid.csv"))
    assert main([*home, "finetune", "align", *pairs]) == 0
    return folder


def test_training_prints_what_was_measured(call: Call, folder: Path) -> None:
    home = ("--home", folder / "home")
    named = ("finetune", "align", "--pairs", folder / "train.csv", "--name", "second")
    result = call(*home, *named, "--json").json
    assert Path(result["model"]).name == "second"
    assert result["pairs"] == 160
    assert set(result["metrics"]) == {"left out"}
    assert result["metrics"]["left out"]["metrics"]["f1"]["value"] > 0.8
    assert_fails(call(*home, *named), 2, "second", "choose another name")
    assert call(*home, "models", "delete", "second", "--yes").code == 0


def test_models_that_align_complete_nothing(call: Call, folder: Path) -> None:
    home = ("--home", folder / "home")
    (model,) = call(*home, "models", "list", "--json").json["models"]
    assert (model["kind"], model["properties"], model["answers"]) == ("alignment", None, None)
    assert_fails(call(*home, "complete", "--model", "align-1"), 2, "aligns items")
    assert_fails(call(*home, "complete"), 2, "catalograph train")
    assert_fails(call(*home, "models", "promote", "align-1"), 2, "aligns items")


def test_pairs_are_scored_in_their_order(call: Call, folder: Path) -> None:
    home = ("--home", folder / "home")
    found = call(*home, "align", "--pairs", folder / "valid.csv", "--json").json
    assert [(each["left"], each["right"]) for each in found[:2]] == [("L40", "R40"), ("L41", "R41")]
    assert len(found) == 30
    assert all(0 <= each["probability"] <= 1 for each in found)
    right = sum(
        (each["probability"] >= 0.5) == (each["left"][1:] == each["right"][1:]) for each in found
    )
    assert right >= 27


def test_two_files_are_aligned_without_being_ingested(
    call: Call, folder: Path, tmp_path: Path
) -> None:
    before = call("--home", folder / "home", "stats", "--json").json
    result = call(
        *("--home", folder / "home", "align", "--target-precision", "0.8", "--one-to-one"),
        *("--left", folder / "left.csv", "--right", folder / "right.csv"),
        *("--out", "found.csv", "--clusters", "groups.csv"),
    )
    assert result.code == 0, result.err
    rows = read_csv(tmp_path / "found.csv")
    matches = [row for row in rows if row["decision"] == "match"]
    assert len({row["left"] for row in matches}) == len({row["right"] for row in matches})
    right = [row for row in matches if row["left"][1:] == row["right"][1:]]
    assert len(matches) > ITEMS / 2
    assert len(right) / len(matches) > 0.8
    groups = read_csv(tmp_path / "groups.csv")
    assert len(groups) == 2 * len(matches)
    assert call("--home", folder / "home", "stats", "--json").json == before


def test_rows_of_a_file_that_are_not_compared_are_told(
    call: Call, folder: Path, tmp_path: Path
) -> None:
    rows = [f"N{number},nordal lamp no{number}x,20" for number in range(150)]
    text = "\n".join(["id,title,price", *rows, ",nordal lamp without an id,20", rows[0]])
    (tmp_path / "new.csv").write_text(text + "\n")
    result = call("--home", folder / "home", "align", "--left", "new.csv", "--json")
    assert result.code == 0, result.err
    assert "new.csv: 1 of 152 rows are rejected, and left out" in result.err
    assert "new.csv: 151 rows are of 150 items" in result.err


def test_a_file_is_aligned_with_the_catalogue_and_the_catalogue_with_itself(
    call: Call, folder: Path, tmp_path: Path
) -> None:
    home = ("--home", folder / "home", "align", "--min-probability", "0.5")
    found = call(*home, "--left", folder / "left.csv", "--json").json
    # Each item of the file is in the catalogue itself.
    assert {each["left"] for each in found if each["left"] == each["right"]} == {
        f"L{number}" for number in range(ITEMS)
    }
    itself = call(*home, "--out", "found.jsonl", "--json").json
    written = [json.loads(line) for line in (tmp_path / "found.jsonl").read_text().splitlines()]
    assert written == itself
    assert all(each["left"] != each["right"] for each in itself)
    chances = [each["probability"] for each in itself]
    assert chances == sorted(chances, reverse=True)


def test_a_model_is_measured_against_baselines(call: Call, folder: Path, tmp_path: Path) -> None:
    home = ("--home", folder / "home", "evaluate", "alignment", "--pairs", folder / "valid.csv")
    against = ("--train", folder / "train.csv", "--against", "tf-idf", "--against", "similarities")
    result = call(*home, *against, "--out", "figures.json", "--json").json
    assert [each["model"] for each in result["reports"]] == ["align-1", "tf-idf", "similarities"]
    assert json.loads((tmp_path / "figures.json").read_text()) == result
    ours, tf_idf, _ = (each["metrics"]["f1"]["value"] for each in result["reports"])
    difference = result["differences"][0]["metrics"]["f1"]
    assert difference["value"] == pytest.approx(ours - tf_idf, abs=1e-5)
    assert difference["low"] <= difference["value"] <= difference["high"]
    assert_fails(call(*home, "--against", "tf-idf"), 2, "--train")


def test_refusals_say_how_to_go_on(call: Call, folder: Path, tmp_path: Path) -> None:
    home = ("--home", folder / "home")
    (tmp_path / "unknown.csv").write_text("left,right\nL1,R99\n")
    assert_fails(call(*home, "align", "--pairs", "unknown.csv"), 2, "R99", "ingest")
    left = folder / "left.csv"
    assert_fails(call(*home, "align", "--pairs", "unknown.csv", "--left", left), 2, "leave out")
    assert_fails(call(*home, "align", "--right", left), 2, "--left")
    assert_fails(call(*home, "align", "--left", left, "--out", "found.txt"), 2, ".csv")
    assert_fails(call(*home, "align", "--model", "none"), 2, "align-1")
    call("--home", "empty", "init")
    assert_fails(call("--home", "empty", "align"), 2, "finetune align")


def test_matches_are_written_reviewed_and_taken_back(
    call: Call, folder: Path, tmp_path: Path
) -> None:
    home = ("--home", tmp_path / "copy")
    shutil.copytree(folder / "home", tmp_path / "copy")
    before = call(*home, "verify", "--json").json
    asked = ("align", "--pairs", folder / "valid.csv", "--target-precision", "0.8", "--write")
    result = call(*home, *asked, "--json")
    matches = [each for each in result.json if each["decision"] == "match"]
    assert len(matches) >= 5
    assert f"{len(matches):,} matches written" in result.err
    first = matches[0]
    (stated,) = (
        each
        for each in call(*home, "show", first["left"], "--json").json["statements"]
        if each["property"] == "same as"
    )
    assert (stated["value"], stated["rank"]) == (first["right"], "predicted")
    # A match that a person rejects is not written again, and what is accepted is asked of no model.
    assert call(*home, "review", "reject", first["left"], "same as").code == 0
    again = call(*home, *asked, "--json")
    assert "not written (rejected): 1" in again.err
    assert call(*home, "review", "accept", matches[1]["left"], "same as").code == 0
    (spec,) = (
        each
        for each in call(*home, "schema", "infer", "--json").json["properties"]
        if each["property"] == "same as"
    )
    assert spec["not_asked"] == "identifier"
    assert_fails(call(*home, "align", "--write", "--left", folder / "left.csv"), 2, "ingest")
    assert before["problems"] == call(*home, "verify", "--json").json["problems"] == []


def test_what_is_kept_of_the_catalogue_changes_no_pair(
    call: Call, folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder / "home", tmp_path / "copy")
    kept = tmp_path / "copy" / "alignment"
    shutil.rmtree(kept, ignore_errors=True)
    home = ("--home", tmp_path / "copy", "align", "--json", "--min-probability", "0")
    left, _ = made_records(8, seed=5)
    write_items(tmp_path / "new.csv", left)
    for words in (("--left", "new.csv"), ("--pairs", folder / "valid.csv"), ()):
        first = call(*home, *words)
        assert "100 of 100 items are indexed anew" in first.err
        again = call(*home, *words)
        assert "indexed" not in again.err
        assert again.json == first.json
        shutil.rmtree(kept)
    # Two files are no items of the catalogue.
    call(*home, "--left", folder / "left.csv", "--right", folder / "right.csv")
    assert not kept.exists()


def test_only_new_and_changed_items_are_compared(call: Call, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "home", tmp_path / "copy")
    home = ("--home", tmp_path / "copy")
    align = (*home, "align", "--min-probability", "0", "--json")
    shutil.rmtree(tmp_path / "copy" / "alignment", ignore_errors=True)
    assert_fails(call(*home, "align", "--new"), 2, "once without --new")
    assert call(*align, "--left", folder / "left.csv").code == 0
    assert_fails(call(*home, "align", "--new"), 2, "once without --new")
    # What is written and accepted of the pairs themselves makes no item a new one.
    written = call(*align, "--write", "--target-precision", "0.8").json
    accepted = next(each for each in written if each["decision"] == "match")
    assert call(*home, "review", "accept", accepted["left"], "same as").code == 0
    nothing = call(*align, "--new")
    assert nothing.json == []
    assert "0 of 100 items are new or have changed since the last alignment, 20" in nothing.err

    (changed, *_), _ = made_records(ITEMS)
    added = [replace(changed, id="N1"), replace(changed, title="velmora lamp ve123x")]
    write_items(tmp_path / "more.csv", added)
    assert call(*home, "ingest", "more.csv", "--source", "items.csv").code == 0
    shutil.copytree(tmp_path / "copy", tmp_path / "whole")
    new = call(*align, "--new")
    assert "2 of 101 items are new or have changed" in new.err
    every = call("--home", tmp_path / "whole", *align[2:]).json
    ours = {"N1", changed.id}
    assert new.json == [each for each in every if ours & {each["left"], each["right"]}]
    assert len(new.json) < len(every) / 5
    models = tmp_path / "copy" / "models"
    shutil.copytree(models / "align-1", models / "other")
    by_other = call(*align, "--new", "--model", "other")
    assert by_other.json == []
    assert "compared with each other by the model align-1" in by_other.err
    assert_fails(call(*home, "align", "--new", "--left", "more.csv"), 2, "--new", "leave out")
    assert_fails(call(*home, "align", "--new", "--pairs", "more.csv"), 2, "--new", "leave out")
