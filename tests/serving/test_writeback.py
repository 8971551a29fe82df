from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from kg.stores.open import open_store
from kg.stores.protocol import GraphStore, Pattern
from kg.stores.tables import statements_table
from schema.modalities import Modality
from schema.terms import Rank, Statement
from serving.completion import Candidate, Completion, Decision, Evidence, StatementEffect
from serving.writeback import predicted_statement, write_predictions


@pytest.fixture
def store() -> Iterator[GraphStore]:
    with open_store("memory:") as opened:
        yield opened


def completion(item: str = "m1", value: str = "red", decision: Decision = "fill") -> Completion:
    candidates = (Candidate(value, 0.9712345678), Candidate("blue", 0.01))
    evidence = Evidence({Modality.TITLE: 0.31}, (StatementEffect("kind", "mug", -0.02),))
    return Completion(item, "colour", candidates, decision, evidence)


def ranks(store: GraphStore) -> dict[str, str]:
    return {
        row["value"]: row["rank"]
        for batch in store.scan(Pattern(property="colour"))
        for row in batch.to_pylist()
    }


def test_a_prediction_has_model_confidence_and_evidence():
    statement = predicted_statement(completion(), "joint-1", "2026-01-01T00:00:00+00:00")
    assert (statement.item, statement.property, statement.value, statement.rank) == (
        "m1",
        "colour",
        "red",
        Rank.PREDICTED,
    )
    provenance = statement.provenance
    assert (provenance.model, provenance.confidence) == ("joint-1", 0.971235)
    assert provenance.time == "2026-01-01T00:00:00+00:00"
    assert json.loads(provenance.evidence or "") == {
        "title": 0.31,
        "image": None,
        "known": [{"property": "kind", "value": "mug", "effect": -0.02}],
    }


def test_only_fills_are_written(store: GraphStore) -> None:
    completions = [
        completion(),
        completion("m2", decision="review"),
        completion("m3", decision="abstain"),
    ]
    report = write_predictions(store, completions, model="m")
    assert (report.written, report.new) == (1, 1)
    assert store.item("m2") is None


def test_writing_twice_adds_nothing(store: GraphStore) -> None:
    write_predictions(store, [completion()], model="m")
    assert write_predictions(store, [completion()], model="m").new == 0


@pytest.mark.parametrize("rank", [Rank.ASSERTED, Rank.ACCEPTED, Rank.REJECTED])
def test_predictions_do_not_replace_what_a_person_decided(store: GraphStore, rank: Rank) -> None:
    store.put(None, statements_table([Statement("m1", "colour", "red", rank)]))
    write_predictions(store, [completion()], model="m")
    assert ranks(store) == {"red": rank}
