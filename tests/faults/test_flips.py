"""A few flipped bytes; `make faults` flips hundreds."""

import random

import pytest

from tests.faults.__main__ import DECLARED
from tests.faults.children import run
from tests.faults.flips import Fate, Flip, Verified, choose_flips, flip_home, make_home, sweep
from tests.faults.trials import Plan


@pytest.fixture(scope="module", params=["ladybug", "rdf"])
def home(request, tmp_path_factory):
    return run(make_home, tmp_path_factory.mktemp(request.param), request.param)


def test_a_flipped_byte_is_found_or_changes_no_answer(home, tmp_path):
    outcome = flip_home(home, Plan(4, 3, tmp_path))
    assert outcome.bad == []
    assert sum(outcome.figures[str(fate)] for fate in Fate) == 4


def test_flips_are_of_every_file_and_of_content(home):
    flips = choose_flips(home, 100, random.Random(0))
    files = {flip.file for flip in flips}
    graph = {"graph/graph.lbug"} if (home / "graph" / "graph.lbug").exists() else set()
    expected = {"home.toml", "ledger.sqlite", "ontology.toml", "shapes.ttl", "models/m/log.jsonl"}
    assert expected | graph | {DECLARED} < files
    assert {flip.file for flip in choose_flips(home, 5, random.Random(0), DECLARED)} == {DECLARED}
    assert len(flips) == 100
    assert any((home / flip.file).read_bytes()[flip.place] for flip in flips)


def test_a_flip_that_nobody_notices_is_missed(home, monkeypatch):
    place = home.joinpath("ontology.toml").read_bytes().index(b'"string"')
    fine = Verified(Fate.HARMLESS)
    monkeypatch.setattr(
        "tests.faults.flips._examined",
        lambda home: (fine, {"text": (home / "ontology.toml").read_bytes()}),
    )
    (result,) = sweep(home, [Flip("ontology.toml", place + 1, 1)])
    assert result.fate is Fate.MISSED
