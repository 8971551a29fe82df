from __future__ import annotations

import json
from pathlib import Path

import pytest

from evaluation.runs import plot_runs
from schema.errors import DataError, UsageError
from schema.training_log import read_training_log


def write_log(folder: Path, *terms: str) -> Path:
    folder.mkdir()
    lines = [
        json.dumps({"step": step, "loss": dict.fromkeys(("total", *terms), 1.0 / step)})
        for step in (1, 2, 3)
    ]
    (folder / "log.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def test_a_last_line_that_was_cut_off_is_skipped(tmp_path: Path) -> None:
    log = write_log(tmp_path / "a") / "log.jsonl"
    log.write_text(log.read_text() + '{"step": 4, "lo')
    assert [record["step"] for record in read_training_log(log)] == [1, 2, 3]


def test_a_run_without_a_log_has_no_records(tmp_path: Path) -> None:
    assert read_training_log(tmp_path / "log.jsonl") == []


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_runs_with_different_terms_are_drawn_together(tmp_path: Path, suffix: str) -> None:
    folders = [
        write_log(tmp_path / "a", "lpm", "mlm"),
        write_log(tmp_path / "b", "lpm"),
        tmp_path / "gone",
    ]
    plot_runs(folders, tmp_path / f"plot{suffix}")
    assert (tmp_path / f"plot{suffix}").stat().st_size > 1000


def test_a_plot_needs_a_known_format_and_a_log(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.png"):
        plot_runs([write_log(tmp_path / "a")], tmp_path / "plot.txt")
    with pytest.raises(DataError, match="log"):
        plot_runs([tmp_path / "gone"], tmp_path / "plot.png")


@pytest.mark.parametrize(
    "line",
    [
        "5",
        "[]",
        '{"step": 4}',
        '{"step": 4, "loss": 5}',
        '{"step": "4", "loss": {"total": 1}}',
        '{"step": 4, "loss": {"total": "1"}}',
        '{"step": 4, "loss": {"total": []}}',
        '{"step": 4, "loss": {"' + "a" * 200 + '": 1}}',
        '{"step": 4, "loss": {"\\u001b[31m": 1}}',
        '{"step": ' + "9" * 400 + ', "loss": {"total": 1}}',
        "[" * 100_000,
        "\xff",
    ],
    ids=range(12),
)
def test_what_is_no_step_is_skipped(tmp_path: Path, line: str) -> None:
    log = write_log(tmp_path / "a") / "log.jsonl"
    log.write_bytes(log.read_bytes() + line.encode("latin-1") + b"\n")
    assert [record["step"] for record in read_training_log(log)] == [1, 2, 3]


def test_losses_that_are_not_finite_are_drawn(tmp_path: Path) -> None:
    log = write_log(tmp_path / "a") / "log.jsonl"
    log.write_text(log.read_text() + '{"step": 4, "loss": {"total": NaN}}\n')
    log.write_text(log.read_text() + '{"step": 5, "loss": {"total": Infinity}}\n')
    assert len(read_training_log(log)) == 5
    plot_runs([tmp_path / "a"], tmp_path / "plot.svg")
