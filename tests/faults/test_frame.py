"""The frame of `make faults`: which trials are made, and what is written about them."""

import json

import pytest

from tests.faults import __main__ as frame
from tests.faults.trials import Outcome, Trial

MADE: list[tuple[str, int]] = []


def good(plan):
    MADE.append(("good", plan.count))
    plan.progress(1)
    return Outcome(figures={"kills": plan.count})


def bad(plan):
    MADE.append(("bad", plan.count))
    return Outcome(figures={"kills": 1}, bad=["kill 1: lost"])


def impossible(plan):
    return Outcome(skipped="no disk")


def failing(plan):
    raise RuntimeError("no home")


@pytest.fixture
def call(monkeypatch, tmp_path, capsys):
    """Call the frame with trials of our own: its exit code, what it printed, and its file."""
    trials = (
        Trial("kill good", "kills", 100, good),
        Trial("kill bad", "kills", 100, bad),
        Trial("disk", "sizes", 20, impossible),
        Trial("broken", "tries", 1, failing),
    )
    monkeypatch.setattr(frame, "TRIALS", trials)
    MADE.clear()
    out = tmp_path / "faults.json"

    def run(*arguments):
        code = frame.main([*arguments, "--out", str(out)])
        return code, capsys.readouterr(), json.loads(out.read_text())["trials"]

    return run


def test_chosen_trials_are_made_and_written_down(call):
    code, shown, written = call("--only", "good", "--only", "disk", "--count", "7")
    assert code == 0
    assert MADE == [("good", 7)]
    assert written["kill good"]["figures"] == {"kills": 7}
    assert written["disk"]["skipped"] == "no disk"
    assert "| kill good | 7 kills | 0 | kills 7 |" in shown.out
    assert "skipped: no disk" in shown.out


def test_what_must_not_happen_is_told_by_the_exit_code(call):
    code, shown, written = call("--only", "bad", "--json")
    assert code == 1
    assert "WRONG: kill 1: lost" in shown.err
    assert (
        json.loads(shown.out)["kill bad"]["bad"] == ["kill 1: lost"] == written["kill bad"]["bad"]
    )


def test_a_trial_that_cannot_be_made_does_not_end_the_others(call):
    code, _, written = call("--only", "broken", "--only", "good")
    assert code == 1
    assert written["broken"]["bad"] == ["the trial could not be made: no home"]
    assert "kill good" in written


def test_an_interrupted_run_goes_on(call, monkeypatch):
    call("--only", "good")
    call("--resume", "--only", "kill")
    assert MADE == [("good", 100), ("bad", 100)]
    call("--only", "good")
    monkeypatch.setattr(frame, "revision", lambda: "another version")
    call("--resume", "--only", "good")
    assert len(MADE) == 4


def test_a_trial_that_is_not_there_is_an_error(call):
    with pytest.raises(SystemExit):
        call("--only", "nothing")


def test_every_trial_has_a_name_of_its_own():
    names = [trial.name for trial in frame.TRIALS]
    assert len(set(names)) == len(names)
