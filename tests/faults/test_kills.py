"""A kill or two of each kind; `make faults` makes hundreds."""

import pytest

from tests.faults.indexing import kill_index
from tests.faults.kept_sources import kill_keeping
from tests.faults.kills import kill_command, kill_puts
from tests.faults.reviewing import kill_review
from tests.faults.trials import Plan
from tests.faults.write_paths import WRITE_PATHS

PATHS = {path.name: path for path in WRITE_PATHS}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["ingest again", "ingest by an edited mapping", "update", "undo", "sources --order"]
)
def test_a_killed_command_loses_nothing_and_ends_when_it_is_called_again(tmp_path, name):
    outcome = kill_command(PATHS[name])(Plan(1, 1, tmp_path, items=200))
    assert outcome.bad == []
    assert outcome.figures["kills"] == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scheme", "loads"), [("ladybug", False), ("ladybug", True), ("rdf", False)]
)
def test_a_killed_store_has_what_it_acknowledged(tmp_path, scheme, loads):
    outcome = kill_puts(scheme, loads)(Plan(2, 2, tmp_path))
    assert outcome.bad == []
    assert outcome.figures["acknowledged writes"] > 0


def test_a_source_is_kept_as_a_whole_or_not_at_all(tmp_path):
    outcome = kill_keeping(Plan(4, 1, tmp_path))
    assert outcome.bad == []
    assert outcome.figures["acknowledged writes"] > 0


@pytest.mark.slow
def test_a_command_killed_on_the_home_of_an_earlier_version_ends_when_it_is_called_again(tmp_path):
    path = PATHS["update of an earlier version's home"]
    outcome = kill_command(path)(Plan(1, 1, tmp_path, items=100))
    if outcome.skipped:
        pytest.skip(outcome.skipped)
    assert outcome.bad == []


def test_a_killed_decision_leaves_ledger_and_graph_in_agreement(tmp_path):
    outcome = kill_review(Plan(2, 1, tmp_path, items=40))
    assert outcome.bad == []
    assert outcome.figures["kills"] == 2


def test_a_killed_index_is_the_old_one_or_the_new_one_and_goes_on(tmp_path):
    outcome = kill_index(Plan(2, 5, tmp_path, items=160))
    assert outcome.bad == []
    assert outcome.figures["kills"] == 2
