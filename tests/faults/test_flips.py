"""A few flipped bytes; `make faults` flips hundreds."""

import random

import pytest

from tests.faults.flips import Fate, Flip, choose_flips, flip_bytes, make_home, sweep
from tests.faults.trials import Plan


@pytest.mark.parametrize("scheme", ["ladybug", "rdf"])
def test_a_flipped_byte_is_found_or_changes_no_answer(tmp_path, scheme):
    outcome = flip_bytes(scheme)(Plan(4, 3, tmp_path))
    assert outcome.bad == []
    assert sum(outcome.figures.values()) == 4


def test_flips_are_of_every_file_and_of_content(tmp_path):
    home = make_home(tmp_path).path
    flips = choose_flips(home, 100, random.Random(0))
    files = {flip.file for flip in flips}
    assert {"home.toml", "ledger.sqlite", "ontology.toml", "shapes.ttl", "graph/graph.lbug"} < files
    assert len(flips) == 100
    assert any((home / flip.file).read_bytes()[flip.place] for flip in flips)


def test_a_flip_that_nobody_notices_is_missed(tmp_path, monkeypatch):
    home = make_home(tmp_path).path
    place = home.joinpath("ontology.toml").read_bytes().index(b'"string"')
    monkeypatch.setattr("tests.faults.flips.verify_home", lambda *_, **__: Fine())
    (result,) = sweep(home, [Flip("ontology.toml", place + 1, 1)])
    assert result.fate is Fate.MISSED


class Fine:
    problems = ()
