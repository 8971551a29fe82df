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
