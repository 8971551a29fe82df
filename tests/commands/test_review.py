"""The commands of review on a small catalogue; complete with its run, resumed and taken back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from cli import main
from experts.ensemble import ExpertEnsemble
from kg.home import Home
from kg.ingest.run_id import new_run_id
from kg.stores.history import undo
from kg.stores.tables import items_table
from schema.proposals import NewProposal, ProposedDecision, ProposedValue
from schema.terms import Item
from serving.completion import complete_cells
from serving.review.session import open_review
from tests.commands.conftest import Call, assert_fails
from tests.commands.drawn_catalogue import draw_catalogue

PAST = "2000-01-01T00:00:00+00:00"


def propose(home: Path | str, apply: bool = True) -> str:
    """Propose materials and colours for the items that have none; return the run."""
    new = [
        NewProposal(
            item,
            property,
            (value,),
            probability,
            (ProposedValue(value, probability), ProposedValue("glass", 0.01)),
            ProposedDecision.FILL,
            model="m",
            due=PAST,
        )
        for item, property, value, probability in (
            ("2", "material", "clay", 0.9),
            ("4", "colour", "brown", 0.6),
        )
    ]
    with open_review(Home.open(home)) as review:
        run = review.begin()
        review.add(run, new, apply=apply)
        review.end(run)
    return run.id


@pytest.fixture
def proposed(ingested: Call) -> Call:
    """Call a command in a home with two applied proposals."""
    propose("catalog")
    return ingested


def listed(call: Call, *words: str) -> list[tuple[Any, ...]]:
    document = call("review", "list", *words, "--json").json
    assert document["count"] >= len(document["proposals"])
    return [(each["item"], *each["values"], each["state"]) for each in document["proposals"]]


def test_the_uncertain_are_listed_first(proposed: Call) -> None:
    assert listed(proposed) == [("4", "brown", "applied"), ("2", "clay", "applied")]
    assert listed(proposed, "--order", "probability")[0][0] == "2"
    assert listed(proposed, "--min-probability", "0.7") == [("2", "clay", "applied")]
    assert listed(proposed, "--state", "accepted") == []
    assert "2 of 2 proposals" in proposed("review", "list").out


def test_accept_by_name_and_take_it_back(proposed: Call) -> None:
    before = proposed("show", "2", "--json").json
    done = proposed("review", "accept", "2", "material", "--by", "mo", "--json").json
    assert (done["accepted"], done["expired"]) == (1, 0)
    (statement,) = [
        each
        for each in proposed("show", "2", "--json").json["statements"]
        if each["property"] == "material"
    ]
    assert statement["rank"] == "accepted"
    shown = proposed("review", "show", "2", "material", "--json").json
    assert [(each["after"], each["reviewer"]) for each in shown["history"]] == [
        ("applied", None),
        ("accepted", "mo"),
    ]
    assert shown["title"] == "Blue mug"
    assert shown["stored"][0]["rank"] == "accepted"
    undone = proposed("undo", done["run"], "--json").json
    assert undone["proposals"] == 1
    assert proposed("show", "2", "--json").json == before


def test_a_decision_about_what_is_decided_is_refused(proposed: Call) -> None:
    number = proposed("review", "show", "2", "material", "--json").json["id"]
    assert proposed("review", "reject", number, "--by", "mo").code == 0
    assert_fails(proposed("review", "accept", number), 1, f"proposal {number}", "rejected by mo")


def test_an_edit_teaches_the_ontology_the_right_value(proposed: Call) -> None:
    words = ("review", "edit", "--item", "4", "--property", "colour", "--value", "umber")
    assert proposed(*words, "--json").json["edited"] == 1
    assert "umber" in proposed("schema", "show", "colour").out
    assert_fails(proposed("review", "edit", "4", "colour", "--value", "x"), 1, "edited")


def test_many_are_decided_only_with_yes(proposed: Call) -> None:
    assert_fails(proposed("review", "reject", "--model", "m"), 2, "2 proposals", "--yes")
    assert proposed("review", "reject", "--model", "m", "--yes", "--json").json["rejected"] == 2
    assert listed(proposed) == []
    assert proposed("review", "stats", "--json").json["by_model"]["m"]["right"] == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("review", "accept"), "name a proposal"),
        (("review", "accept", "99"), "no proposal 99"),
        (("review", "accept", "1", "--item", "2"), "already names"),
        (("review", "show", "9", "colour"), "no proposal 9 colour"),
        (("review", "stats", "--since", "tomorrow"), "is no time"),
    ],
)
def test_what_is_not_there_is_told_in_one_line(
    proposed: Call, words: tuple[str, ...], told: str
) -> None:
    assert_fails(proposed(*words), 2, told)


def test_skip_and_apply(ingested: Call) -> None:
    run = propose("catalog", apply=False)
    assert ingested("review", "skip", "4", "colour", "--json").json["skipped"] == 1
    assert [each[0] for each in listed(ingested)] == ["2", "4"]
    assert ingested("review", "apply", "--run", run, "--json").json["applied"] == 2
    assert {each[2] for each in listed(ingested)} == {"applied"}


def test_an_ingest_lets_proposals_expire_and_its_undo_brings_them_back(
    proposed: Call, tmp_path: Path
) -> None:
    (tmp_path / "erp.csv").write_text("id,colour\n4,green\n")
    result = proposed("ingest", "erp.csv")
    assert "1 proposals have expired" in result.err
    assert listed(proposed, "--state", "expired") == [("4", "brown", "expired")]
    run = proposed("history", "--json").json[-1]["run"]
    proposed("undo", run)
    assert len(listed(proposed)) == 2


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with experts as its only model."""
    folder = tmp_path_factory.mktemp("fitted")
    home = str(folder / "home")
    assert main(["--home", home, "ingest", str(draw_catalogue(folder, 60))]) == 0
    assert main(["--home", home, "train", "--preset", "experts"]) == 0
    return Path(home)


@pytest.fixture
def run(call: Call, fitted: Path, tmp_path: Path) -> Call:
    """Call a command in a copy of the home with the experts."""
    shutil.copytree(fitted, tmp_path / "copy")
    return lambda *args: call("--home", tmp_path / "copy", *args)


COMPLETE = ("complete", "--target-precision", "0.5", "--write")


def test_complete_tells_its_run_which_is_taken_back(run: Call) -> None:
    before = run("stats", "--json").json
    written = run(*COMPLETE, "--json").json
    assert written["written"] == written["proposed"] == written["fill"] > 0
    rows = run("review", "list", "--run", written["run"], "--limit", "100", "--json").json
    assert {each["state"] for each in rows["proposals"]} == {"applied"}
    again = run(*COMPLETE, "--json").json
    assert again["run"] != written["run"]
    assert run("undo", again["run"], "--json").json["proposals"] == 2 * written["written"]
    run("undo", written["run"])
    assert run("stats", "--json").json == before


def test_what_a_person_rejected_is_not_filled_again(run: Call) -> None:
    run(*COMPLETE)
    (first, *_) = run("review", "list", "--json").json["proposals"]
    run("review", "reject", first["id"])
    run(*COMPLETE, "--out", "again.jsonl")
    shown = run("review", "list", "--item", first["item"], "--json").json["proposals"]
    assert first["values"] not in [each["values"] for each in shown]


@pytest.mark.parametrize("write", [(), ("--write",)])
def test_an_interrupted_run_goes_on_where_it_was(
    run: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: tuple[str, ...]
) -> None:
    words = ("complete", "--target-precision", "0.5", *write)
    whole = run(*words, "--out", "whole.jsonl", "--json").json
    run("undo", whole["run"])
    asked: list[int] = []

    def interrupted(scorer: Any, items: Any, cells: Any, *args: Any, **options: Any) -> Any:
        asked.append(len(cells))
        for number, each in enumerate(complete_cells(scorer, items, cells, *args, **options)):
            if len(asked) == 1 and number == 5:
                raise KeyboardInterrupt
            yield each

    monkeypatch.setattr("serving.home_completion.complete_cells", interrupted)
    stopped = run(*words, "--out", "parts.jsonl")
    assert stopped.code == 130
    assert "--resume" in stopped.err
    assert not (tmp_path / "parts.jsonl").exists()
    kept = len(listed(run, "--limit", "100"))
    assert 0 < kept < whole["fill"]
    rest = run("complete", "--resume", "--json").json
    assert 0 < asked[1] < asked[0]
    assert (rest["cells"], rest["fill"]) == (whole["cells"], whole["fill"])
    lines = [(tmp_path / name).read_text().splitlines() for name in ("whole.jsonl", "parts.jsonl")]
    assert list(map(json.loads, lines[0])) == list(map(json.loads, lines[1]))
    assert len(listed(run, "--limit", "100")) == whole["fill"]
    assert_fails(run("complete", "--resume"), 2, "no run", "--resume")
    assert_fails(run("complete", "--resume", "--top-k", "3"), 2, "leave out others")


def test_a_delay_keeps_filled_cells_out_of_the_graph(run: Call, tmp_path: Path) -> None:
    with (tmp_path / "copy" / "ontology.toml").open("a") as file:
        file.write('\n[decisions.property.colour]\napply = "by a person"\n')
    result = run(*COMPLETE, "--json").json
    assert result["fill"] == result["proposed"] > 0
    assert result["written"] == 0
    assert run("review", "apply", "--json").json["applied"] == 0


def test_a_drift_is_told_and_fills_less(run: Call) -> None:
    whole = run(*COMPLETE, "--json").json
    run("review", "reject", "--property", "colour", "--yes")
    result = run("complete", "--target-precision", "0.5", "--json")
    assert "colour: 0 of" in result.err
    assert result.json["fill"] < whole["fill"]


def test_what_had_to_wait_is_told_when_it_is_due(
    run: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "copy" / "ontology.toml").open("a") as file:
        file.write('\n[decisions]\napply = "after 7 days"\n')
    made = run(*COMPLETE, "--json")
    count = made.json["proposed"]
    assert "are due" not in made.err
    applied = run("review", "apply", "--json").json
    assert (applied["applied"], applied["due"], applied["waiting"]) == (0, 0, count)
    assert applied["next_due"] > "2020"
    for module in ("schema.ledger_proposals", "serving.review.session"):
        monkeypatch.setattr(f"{module}.now", lambda: "2999-01-01T00:00:00+00:00")
    told = run("review", "list", "--json")
    assert (told.json["due"], told.json["waiting"]) == (count, 0)
    assert f"{count} proposals are due: `catalograph review apply`" in told.err
    assert run("review", "apply", "--json").json["applied"] == count
    assert "are due" not in run("review", "list").err


def test_proposals_are_about_one_store(proposed: Call, tmp_path: Path) -> None:
    assert proposed("copy", "--to", "ladybug:other").code == 0
    other = ("--store", "ladybug:other")
    run = proposed("review", "list", "--json").json["proposals"][0]["run"]
    for words in (
        ("review", "accept", "2", "material"),
        ("review", "apply"),
        ("review", "show", "2", "material"),
        ("review", "export", "some.csv"),
        ("undo", run),
    ):
        assert_fails(proposed(*other, *words), 2, "catalog/graph", "ladybug:", "leave out --store")
    # What sources say to the other store is nothing to them.
    (tmp_path / "erp.csv").write_text("id,colour\n4,green\n")
    assert proposed(*other, "ingest", "erp.csv").code == 0
    run = proposed(*other, "history", "--json").json[-1]["run"]
    assert proposed(*other, "undo", run).code == 0
    assert listed(proposed) == [("4", "brown", "applied"), ("2", "clay", "applied")]


def test_proposals_follow_a_home_to_another_store_that_says_the_same(
    proposed: Call, tmp_path: Path
) -> None:
    assert proposed("copy", "--to", "ladybug:other").code == 0
    assert proposed("--store", "ladybug:empty", "init").code == 0
    refused = proposed("review", "accept", "2", "material")
    assert_fails(refused, 2, "does not say the same", "catalograph copy --from", "init")
    assert proposed("--store", "ladybug:other", "init").code == 0
    assert proposed("review", "accept", "2", "material").code == 0
    (tmp_path / "catalog").rename(tmp_path / "moved")
    assert proposed("--home", "moved", "review", "accept", "4", "colour").code == 0
    first = ("--store", f"ladybug:{tmp_path / 'moved' / 'graph'}", "review", "apply")
    assert_fails(proposed("--home", "moved", *first), 2, "leave out --store")


def test_nothing_is_proposed_for_another_store(run: Call) -> None:
    propose("copy")
    before = listed(run)
    assert run("copy", "--to", "ladybug:other").code == 0
    other = ("--store", "ladybug:other", "complete", "--target-precision", "0.5")
    assert_fails(run(*other, "--write"), 2, "leave out --store")
    result = run(*other, "--json")
    assert (result.code, result.json["proposed"]) == (0, 0)
    assert "no proposals are kept: the proposals of this home are about" in result.err
    assert listed(run) == before


def test_verify_compares_proposals_with_the_graph(proposed: Call) -> None:
    assert proposed("verify").code == 0
    home = Home.open("catalog")
    with home.store() as store:
        undo(store, proposed("review", "list", "--json").json["proposals"][0]["run"], new_run_id())
    result = proposed("verify", "--json")
    assert result.code == 1
    assert [each.split(": ")[0] for each in result.json["problems"]] == [
        "2, material, clay",
        "4, colour, brown",
    ]
    assert "the graph says nothing, the ledger predicted" in result.json["problems"][0]
    assert proposed("verify", "--quick").code == 0


def test_images_behind_the_fifth_are_told_not_to_be_read(
    run: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As where it has learned from descriptions.
    monkeypatch.setattr(ExpertEnsemble, "reads_details", True)
    with Home.open("copy").store() as store:
        images = {"five": 5, "six": 6, "seven": 7}
        put = [
            Item(id, "A mug", images=tuple(f"/{n}.png" for n in range(count)))
            for id, count in images.items()
        ]
        store.put(items_table(put), None, run="more")
    asked = [word for id in images for word in ("--item", id)]
    result = run("complete", *asked)
    assert result.code == 0
    assert "2 items have more than 5 images: the first ones are read" in result.err
    assert "more than 5" not in run("complete", "--item", "five").err
