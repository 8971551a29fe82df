"""A command on a few disks that are too small; `make faults` tries all commands on many."""

import pytest

from tests.faults.full_disk import fill_disk, read_from_read_only_disk, why_not
from tests.faults.trials import Plan
from tests.faults.write_paths import WRITE_PATHS

PATHS = {path.name: path for path in WRITE_PATHS}


@pytest.fixture(autouse=True)
def _disks():
    reason = why_not()
    if reason:
        pytest.skip(reason)


def test_a_home_on_a_read_only_disk_is_read_and_not_written(tmp_path):
    assert read_from_read_only_disk(Plan(1, 1, tmp_path, items=100)).bad == []


@pytest.mark.slow
def test_a_full_disk_is_said_and_nothing_is_lost(tmp_path):
    outcome = fill_disk(PATHS["ingest again"], items=200)(Plan(2, 1, tmp_path))
    assert outcome.bad == []
    assert outcome.figures["sizes"] == 2
    assert outcome.figures["bytes needed"] > outcome.figures["bytes before"]
