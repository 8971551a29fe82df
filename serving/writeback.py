"""Completions into the store, as predicted statements that say by which model, how sure, and why."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from kg.stores.protocol import GraphStore
from kg.stores.tables import statements_table
from schema.terms import Provenance, Rank, Statement, now
from serving.completion import Completion, Decision

SOURCE = "catalograph complete"
FILLS: tuple[Decision, ...] = ("fill",)
_AT_ONCE = 50_000


@dataclass(frozen=True)
class WriteReport:
    """What went into the store: predictions ``written``, and those of them that are ``new`` to it."""

    written: int
    new: int


def predicted(
    completion: Completion, *, model: str, batch: str = "", time: str | None = None
) -> Statement:
    """The statement that a completion's best candidate makes; ``time`` is now where it is not given."""
    best = completion.candidates[0]
    time = time or now()
    evidence = json.dumps(completion.evidence.as_dict(), ensure_ascii=False, separators=(",", ":"))
    provenance = Provenance(
        SOURCE,
        batch,
        model=model,
        confidence=round(best.probability, 6),
        evidence=evidence,
        time=time,
    )
    return Statement(completion.item, completion.property, best.value, Rank.PREDICTED, provenance)


def write(
    store: GraphStore,
    completions: Iterable[Completion],
    *,
    model: str,
    batch: str = "",
    decisions: Collection[Decision] = FILLS,
) -> WriteReport:
    """Put the completions with one of ``decisions`` into the store, a large batch at a time.

    What a person asserted, accepted or rejected stays as it is: the store never lets a prediction take its place.
    """
    time = now()
    chosen = (each for each in completions if each.candidates and each.decision in decisions)
    statements = (predicted(each, model=model, batch=batch, time=time) for each in chosen)
    written = new = 0
    for part in _batches(statements):
        new += store.put(None, statements_table(part)).new_statements
        written += len(part)
    return WriteReport(written, new)


def _batches(statements: Iterable[Statement]) -> Iterator[list[Statement]]:
    remaining = iter(statements)
    while part := list(islice(remaining, _AT_ONCE)):
        yield part
