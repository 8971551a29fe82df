"""audit: the first findings, the file, what is counted, and refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli import main
from experts.folder import LEFT_OUT_FILE
from schema.manifests import MANIFEST
from tests.commands.conftest import Call, assert_fails
from tests.commands.drawn_catalogue import draw_catalogue


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with experts, one of whose items has a wrong colour."""
    folder = tmp_path_factory.mktemp("audited")
    path = str(folder / "home")
    assert main(["--home", path, "ingest", str(draw_catalogue(folder))]) == 0
    assert main(["--home", path, "train", "--preset", "experts"]) == 0
    return Path(path)


def test_findings_are_printed_written_and_counted(call: Call, home: Path, tmp_path: Path) -> None:
    result = call("--home", home, "audit", "--out", "found.jsonl", "--json").json
    lines = [json.loads(line) for line in (tmp_path / "found.jsonl").read_text().splitlines()]
    assert result["findings"] == len(lines) == sum(result["kinds"].values())
    assert result["statements"] > 0
    assert result["not_looked_at"] == {}
    gains = [line["gain"] for line in lines if line["gain"] is not None]
    assert gains == sorted(gains, reverse=True)
    assert "looked at by the model" in call("--home", home, "audit").out


def test_findings_are_limited_and_restricted(call: Call, home: Path) -> None:
    every = call("--home", home, "audit", "--property", "colour", "--json").json
    assert all(each["property"] == "colour" for each in every["first"])
    limited = call("--home", home, "audit", "--limit", "1", "--json").json
    assert limited["findings"] <= 1
    item = call("--home", home, "audit", "--item", "1", "--json").json
    assert item["items"] == 1
    assert_fails(call("--home", home, "audit", "--property", "weight"), 2, "weight", "colour")
    assert_fails(call("--home", home, "audit", "--item", "none"), 2, "none")
    assert_fails(call("--home", home, "audit", "--out", "no/found.jsonl"), 2, "create it first")


def test_a_model_of_an_earlier_version_looks_at_no_item_that_it_knows(
    call: Call, home: Path
) -> None:
    folder = home / "models" / "experts-1"
    manifest = json.loads((folder / MANIFEST).read_text())
    whole = (folder / MANIFEST).read_text()
    del manifest["sha256"][LEFT_OUT_FILE]
    (folder / MANIFEST).write_text(json.dumps(manifest))
    result = call("--home", home, "audit", "--json")
    (folder / MANIFEST).write_text(whole)
    assert "earlier version" in result.err
    assert result.json["statements"] == 0
    assert result.json["not_looked_at"]["memorised"] > 0
