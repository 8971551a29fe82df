"""The short form of the fuzz of both guards; ``make faults`` runs the long one."""

import pytest

from tests.faults.guard_fuzz import fuzz_guards

TEXTS = 120


@pytest.mark.parametrize("seed", [1])
def test_nothing_is_written_read_or_sent(tmp_path, seed):
    for figures in fuzz_guards(seed, TEXTS, tmp_path).values():
        assert figures.harm() == []
        assert figures.texts == TEXTS
        # Texts that nobody could run, or that all pass, would show nothing.
        assert figures.refused > TEXTS // 5
        assert figures.answered > TEXTS // 20
