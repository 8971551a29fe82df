"""What training shows while it runs."""

from __future__ import annotations

import dataclasses

import pytest

from commands.progress import TrainingDisplay, bar, duration, step_line, validation_line
from training.records import Preparing, Step, TrainingWarning, Validated

STEP = Step(
    step=120,
    epoch=1,
    seconds=30.0,
    items_per_second=98.4,
    learning_rate=1e-3,
    loss=4.12,
    terms={"lpm": 3.8, "mlm": 1.2},
    used=0.25,
)


def test_a_step_shows_speed_time_left_and_terms() -> None:
    line = "step 120 · 98 items/s · 2 min left · loss 4.120 (lpm 3.800, mlm 1.200)"
    assert step_line(STEP) == line


def test_a_step_of_several_stages_shows_its_stage() -> None:
    assert step_line(dataclasses.replace(STEP, stage=2)).startswith("step 120 · stage 2 · 98 items")


def test_without_a_budget_no_time_is_left() -> None:
    assert "left" not in step_line(dataclasses.replace(STEP, used=0.0))


@pytest.mark.parametrize(("seconds", "text"), [(40, "40 s"), (720, "12 min"), (9000, "2.5 h")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_validation_shows_its_overall_figures() -> None:
    record = Validated(400, {"hits@1": 0.7123, "mrr": 0.8, "full/image/known": 0.9})
    assert validation_line(record) == "step 400 · validation hits@1 0.712, mrr 0.800"


def test_a_log_has_lines_for_preparations_validations_and_warnings(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with TrainingDisplay() as show:
        show(Preparing("images"))
        show(Preparing("images", 10, 20))
        show(STEP)
        show(dataclasses.replace(STEP, step=121))
        show(Validated(400, {"hits@1": 0.7}))
        show(TrainingWarning("the disk is full"))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert [line.split(" · ")[0] for line in shown.err.splitlines()] == [
        "preparing: images",
        "step 400",
        "warning: the disk is full",
    ]


def test_a_log_shows_the_steps_of_every_stage(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("commands.progress._LOG_SECONDS", -1.0)
    with TrainingDisplay() as show:
        show(dataclasses.replace(STEP, stage=1))
        show(dataclasses.replace(STEP, step=200, stage=2))
    lines = capsys.readouterr().err.splitlines()
    assert [line[:18] for line in lines] == ["step 120 · stage 1", "step 200 · stage 2"]


def test_a_second_process_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingDisplay(quiet=True) as show:
        show(Preparing("images"))
        show(STEP)
    assert capsys.readouterr().err == ""


def test_a_bar_keeps_off_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    with bar("reading") as progress:
        progress(1, 2)
    assert capsys.readouterr() == ("", "")
