"""Several processes at once, for a moment; `make faults` goes on longer."""

from tests.faults.beside import read_beside_writer, write_beside_writer
from tests.faults.trials import Plan


def test_readers_answer_beside_a_writer(tmp_path):
    outcome = read_beside_writer(Plan(1, 1, tmp_path, items=200))
    assert outcome.bad == []
    assert outcome.figures["reads beside them"] > 0


def test_of_several_writers_each_ends_or_is_told_of_another(tmp_path):
    outcome = write_beside_writer(Plan(1, 1, tmp_path, items=200))
    assert outcome.bad == []
    assert outcome.figures["writers that came to their end"] > 0
