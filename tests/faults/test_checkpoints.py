"""The writer of checkpoints is killed a few times; `make faults` does so a hundred times."""

from tests.faults.checkpoints import kill_checkpoints
from tests.faults.trials import Plan


def test_a_killed_writer_of_checkpoints_leaves_the_last_one_whole(tmp_path):
    outcome = kill_checkpoints(Plan(3, 1, tmp_path))
    assert outcome.bad == []
    assert outcome.figures["acknowledged checkpoints"] > 0
