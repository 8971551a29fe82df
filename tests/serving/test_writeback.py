from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from kg.stores.open import open_store
from kg.stores.protocol import GraphStore, Pattern
from kg.stores.tables import statements_table
from schema.terms import Rank, Statement
from serving.completion import Candidate, Completion, Decision, Effect, Evidence
from serving.writeback import predicted, write


@pytest.fixture
def store() -> Iterator[GraphStore]:
    with open_store("memory:") as opened:
        yield opened


def completion(item: str = "m1", value: str = "red", decision: Decision = "fill") -> Completion:
    evidence = Evidence(0.31, None, (Effect("kind", "mug", -0.02),))
    return Completion(
        item,
        "colour",
        (Candidate(value, 0.9712345678), Candidate("blue", 0.01)),
        decision,
        evidence,
    )


def ranks(store: GraphStore) -> dict[str, str]:
    return {
        row["value"]: row["rank"]
        for batch in store.scan(Pattern(property="colour"))
        for row in batch.to_pylist()
    }


def test_prediction_says_by_which_model_how_sure_and_why():
    statement = predicted(completion(), model="joint-1", batch="b7")
    assert (statement.item, statement.property, statement.value, statement.rank) == (
        "m1",
        "colour",
        "red",
        Rank.PREDICTED,
    )
    given = statement.provenance
    assert (given.model, given.batch, given.confidence) == ("joint-1", "b7", 0.971235)
    assert json.loads(given.evidence or "") == {
        "title": 0.31,
        "image": None,
        "known": [{"property": "kind", "value": "mug", "effect": -0.02}],
    }
    assert given.time.endswith("+00:00")


def test_only_fills_are_written(store: GraphStore) -> None:
    report = write(
        store,
        [completion(), completion("m2", decision="review"), completion("m3", decision="abstain")],
        model="m",
    )
    assert (report.written, report.new) == (1, 1)
    assert store.item("m2") is None


def test_further_decisions_on_demand(store: GraphStore) -> None:
    both: tuple[Decision, ...] = ("fill", "review")
    assert (
        write(store, [completion("m2", decision="review")], model="m", decisions=both).written == 1
    )


def test_completion_without_candidates_is_passed_over(store: GraphStore) -> None:
    abstained: tuple[Decision, ...] = ("abstain",)
    assert (
        write(
            store,
            [Completion("m1", "colour", (), "abstain", Evidence())],
            model="m",
            decisions=abstained,
        ).written
        == 0
    )


def test_writing_again_adds_nothing(store: GraphStore) -> None:
    write(store, [completion()], model="m")
    assert write(store, [completion()], model="m").new == 0


@pytest.mark.parametrize("rank", [Rank.ASSERTED, Rank.ACCEPTED, Rank.REJECTED])
def test_what_a_person_said_stays(store: GraphStore, rank: Rank) -> None:
    store.put(None, statements_table([Statement("m1", "colour", "red", rank)]))
    write(store, [completion()], model="m")
    assert ranks(store) == {"red": rank}
