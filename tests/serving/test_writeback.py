from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from kg.stores.open import open_store
from kg.stores.protocol import GraphStore, Pattern
from kg.stores.tables import statements_table
from schema.modalities import Modality
from schema.ontology import Ontology, PropertySpec
from schema.terms import Rank, Statement
from serving.deciding import Decision
from serving.results import Candidate, Completion, Evidence, StatementEffect
from serving.writeback import (
    predicted_statement,
    rejected_values,
    write_predictions,
)


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
    whole = completion()
    (candidate,) = whole.filled_values()
    statement = predicted_statement(whole, candidate, "joint-1", "2026-01-01T00:00:00+00:00")
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
        "description": None,
        "category": None,
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


@pytest.mark.parametrize("rank", [Rank.ASSERTED, Rank.ACCEPTED])
def test_no_prediction_comes_beside_a_trusted_value_of_a_property_with_one(
    store: GraphStore, rank: Rank
) -> None:
    store.put(None, statements_table([Statement("m1", "colour", "blue", rank)]))
    report = write_predictions(store, [completion(), completion("m2")], model="m")
    assert (report.written, report.not_written) == (1, {"has_value": 1})
    assert ranks(store) == {"blue": rank, "red": "predicted"}


def test_a_property_with_many_values_takes_one_more_but_none_twice(store: GraphStore) -> None:
    many = Ontology([PropertySpec("colour", cardinality="many", values=("red",), counts=(1,))])
    store.put(None, statements_table([Statement("m1", "colour", "blue")]))
    store.put(None, statements_table([Statement("m2", "colour", "RED")]))
    lines = [completion(), completion("m2")]
    report = write_predictions(store, lines, model="m", ontology=many)
    assert (report.written, report.not_written) == (1, {"has_value": 1})
    assert ranks(store) == {"blue": "asserted", "red": "predicted", "RED": "asserted"}


def test_a_rejected_value_is_not_written_however_it_is_spelled(store: GraphStore) -> None:
    store.put(None, statements_table([Statement("m1", "colour", "Red", Rank.REJECTED)]))
    report = write_predictions(store, [completion()], model="m")
    assert (report.written, report.not_written) == (0, {"rejected": 1})
    assert ranks(store) == {"Red": "rejected"}
    assert rejected_values(store) == {("m1", "colour"): {"Red"}}
