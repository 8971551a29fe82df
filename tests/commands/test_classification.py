"""Categories: learned by train, added by finetune classify, completed, written and evaluated."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from cli import main
from tests.commands.conftest import Call, assert_fails

PATHS = {
    "mug": "Home > Kitchen > Mugs",
    "plate": "Home > Kitchen > Plates",
    "lamp": "Home > Light > Lamps",
    "chair": "Furniture > Seats > Chairs",
}
MISSING = [str(number) for number in range(100, 112)]


def draw_tree(folder: Path) -> Path:
    """Write a table of 112 items whose titles name the kind, of which the last 12 lack a category.

    Their kind is a property of some, and restates the last level of the category.
    """
    folder.mkdir()
    with (folder / "items.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "title", "category", "colour", "kind"])
        kinds = list(PATHS)
        for number in range(112):
            kind = kinds[number % 4]
            category = "" if number >= 100 else PATHS[kind]
            stated = PATHS[kind].split(" > ")[-1] if number % 2 and number < 100 else ""
            colour = ("red", "blue", "green")[number % 3]
            rows.writerow([number, f"{kind} number {number}", category, colour, stated])
    return folder / "items.csv"


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with experts and a classifier."""
    folder = tmp_path_factory.mktemp("classified")
    home = str(folder / "home")
    assert main(["--home", home, "ingest", str(draw_tree(folder / "shop"))]) == 0
    assert main(["--home", home, "train", "--preset", "experts", "--name", "tree"]) == 0
    return Path(home)


@pytest.fixture
def run(call: Call, fitted: Path) -> Call:
    """Call a command in the home, changing nothing in it."""
    return lambda *args: call("--home", fitted, *args)


@pytest.fixture
def copied(call: Call, fitted: Path, tmp_path: Path) -> Call:
    """Call a command in a copy of the home."""
    home = tmp_path / "copied"
    shutil.copytree(fitted, home)
    return lambda *args: call("--home", home, *args)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_missing_categories_are_proposed(run: Call, tmp_path: Path) -> None:
    counts = run("complete", "--property", "category", "--out", "filled.jsonl", "--json").json
    found = lines(tmp_path / "filled.jsonl")
    assert counts["cells"] == len(found) == len(MISSING)
    kinds = list(PATHS)
    for each in found:
        assert each["property"] == "category"
        assert each["candidates"][0]["value"] == PATHS[kinds[int(each["item"]) % 4]]
        assert each["evidence"]["title"] > 0


def test_plain_complete_asks_for_categories_too(run: Call, tmp_path: Path) -> None:
    run("complete", "--item", "100", "--out", "filled.jsonl", "--json")
    assert {each["property"] for each in lines(tmp_path / "filled.jsonl")} >= {"category"}
    refused = run("complete", "--item", "0", "--property", "category", "--json").json["refused"]
    assert refused == [{"item": "0", "property": "category", "reason": "has_value"}]


def test_cells_name_categories(run: Call, tmp_path: Path) -> None:
    (tmp_path / "cells.csv").write_text("item,property\n0,category\n0,colour\n")
    run("complete", "--cells", "cells.csv", "--out", "filled.jsonl")
    assert [each["property"] for each in lines(tmp_path / "filled.jsonl")] == ["category", "colour"]


def test_without_a_classifier_categories_are_refused_until_one_is_added(copied: Call) -> None:
    assert copied("train", "--preset", "experts", "--name", "again", "--json").json["classifier"]
    folder = Path(copied("model", "show", "again", "--json").json["path"])
    for each in folder.glob("classifier.*"):
        each.unlink()
    manifest = json.loads((folder / "manifest.json").read_text())
    digests = {k: v for k, v in manifest["sha256"].items() if not k.startswith("classifier.")}
    (folder / "manifest.json").write_text(json.dumps({"sha256": digests}))
    refused = copied("complete", "--model", "again", "--property", "category")
    assert_fails(refused, 2, "finetune", "classify")
    document = copied("finetune", "classify", "--model", "again", "--json").json
    assert (document["categories"], document["items"]) == (4, 100)
    counts = copied("complete", "--model", "again", "--property", "category", "--json").json
    assert counts["cells"] == len(MISSING)


def category(run: Call, item: str) -> Any:
    return run("show", item, "--json").json["category"]


def content(run: Call) -> Any:
    return run("copy", "--to", "memory:", "--json").json["content_hash"]


def test_written_categories_are_shown_exported_reviewed_and_taken_back(
    copied: Call, tmp_path: Path
) -> None:
    before = content(copied)
    options = ("--property", "category", "--target-precision", "0.9", "--json")
    counts = copied("complete", *options, "--write").json
    assert counts["written"] == counts["fill"] == len(MISSING)
    assert category(copied, "100") == PATHS["mug"]
    assert copied("complete", *options).json["cells"] == 0
    # The next run asks what applies to the new category.
    assert copied("complete", "--item", "100", "--property", "kind", "--json").json["cells"] == 1
    assert copied("verify", "--json").json["ok"]

    copied("export", "--format", "source", "--predicted", "filled.csv")
    with (tmp_path / "filled.csv").open(newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    kinds = list(PATHS)
    assert {rows[item]["category"] for item in MISSING} == set(PATHS.values())
    assert all(rows[item]["category"] == PATHS[kinds[int(item) % 4]] for item in MISSING)

    proposals = copied("review", "list", "--json").json["proposals"]
    of_item = {each["item"]: str(each["id"]) for each in proposals}
    copied("review", "reject", of_item["100"], "--by", "mo")
    copied("review", "accept", of_item["101"], "--by", "mo")
    copied("review", "edit", of_item["102"], "--value", "Home > Light > Candles", "--by", "mo")
    assert category(copied, "100") is None
    assert category(copied, "101") == PATHS["plate"]
    assert category(copied, "102") == "Home > Light > Candles"
    copied("complete", *options, "--item", "100", "--out", "again.jsonl")
    (again,) = lines(tmp_path / "again.jsonl")
    assert PATHS["mug"] not in {each["value"] for each in again["candidates"]}
    assert again["decision"] == "abstain"

    copied("undo", counts["run"])
    assert category(copied, "103") is None
    assert category(copied, "101") == PATHS["plate"]
    for each in reversed(copied("history", "--json").json[2:-1]):
        copied("undo", each["run"])
    assert content(copied) == before


def test_a_table_gets_levels_in_columns_of_their_own(call: Call, tmp_path: Path) -> None:
    lines_of = ["id,title,Category 1,Category 2,colour"]
    for number in range(60):
        kind = ("mug", "lamp")[number % 2]
        path = {"mug": "Home,Mugs", "lamp": "Home,Lamps"}[kind] if number < 50 else ","
        lines_of.append(f"{number},{kind} number {number},{path},red")
    (tmp_path / "levels.csv").write_text("\n".join(lines_of) + "\n")
    assert call("ingest", "levels.csv").code == 0
    call("train", "--preset", "experts", "--name", "m")
    options = ("--property", "category", "--target-precision", "0.8")
    assert call("complete", *options, "--out", "out.csv").code == 0
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["Category 1"], row["Category 2"]) for row in rows[50:]} == {
        ("Home", "Mugs"),
        ("Home", "Lamps"),
    }


def test_classification_is_evaluated_without_what_it_has_learned(run: Call) -> None:
    result = run("evaluate", "classification", "--against", "most-frequent", "--part", "validation")
    assert "fitted again without them" in result.err
    assert "restate the category: kind" in result.out
    document = run("evaluate", "classification", "--known", "all", "--json").json
    assert document["restating"] == ["kind"]
    assert document["metrics"]["top-1"]["value"] == 1
    reports = run("evaluate", "classification", "--all", "--against", "classical", "--json").json
    assert len(reports) == 11
    assert set(reports[0]["against"][0]["difference"]) >= {"top-1", "macro-F1", "level 1"}


def test_nothing_is_learned_of_a_single_category(call: Call, tmp_path: Path) -> None:
    rows = ["id,title,category,colour"]
    rows += [f"{n},thing {n},Things,{('red', 'blue')[n % 2]}" for n in range(30)]
    (tmp_path / "items.csv").write_text("\n".join(rows) + "\n")
    call("ingest", "items.csv")
    trained = call("train", "--preset", "experts", "--name", "m", "--json")
    assert "categories are not learned: all items have the same category" in trained.err
    assert "classifier" not in trained.json
    assert_fails(call("finetune", "classify"), 1, "the same category")
    assert_fails(call("evaluate", "classification"), 2, "has no classifier")
