"""Some wrong files of each kind; `make faults` tries thousands."""

import random

from tests.faults.configs import KINDS, changed, fuzz
from tests.faults.trials import Plan


def test_wrong_files_are_refused_with_a_line_or_read(tmp_path):
    outcome = fuzz(None, Plan(4 * len(KINDS), 1, tmp_path))
    assert outcome.bad == []
    assert outcome.figures["files"] == 4 * len(KINDS)
    assert outcome.figures["refused"] > len(KINDS)
    # Otherwise the changes would be so many that only the first is ever seen.
    assert outcome.figures["read"] > len(KINDS) // 4


def test_a_file_is_changed_in_the_same_way_every_time():
    valid = b'{"a": 1, "b": ["c", {"d": 2.5}]}'
    once, again = ([changed(valid, random.Random(n)) for n in range(50)] for _ in range(2))
    assert once == again
    assert len(set(once)) > 30
