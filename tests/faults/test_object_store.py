"""Two homes on one object store for a moment; `make faults` makes 200 commits."""

from tests.faults.object_store import kill_writers_of, write_to
from tests.faults.trials import Plan


def test_two_writers_lose_nothing_while_the_store_fails(tmp_path, object_store):
    outcome = write_to(Plan(12, 1, tmp_path), object_store)
    assert outcome.bad == []
    assert outcome.figures["commits"] == 12
    assert outcome.figures["answer lost"] > 0
    assert outcome.figures["times that the writer changed"] > 1


def test_killed_writers_leave_a_whole_journal(tmp_path, object_store):
    outcome = kill_writers_of(Plan(2, 2, tmp_path), object_store)
    assert outcome.bad == []
    assert outcome.figures["commits"] > 2
