"""What training says while it runs."""

from __future__ import annotations

import pytest

from commands.progress import TrainingProgress, bar, left, step_line, validation_line

STEP = {
    "step": 120,
    "epoch": 1,
    "seconds": 30.0,
    "items_per_second": 98.4,
    "lr": 1e-3,
    "used": 0.25,
    "loss": {"total": 4.12, "link": 3.8, "mlm": 1.2},
}


def test_a_step_says_speed_what_is_left_and_the_terms() -> None:
    assert (
        step_line(STEP) == "step 120 · 98 items/s · 2 min left · loss 4.120 (link 3.800, mlm 1.200)"
    )


def test_without_a_budget_nothing_is_left() -> None:
    assert "left" not in step_line({**STEP, "used": 0.0})


@pytest.mark.parametrize(("seconds", "text"), [(40, "40 s"), (720, "12 min"), (9000, "2.5 h")])
def test_durations(seconds: float, text: str) -> None:
    assert left(seconds) == text


def test_validation_says_its_figures() -> None:
    assert (
        validation_line({"step": 400, "metrics": {"hits@1": 0.7123, "mrr": 0.8}})
        == "step 400 · validation hits@1 0.712, mrr 0.800"
    )


def test_in_a_log_stages_and_validations_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingProgress() as progress:
        progress({"stage": "images"})
        progress(STEP)
        progress({**STEP, "step": 121})
        progress({"step": 400, "metrics": {"hits@1": 0.7}})
    said = capsys.readouterr()
    assert said.out == ""
    assert [line.split(" · ")[0] for line in said.err.splitlines()] == [
        "preparing: images",
        "step 400",
    ]


def test_a_second_process_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingProgress(quiet=True) as progress:
        progress({"stage": "images"})
        progress(STEP)
    assert capsys.readouterr().err == ""


def test_a_bar_keeps_off_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    with bar("reading") as done:
        done(1, 2)
    assert capsys.readouterr() == ("", "")
