"""Every failure is one line that says how to fix it, with the right exit code and no traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

import commands.store
from tests.commands.conftest import Call, assert_fails


def test_missing_source(call: Call, tmp_path: Path) -> None:
    assert_fails(call("ingest", "nowhere.csv"), 2, "nowhere.csv")
    assert not (tmp_path / "catalog").exists()


def test_unknown_mapping(call: Call, table: Path, tmp_path: Path) -> None:
    assert_fails(call("ingest", table, "--mapping", "nosuch"), 2, "nosuch", "generic")
    assert not (tmp_path / "catalog").exists()


def test_empty_source(call: Call, tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("")
    assert_fails(call("ingest", "empty.csv"), 1, "empty.csv")


def test_missing_image_folder(call: Call, table: Path) -> None:
    assert_fails(call("ingest", table, "--images", "nowhere"), 2, "nowhere", "--images")


def test_invalid_limit_of_rejects(call: Call, table: Path) -> None:
    assert_fails(call("ingest", table, "--max-rejects", "lots"), 2, "lots", "1%")


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
def test_missing_home(call: Call, command: list[str], tmp_path: Path) -> None:
    assert_fails(call("--home", "nohome", *command), 2, "nohome", "init")
    assert not (tmp_path / "nohome").exists()


@pytest.mark.parametrize(
    "command",
    [["schema"], ["schema", "infer"], ["train", "--size", "tiny"], ["show", "1"]],
    ids=" ".join,
)
def test_empty_home(call: Call, command: list[str]) -> None:
    call("init")
    result = call(*command)
    assert result.code != 0
    assert_fails(result, result.code, "ingest")


def test_unknown_item(ingested: Call) -> None:
    assert_fails(ingested("show", "77"), 2, "'77'", "4")


def test_unknown_property(ingested: Call) -> None:
    assert_fails(ingested("schema", "show", "size"), 2, "'size'", "colour")


def test_no_model_yet(ingested: Call) -> None:
    assert_fails(ingested("complete"), 2, "train")
    assert_fails(ingested("model", "show"), 2, "train")


def test_unknown_model(ingested: Call) -> None:
    assert_fails(ingested("complete", "--model", "nosuch"), 2, "nosuch", "train")


def test_damaged_model_folder(ingested: Call, tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "manifest.json").write_text('{"sha256": {"config.json": "00"}}')
    assert_fails(ingested("complete", "--model", folder), 1, "config.json", "missing")
    (folder / "config.json").write_text("{}")
    assert_fails(ingested("complete", "--model", folder), 1, "config.json", "damaged")


def test_target_precision_out_of_range(ingested: Call) -> None:
    assert_fails(ingested("complete", "--target-precision", "99"), 2, "99", "0.99")


def test_cells_and_items_together(ingested: Call) -> None:
    result = ingested("complete", "--cells", "cells.csv", "--item", "1")
    assert_fails(result, 2, "--cells", "--item")


def test_completions_into_a_missing_folder(ingested: Call) -> None:
    assert_fails(ingested("complete", "--out", "nowhere/filled.jsonl"), 2, "nowhere")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("id,prop\n1,colour\n", "item,property"),
        ("item,property\n1,\n", "line 2"),
        ("", "item,property"),
    ],
)
def test_invalid_cells_file(ingested: Call, tmp_path: Path, text: str, word: str) -> None:
    (tmp_path / "cells.csv").write_text(text)
    assert_fails(ingested("complete", "--cells", "cells.csv"), 2, "cells.csv", word)


def test_missing_cells_file(ingested: Call) -> None:
    assert_fails(ingested("complete", "--cells", "nowhere.csv"), 2, "nowhere.csv")


def test_invalid_query_parameters(ingested: Call) -> None:
    assert_fails(ingested("cypher", "RETURN $a", "--param", "a"), 2, "'a'", "k=text")
    wrong = ("x", r'"\ud800"', "[" * 5_000, "9" * 5_000, '{"b": 1, "b": 2}', '"' + "x" * 5_000)
    for value in wrong:
        assert_fails(
            ingested("cypher", "RETURN $a", "--param", f"a:={value}"), 2, "JSON", "for text"
        )


@pytest.mark.parametrize(
    "words",
    [
        ["show", "?"],
        ["cypher", "RETURN $a", "--param", "a=?"],
        ["rejects", "--run", "?"],
        ["train", "--name", "?"],
        ["complete", "--item", "1", "--item", "?"],
        ["match", "?", "1"],
        ["--store", "ladybug:?", "stats"],
        ["stats", "--store", "ladybug:?"],
        ["--home", "?", "init"],
        ["copy", "--to", "rdf:?"],
    ],
    ids=" ".join,
)
def test_arguments_that_are_no_utf_8(ingested: Call, words: list[str]) -> None:
    """Python passes on such bytes as halves of surrogate pairs, which no store can hold."""
    words = [word.replace("?", "caf\udce9") for word in words]
    assert_fails(ingested(*words), 2, r"caf\udce9", "not UTF-8")


def test_an_output_whose_name_is_no_utf_8(ingested: Call) -> None:
    result = ingested("export", "--format", "csv", "caf\udce9")
    assert_fails(result, 1, r"caf\udce9", "not UTF-8")


def test_unknown_store(call: Call, table: Path) -> None:
    assert_fails(call("--store", "mongo:x", "ingest", table), 2, "mongo:x", "ladybug")


@pytest.mark.parametrize("command", [["verify"], ["rebuild"], ["sparql", "SELECT * {}"]])
def test_store_without_the_ability(ingested: Call, command: list[str]) -> None:
    assert_fails(ingested("--store", "memory:", *command), 2, "memory:")


def test_unknown_option_and_command(call: Call) -> None:
    assert_fails(call("stats", "--nope"), 2, "--nope", "stats --help")
    assert_fails(call("nope"), 2, "nope")


def test_model_name_outside_the_home(ingested: Call) -> None:
    assert_fails(ingested("train", "--name", "../x"), 2, "../x")


def test_unknown_training_settings(ingested: Call) -> None:
    assert_fails(ingested("train", "--size", "tiny", "--set", "speed=9"), 2, "speed")
    assert_fails(ingested("train", "--size", "huge"), 2, "huge")


@pytest.mark.parametrize(
    "words",
    [
        ["sample", "out", "--items", "1e9"],
        ["sample", "out", "--items", "9" * 5000],
        ["sample", "out", "--seed", "9" * 30],
        ["train", "--seed", "9" * 30],
        ["train", "--steps", "9" * 30],
        ["train", "--minutes", "nan"],
        ["train", "--minutes", "inf"],
        ["complete", "--top-k", "9" * 30],
        ["complete", "--target-precision", "nan"],
        ["evaluate", "matching", "--hard-negatives", "nan"],
        ["validate", "--limit", "9" * 30],
    ],
    ids=lambda words: " ".join(words)[:40],
)
def test_numbers_without_measure(ingested: Call, words: list[str]) -> None:
    assert_fails(ingested(*words), 2)


@pytest.mark.parametrize(
    "setting",
    ["fusion_layers=10000000", "dim=1000000000", "vocab_size=9999999999", "batch_size=1000000000"],
)
def test_a_model_without_measure(ingested: Call, setting: str) -> None:
    name, _, value = setting.partition("=")
    assert_fails(ingested("train", "--size", "tiny", "--set", setting), 2, name, value, "maximum")


def test_a_model_that_memory_has_no_room_for(ingested: Call) -> None:
    settings = ("dim=16384", "fusion_layers=256", "decoder_layers=256")
    words = [word for setting in settings for word in ("--set", setting)]
    result = ingested("train", "--size", "tiny", *words)
    assert_fails(result, 2, "parameters", "GB", "available", "dim")


@pytest.mark.parametrize(
    "setting", ["patch_kernels=3", "patch_kernels=", "image_encoder=vit", "image_grid=7"]
)
def test_settings_of_a_model_that_do_not_fit_together(ingested: Call, setting: str) -> None:
    words = ["train", "--preset", "mbsd", "--size", "tiny", "--steps", "1", "--set", setting]
    result = ingested(*words)
    assert_fails(result, 2)
    assert "unexpected" not in result.err


def test_report_without_its_completions(ingested: Call) -> None:
    result = ingested("report", "page.html", "--completions", "nowhere.jsonl")
    assert_fails(result, 2, "nowhere.jsonl")


def test_plot_without_runs(ingested: Call) -> None:
    assert_fails(ingested("runs", "--plot", "runs.txt"), 2, ".png")
    assert_fails(ingested("runs", "--plot", "runs.png"), 1, "train")


def test_a_bug_is_one_line_with_a_hint(ingested: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kg.stats.read_stats", lambda store: 1 / 0)
    result = ingested("stats")
    assert_fails(result, 1, "ZeroDivisionError", "-v shows the traceback")
    assert len(result.err.splitlines()) == 1


def test_verbose_shows_the_traceback(ingested: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kg.stats.read_stats", lambda store: 1 / 0)
    result = ingested("stats", "-v")
    assert "Traceback" in result.err
    assert result.err.splitlines()[-1].startswith("error: ")


def test_interrupt(ingested: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(store: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("kg.stats.read_stats", interrupt)
    assert_fails(ingested("stats"), 130, "interrupted")


def test_system_error_names_the_file(ingested: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(store: object) -> None:
        raise PermissionError(13, "Permission denied", "/etc/secret")

    monkeypatch.setattr("kg.stats.read_stats", refuse)
    assert_fails(ingested("stats"), 1, "/etc/secret", "Permission denied")


def test_nan_is_null_in_json(ingested: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands.store, "_parse_param", lambda text: ("x", float("nan")))
    result = ingested("cypher", "RETURN $x AS x", "--param", "x=1", "--json")
    assert result.json["rows"] == [[None]]
