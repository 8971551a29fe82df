"""Text from files, names and arguments cannot steer the terminal, wherever it is printed."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import click
import pytest

import cli
import kg.stats
from commands.base import console, table
from commands.progress import TrainingDisplay
from commands.screen import Screen
from schema.errors import DataError
from schema.terminal import printable
from tests.commands.conftest import Call, assert_fails
from training.records import Preparing, TrainingWarning

ESCAPE = "\x1b]0;pwned\x07\x9b31m\u202e"


def assert_harmless(text: str) -> None:
    assert text
    assert printable(text) == text


def test_errors_from_arguments(call: Call) -> None:
    for words in (
        ["ingest", f"{ESCAPE}.csv"],
        ["--home", f"{ESCAPE}", "stats"],
        [f"{ESCAPE}"],
        ["stats", f"--{ESCAPE}"],
        ["stats", ESCAPE],
        ["export", "--format", ESCAPE, "out"],
        ["sample", "out", "--items", ESCAPE],
        ["--store", f"rdf:{ESCAPE}/x", "stats"],
        ["ingest", "x.csv", "--mapping", ESCAPE],
    ):
        result = call(*words)
        assert_fails(result, result.code)
        assert_harmless(result.err)


def test_errors_of_any_kind_and_their_tracebacks(
    ingested: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error in (DataError(ESCAPE), ValueError(ESCAPE), OSError(5, ESCAPE, ESCAPE)):

        def fail(store: object, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(kg.stats, "read_stats", fail)
        for words in (["stats"], ["stats", "-v"]):
            result = ingested(*words)
            assert result.code == 1
            assert_harmless(result.err)


def fail_in_thread() -> None:
    raise KeyError(ESCAPE)


def test_a_message_is_never_longer_than_a_screen(call: Call) -> None:
    result = call("stats", "x" * 100_000)
    assert len(result.err) < 3000


def test_what_libraries_print_meanwhile(ingested: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def chatter(store: object) -> None:
        # Not issued, since pytest would show it, after all, when the test is over.
        sys.stderr.write(warnings.formatwarning(ESCAPE, UserWarning, ESCAPE, 1))
        logging.getLogger("library").error(ESCAPE)
        print(ESCAPE)
        thread = threading.Thread(target=fail_in_thread)
        thread.start()
        thread.join()
        raise click.UsageError(ESCAPE)

    monkeypatch.setattr(kg.stats, "read_stats", chatter)
    # As outside of pytest, which takes warnings and exceptions of threads for itself.
    monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)
    result = ingested("stats")
    assert_harmless(result.err)
    assert_harmless(result.out)


def test_results_as_text_and_as_json(call: Call, tmp_path: Path) -> None:
    value = "\\u001b]0;pwned\\u0007\\u202eexe"
    (tmp_path / "feed.jsonl").write_text(f'{{"id": "1", "title": "{value}", "colour": "red"}}\n')
    assert call("ingest", "feed.jsonl").code == 0
    for words in (["show", "1"], ["show", "1", "--json"], ["stats"], ["schema"]):
        assert_harmless(call(*words).out)
    query = ("cypher", "RETURN $x AS x", "--param", "x=\x9b31m")
    assert_harmless(call(*query).out)
    assert call(*query, "--json").json["rows"] == [["\x9b31m"]]
    assert_harmless(call(*query, "--json").out)


def test_progress_and_warnings_of_training(capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingDisplay() as show:
        show(Preparing(ESCAPE))
        show(TrainingWarning(f"{ESCAPE}\nwarning: another"))
    shown = capsys.readouterr().err
    assert_harmless(shown)
    assert len(shown.splitlines()) == 2


def test_a_screen_keeps_its_own_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(force_terminal=True, color_system="truecolor", record=True)
    with screen.capture() as captured:
        screen.print(table(["a"], [[ESCAPE]]), ESCAPE, style="red")
    shown = captured.get()
    assert "\x1b[31m" in shown
    assert "\x1b]" not in shown
    assert_harmless(shown.replace("\x1b[31m", "").replace("\x1b[1;31m", "").replace("\x1b[0m", ""))


def test_markup_in_data_is_no_markup() -> None:
    screen = console()
    with screen.capture() as captured:
        screen.print("[red]:smile:[/red]")
    assert captured.get().strip() == "[red]:smile:[/red]"


@pytest.mark.parametrize(
    ("redirection", "out"),
    [("<&-", b"Red"), ("<&- >&-", b""), ("2>&-", b"Red"), ("<&- >&- 2>&-", b"")],
)
def test_closed_streams_lead_nowhere(
    ingested: Call, tmp_path: Path, redirection: str, out: bytes
) -> None:
    # The next file that is opened would get the number of a closed stream.
    command = f'exec "$@" {redirection}'
    query = "MATCH (i:Item {id: '1'}) RETURN i.title"
    done = subprocess.run(
        ["sh", "-c", command, "sh", sys.executable, cli.__file__, "cypher", query],
        capture_output=True,
        check=False,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert out in done.stdout
    assert bool(out) == bool(done.stdout)
