"""history, undo, delete, sources, and looking back with --as-of."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from commands.base import DEFAULT_HOME
from kg.home import Home
from kg.home_ontology import is_current
from tests.commands.conftest import Call, assert_fails

FIRST = "sku,title,price,colour\nU1,Cup,9.90,Blue\nU2,Can,4.50,Red\n"
SECOND = "sku,title,price,colour\nU1,Mug,8.90,\n"


@pytest.fixture
def updated(call: Call, tmp_path: Path) -> Call:
    """A catalogue that was loaded from one source twice."""
    for text, options in ((FIRST, ()), (SECOND, ("--sync", "--max-retired", "50%"))):
        (tmp_path / "nightly.csv").write_text(text)
        assert call("ingest", "nightly.csv", *options).code == 0
    return call


def runs(call: Call) -> list[str]:
    return [each["run"] for each in call("history", "--json").json]


def price(call: Call, *options: str) -> str:
    statements = call("show", "U1", *options, "--json").json["statements"]
    (value,) = [each["value"] for each in statements if each["property"] == "price"]
    return value


def test_runs_and_changes_are_listed(updated: Call) -> None:
    first, second = updated("history", "--json").json
    assert (first["items"], first["statements"]) == (2, 4)
    assert (second["retracted"], second["deleted"]) == (4, 1)
    changes = updated("history", "U1", "--json").json
    assert [(each["what"], each["before"], each["after"]) for each in changes[3:]] == [
        ("title", "Cup", "Mug"),
        ("colour", "Blue", None),
        ("price", "9.90", "8.90"),
    ]
    assert {each["source"] for each in changes} == {"nightly.csv"}
    assert "9.90" in updated("history", "U1").out
    # What is gone has a history as well.
    assert updated("history", "U2", "--json").json[-1]["after"] is None
    assert_fails(updated("history", "U9"), 2, "no item 'U9'")


def test_an_item_is_shown_as_it_was(updated: Call) -> None:
    first, second = runs(updated)
    assert (price(updated, "--as-of", first), price(updated)) == ("9.90", "8.90")
    assert price(updated, "--as-of", second) == "8.90"
    assert updated("show", "U2", "--as-of", first, "--json").json["title"] == "Can"
    assert_fails(updated("show", "U2", "--as-of", second), 2, "history U2")
    assert_fails(updated("show", "U1", "--as-of", "yesterday"), 2, "catalograph history")
    assert_fails(updated("show", "U1", "--as-of", "1999-12-31"), 2, "nothing as of")


def test_the_graph_is_exported_as_it_was(updated: Call, tmp_path: Path) -> None:
    first, _ = runs(updated)
    assert updated("export", "--format", "csv", "--as-of", first, "then").code == 0
    with (tmp_path / "then" / "items.csv").open(newline="") as stream:
        assert [row["title"] for row in csv.DictReader(stream)] == ["Cup", "Can"]


def test_a_run_is_undone_and_its_undoing_as_well(updated: Call) -> None:
    _, second = runs(updated)
    undone = updated("undo", second, "--json").json
    assert undone["items"] == {"new": 1, "changed": 1, "deleted": 0}
    assert price(updated) == "9.90"
    assert updated("show", "U2").code == 0
    assert updated("undo", undone["run"]).code == 0
    assert price(updated) == "8.90"
    assert_fails(updated("undo", "nobody"), 2, "no run 'nobody'")


def test_a_deleted_item_comes_back_when_that_is_undone(updated: Call) -> None:
    deleted = updated("delete", "U1", "--json").json
    assert deleted["items"]["deleted"] == 1
    assert updated("show", "U1").code == 2
    assert_fails(updated("delete", "U1"), 2, "nothing was deleted")
    assert updated("undo", deleted["run"]).code == 0
    assert price(updated) == "8.90"


def test_the_order_of_sources_decides_what_is_shown(updated: Call, tmp_path: Path) -> None:
    (tmp_path / "supplier.csv").write_text("sku,title\nU1,CUP 30 CL\n")
    assert "another title" in updated("ingest", "supplier.csv").err
    shown = updated("show", "U1", "--json").json
    assert (shown["title"], shown["source"]) == ("CUP 30 CL", "supplier.csv")
    assert [each["title"] for each in shown["references"]] == ["Mug", "CUP 30 CL"]
    listed = updated("sources", "--order", "nightly.csv", "--json").json
    assert listed["order"] == ["nightly.csv"]
    assert {each["source"] for each in listed["sources"]} == {"nightly.csv", "supplier.csv"}
    assert updated("show", "U1", "--json").json["title"] == "Mug"
    assert_fails(updated("sources", "--order", "nobody"), 2, "no source 'nobody'")


def test_too_many_items_gone_are_refused(call: Call, tmp_path: Path) -> None:
    rows = [f"U{number},Cup\n" for number in range(10)]
    (tmp_path / "nightly.csv").write_text("sku,title\n" + "".join(rows))
    assert call("ingest", "nightly.csv").code == 0
    (tmp_path / "nightly.csv").write_text("sku,title\n" + "".join(rows[:5]))
    result = call("ingest", "nightly.csv", "--sync")
    assert_fails(result, 1, "5 of the 10 items")
    assert call("show", "U9").code == 0
    assert call("ingest", "nightly.csv", "--sync", "--max-retired", "5").code == 0
    assert call("show", "U9").code == 2
    assert_fails(call("ingest", "nightly.csv", "--max-retired", "x"), 2, "--max-retired x")


def test_a_deletion_that_was_cut_off_is_finished_when_it_is_called_again(updated: Call) -> None:
    with Home.open(DEFAULT_HOME).store() as store:
        store.delete(["U1"], run="cut off")
    assert_fails(updated("delete", "U1"), 2, "no item 'U1'")
    home = Home.open(DEFAULT_HOME)
    with home.store(read_only=True) as store:
        assert is_current(home, store)


def test_a_source_with_a_comma_in_its_name_is_ordered(updated: Call) -> None:
    assert updated("ingest", "nightly.csv", "--source", "prices, may").code == 0
    ordered = updated("sources", "--order", '"prices, may", nightly.csv', "--json")
    assert ordered.json["order"] == ["prices, may", "nightly.csv"]


def test_an_undone_undo_brings_back_the_file_that_was_read(call: Call, tmp_path: Path) -> None:
    texts = [FIRST, FIRST.replace("Blue", "Green"), FIRST.replace("Blue", "White")]
    made = []
    for text in texts:
        (tmp_path / "nightly.csv").write_text(text)
        made.append(call("ingest", "nightly.csv").code)
    assert made == [0, 0, 0]

    def written() -> str:
        assert call("export", "--format", "source", "out.csv").code == 0
        return (tmp_path / "out.csv").read_text()

    last = runs(call)[-1]
    assert written() == texts[2]
    undone = [last]
    for expected in (texts[1], texts[2], texts[1], texts[2]):
        assert call("undo", undone[-1]).code == 0
        undone.append(runs(call)[-1])
        assert written() == expected
