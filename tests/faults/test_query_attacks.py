"""Some of the attacks on the processes that answer queries; ``make faults`` sends them all."""

import pytest

from kg.stores.query_child import Engine
from kg.stores.query_limits import QueryLimits
from tests.faults import query_attacks
from tests.faults.query_attacks import CYPHER, SPARQL, attack, attacked_graph, sample

TIMEOUT = 1.0
LIMITS = QueryLimits(rows=10_000, answer_bytes=8_000_000, memory_bytes=400_000_000)


def test_there_are_many_attacks():
    assert len(CYPHER) >= 48
    assert len(SPARQL) >= 30


@pytest.mark.parametrize("engine", Engine)
def test_attacks_end_within_their_limits(engine, tmp_path, monkeypatch):
    # Other tests run at the same time.
    monkeypatch.setattr(query_attacks, "SPARE_SECONDS", 5.0)
    with attacked_graph(engine, tmp_path) as pool:
        attacked = attack(pool, engine, sample(engine, 6, seed=5), TIMEOUT, LIMITS)
    assert [each for each in attacked if each.broken_limits(TIMEOUT, LIMITS)] == []
