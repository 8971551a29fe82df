"""audit: the first findings, the file, what is counted, and refusals."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from cli import main
from experts.folder import LEFT_OUT_FILE
from kg.home import Home
from schema.ledger_proposals import ProposalRecords
from schema.manifests import MANIFEST
from schema.proposals import NewProposal, ProposalOrigin, RunKind
from serving.audit.findings import Finding, Kind, Proposed
from serving.audit.proposing import KeptValues
from serving.review.session import open_review
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


@pytest.fixture
def wrong(call: Call, home: Path, tmp_path: Path) -> Path:
    """A home of its own, in which two sources differ and one states wrong colours."""
    copy = Path(shutil.copytree(home, tmp_path / "home"))
    for name, text in (
        ("other.csv", "id,colour,size\n12,,7\n16,,9\n"),
        ("wrong.csv", "id,colour,size\n4,yellow,\n8,yellow,\n12,,8\n"),
    ):
        (tmp_path / name).write_text(text)
        assert call("--home", copy, "ingest", tmp_path / name).code == 0
    return copy


def test_findings_are_proposed_decided_and_taken_back(call: Call, wrong: Path) -> None:
    before = call("--home", wrong, "show", "4", "--json").json
    done = call("--home", wrong, "audit", "--propose", "--json").json
    made = done["proposals"]
    assert made["added"] + sum(made["not_proposed"].values()) == done["findings"]
    assert call("--home", wrong, "show", "4", "--json").json == before

    def listed(origin: str) -> list[tuple[str, list[str], list[str]]]:
        document = call("--home", wrong, "review", "list", "--origin", origin, "--json").json
        return sorted(
            (each["item"], each["values"], each["replaces"]) for each in document["proposals"]
        )

    assert listed("conflict") == [("12", ["7"], ["8"])]
    assert listed("audit")[:2] == [("4", ["red"], ["yellow"]), ("8", ["red"], ["yellow"])]
    assert "yellow → red" in call("--home", wrong, "review", "list", "--origin", "audit").out
    assert "replaces: yellow" in call("--home", wrong, "review", "show", "4", "colour").out
    told = call("--home", wrong, "review", "accept", "--property", "colour")
    assert_fails(told, 2, "2 proposals (2 in the place of stored values)", "--yes")
    accepted = call("--home", wrong, "review", "accept", "4", "colour", "--json").json
    kept = call("--home", wrong, "review", "reject", "8", "colour", "--json").json
    assert (accepted["accepted"], kept["rejected"]) == (1, 1)
    found = call("--home", wrong, "show", "4", "--json").json["statements"]
    ranks = {each["value"]: each["rank"] for each in found if each["property"] == "colour"}
    assert ranks == {"red": "accepted", "yellow": "rejected"}
    # The source comes back with the right value in place of the wrong one.
    words = ("export", "--format", "source", "--source", "wrong.csv", "corrected.csv")
    assert call("--home", wrong, *words).code == 0
    text = Path("wrong.csv").read_text()
    assert Path("corrected.csv").read_text() == text.replace("4,yellow", "4,red")
    assert call("--home", wrong, "verify").code == 0
    assert call("--home", wrong, "review", "reject", "12", "size").code == 0
    again = call("--home", wrong, "audit", "--propose", "--json").json
    assert again["kinds"].get("conflict", 0) == 0
    assert again["kept"] == 1
    assert all(each["item"] not in ("4", "8") for each in again["first"])
    stats = call("--home", wrong, "review", "stats", "--json").json
    counts = {name: (each["decided"], each["right"]) for name, each in stats["by_origin"].items()}
    assert counts == {"audit": (2, 1), "conflict": (1, 0)}
    assert stats["by_property"] == {}
    one = call("--home", wrong, "review", "stats", "--origin", "audit", "--json").json
    assert one["by_property"]["colour"]["decided"] == 2
    assert call("--home", wrong, "undo", accepted["run"]).code == 0
    assert call("--home", wrong, "show", "4", "--json").json == before


@contextmanager
def home_records(path: Path) -> Iterator[ProposalRecords]:
    with Home.open(path).ledger() as ledger:
        yield ProposalRecords(ledger)


def test_a_value_that_a_person_keeps_is_not_found_again(call: Call, wrong: Path) -> None:
    with open_review(Home.open(wrong)) as review:
        run = review.begin(RunKind.AUDIT)
        finding = NewProposal(
            "1", "colour", ("blue",), 0.9, origin=ProposalOrigin.AUDIT, replaces=("green",)
        )
        assert review.add(run, [finding]).added == 1
        review.end(run)
    assert call("--home", wrong, "review", "reject", "1", "colour").code == 0
    with home_records(wrong) as records:
        kept = KeptValues(records, Home.open(wrong).ontology())
    found = Finding("1", "colour", "Green", 0.1, (Proposed("red", 0.9),), Kind.VALUE, 0.8)
    assert kept.has(found)
    assert not kept.has(replace(found, item="5"))
    assert not kept.has(replace(found, value="red"))


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
