"""What goes wrong is one line with the mend, and the right exit code; never a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

import commands.store
from tests.commands.conftest import Call, Said


def fails(said: Said, code: int, *words: str) -> None:
    """It failed with this code and one line that has the words."""
    assert said.code == code
    lines = said.err.splitlines()
    assert lines
    assert lines[-1].startswith("error: ")
    assert "Traceback" not in said.err
    assert all(word in lines[-1] for word in words), lines[-1]


def test_a_source_that_is_not_there(call: Call, tmp_path: Path) -> None:
    fails(call("ingest", "nowhere.csv"), 2, "nowhere.csv")
    assert not (tmp_path / "catalog").exists()


def test_an_unknown_mapping(call: Call, table: Path, tmp_path: Path) -> None:
    fails(call("ingest", table, "--mapping", "nosuch"), 2, "nosuch", "generic")
    assert not (tmp_path / "catalog").exists()


def test_an_empty_source(call: Call, tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("")
    fails(call("ingest", "empty.csv"), 1, "empty.csv")


def test_a_image_folder_that_is_not_there(call: Call, table: Path) -> None:
    fails(call("ingest", table, "--images", "nowhere"), 2, "nowhere", "--images")


def test_a_limit_that_is_none(call: Call, table: Path) -> None:
    fails(call("ingest", table, "--max-rejects", "lots"), 2, "lots", "1%")


@pytest.mark.parametrize(
    "command",
    [
        ["stats"],
        ["show", "1"],
        ["schema"],
        ["rejects"],
        ["cypher", "RETURN 1"],
        ["verify"],
        ["train"],
        ["complete"],
        ["runs"],
    ],
    ids=lambda command: command[0],
)
def test_a_home_that_was_never_made(call: Call, command: list[str], tmp_path: Path) -> None:
    fails(call("--home", "nohome", *command), 2, "nohome", "init")
    assert not (tmp_path / "nohome").exists()


@pytest.mark.parametrize(
    "command",
    [["schema"], ["schema", "infer"], ["train", "--size", "tiny"], ["show", "1"]],
    ids=" ".join,
)
def test_a_home_without_anything(call: Call, command: list[str]) -> None:
    call("init")
    said = call(*command)
    fails(said, said.code or 9, "ingest")


def test_an_item_that_is_not_there(shop: Call) -> None:
    fails(shop("show", "77"), 2, "'77'", "4")


def test_a_property_that_is_not_there(shop: Call) -> None:
    fails(shop("schema", "show", "size"), 2, "'size'", "colour")


def test_no_model_yet(shop: Call) -> None:
    fails(shop("complete"), 2, "train")
    fails(shop("model", "show"), 2, "train")


def test_a_model_that_is_not_there(shop: Call) -> None:
    fails(shop("complete", "--model", "nosuch"), 2, "nosuch", "train")


def test_a_damaged_model_folder(shop: Call, tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "manifest.json").write_text('{"sha256": {"config.json": "00"}}')
    fails(shop("complete", "--model", folder), 1, "config.json", "missing")
    (folder / "config.json").write_text("{}")
    fails(shop("complete", "--model", folder), 1, "config.json", "damaged")


def test_a_target_precision_out_of_range(shop: Call) -> None:
    fails(shop("complete", "--target-precision", "99"), 2, "99", "0.99")


def test_cells_and_items_together(shop: Call, tmp_path: Path) -> None:
    fails(shop("complete", "--cells", "cells.csv", "--item", "1"), 2, "--cells", "--item")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("id,prop\n1,colour\n", "item,property"),
        ("item,property\n1,\n", "line 2"),
        ("", "item,property"),
    ],
)
def test_a_cells_file_that_is_none(shop: Call, tmp_path: Path, text: str, word: str) -> None:
    (tmp_path / "cells.csv").write_text(text)
    fails(shop("complete", "--cells", "cells.csv"), 2, "cells.csv", word)


def test_a_cells_file_that_is_not_there(shop: Call) -> None:
    fails(shop("complete", "--cells", "nowhere.csv"), 2, "nowhere.csv")


def test_a_parameter_without_a_value(shop: Call) -> None:
    fails(shop("cypher", "RETURN $a", "--param", "a"), 2, "'a'", "k=text")
    fails(shop("cypher", "RETURN $a", "--param", "a:=x"), 2, "JSON")


def test_an_unknown_store(call: Call, table: Path) -> None:
    fails(call("--store", "mongo:x", "ingest", table), 2, "mongo:x", "ladybug")


def test_an_unknown_option_and_command(call: Call) -> None:
    fails(call("stats", "--nope"), 2, "--nope", "stats --help")
    fails(call("nope"), 2, "nope")


def test_a_model_name_that_leaves_the_home(shop: Call) -> None:
    fails(shop("train", "--name", "../x"), 2, "../x")


def test_a_setting_that_is_not_there(shop: Call) -> None:
    fails(shop("train", "--size", "tiny", "--set", "speed=9"), 2, "speed")
    fails(shop("train", "--size", "huge"), 2, "huge")


def test_a_report_without_its_completions(shop: Call) -> None:
    fails(shop("report", "page.html", "--completions", "nowhere.jsonl"), 2, "nowhere.jsonl")


def test_a_plot_without_runs(shop: Call) -> None:
    fails(shop("runs", "--plot", "runs.txt"), 2, ".png")
    fails(shop("runs", "--plot", "runs.png"), 1, "train")


def test_a_fault_of_our_own_is_one_line_with_a_hint(
    shop: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kg.stats.read_stats", lambda store: 1 / 0)
    said = shop("stats")
    fails(said, 1, "ZeroDivisionError", "-v shows the traceback")
    assert len(said.err.splitlines()) == 1


def test_v_shows_the_traceback(shop: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kg.stats.read_stats", lambda store: 1 / 0)
    said = shop("stats", "-v")
    assert "Traceback" in said.err
    assert said.err.splitlines()[-1].startswith("error: ")


def test_ctrl_c_is_130(shop: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(store: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("kg.stats.read_stats", interrupt)
    fails(shop("stats"), 130, "interrupted")


def test_a_refusal_of_the_system_names_the_file(
    shop: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(store: object) -> None:
        raise PermissionError(13, "Permission denied", "/etc/secret")

    monkeypatch.setattr("kg.stats.read_stats", refuse)
    fails(shop("stats"), 1, "/etc/secret", "Permission denied")


def test_what_is_no_number_is_null_in_json(shop: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands.store, "_param", lambda text: ("x", float("nan")))
    assert shop("cypher", "RETURN $x AS x", "--param", "x=1", "--json").json["rows"] == [[None]]
