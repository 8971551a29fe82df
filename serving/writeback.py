"""Write completions to the store, as predicted statements with model, confidence and evidence."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from kg.stores.protocol import GraphStore
from kg.stores.tables import statements_table
from schema.terms import Provenance, Rank, Statement, now
from serving.completion import Completion

PREDICTION_SOURCE = "catalograph complete"
_STATEMENTS_PER_BATCH = 50_000


@dataclass(frozen=True)
class WriteReport:
    """How many predictions were ``written``, and how many of those are ``new`` to the store."""

    written: int
    new: int


def write_predictions(
    store: GraphStore, completions: Iterable[Completion], *, model: str
) -> WriteReport:
    """Put the best candidates of filled cells into the store, in batches.

    What a person asserted, accepted or rejected stays: a store never replaces it by a prediction.
    """
    time = now()
    statements = (
        predicted_statement(completion, model, time)
        for completion in completions
        if completion.decision == "fill"
    )
    written = 0
    new = 0
    for group in _batched(statements):
        new += store.put(None, statements_table(group)).new_statements
        written += len(group)
    return WriteReport(written, new)


def predicted_statement(completion: Completion, model: str, time: str) -> Statement:
    """Return a completion's best candidate as a statement that ``model`` made."""
    best = completion.candidates[0]
    evidence = json.dumps(completion.evidence.as_dict(), ensure_ascii=False, separators=(",", ":"))
    provenance = Provenance(
        PREDICTION_SOURCE,
        model=model,
        confidence=round(best.probability, 6),
        evidence=evidence,
        time=time,
    )
    return Statement(completion.item, completion.property, best.value, Rank.PREDICTED, provenance)


def _batched(statements: Iterable[Statement]) -> Iterator[list[Statement]]:
    remaining = iter(statements)
    while batch := list(islice(remaining, _STATEMENTS_PER_BATCH)):
        yield batch
