"""A few nights of a small catalogue; ``benchmarks/nightly.py`` replays ten of a larger one."""

from itertools import count

import pytest

from tests.kg.ingest.nights import Replay, write_nights
from tests.servers import emptied

ITEMS = 60
NIGHTS = 4


@pytest.fixture(scope="module")
def nights(tmp_path_factory):
    """The files of the nights, which all stores read."""
    return write_nights(tmp_path_factory.mktemp("nights"), ITEMS, NIGHTS)


def check(tmp_path, nights, emptied_url):
    replay = Replay(tmp_path, nights, emptied_url)
    replay.run()
    assert replay.problems == []
    assert len(replay.seconds["undo"]) == NIGHTS - 1
    assert len(set(replay.hashes)) == NIGHTS


@pytest.mark.parametrize("scheme", ["ladybug", "rdf"])
def test_nights_in_an_embedded_store(tmp_path, nights, scheme):
    numbers = count()
    check(tmp_path, nights, lambda: f"{scheme}:{tmp_path}/graph-{next(numbers)}")


@pytest.mark.slow
def test_nights_in_neo4j(tmp_path, nights, neo4j):
    check(tmp_path, nights, lambda: emptied(neo4j.url))


@pytest.mark.slow
def test_nights_in_an_endpoint(tmp_path, nights, fuseki):
    check(tmp_path, nights, lambda: emptied(fuseki.url))


def test_the_nights_change_every_kind_of_cell(nights):
    kinds = {
        (what, before is None, after is None)
        for night in nights[1:]
        for id, changes in night.changes.items()
        if id not in night.gone
        for what, before, after in changes
    }
    assert {(False, False), (True, False), (False, True)} <= {kind[1:] for kind in kinds}
    assert all(len(night.gone) == 1 for night in nights[1:])
