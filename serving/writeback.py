"""Write completions to the store, as predicted statements with model, confidence and evidence."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from kg.stores.protocol import GraphStore, PutReport
from kg.stores.tables import Row, statements_table
from schema.ontology import Ontology, PropertySpec
from schema.terms import PREDICTION_SOURCE, Provenance, Rank, Statement, now
from serving.results import Candidate, Completion
from serving.review.session import NotWritten, why_not_written


@dataclass(frozen=True)
class WriteReport:
    """How many predictions were ``written``, and how many of those are ``new`` to the store.

    ``not_written`` counts the others by the reason.
    """

    written: int
    new: int
    not_written: Mapping[NotWritten, int] = field(default_factory=dict)


def rejected_values(store: GraphStore) -> dict[tuple[str, str], set[str]]:
    """Return the values that people rejected, by the item's id and the property."""
    rejected: dict[tuple[str, str], set[str]] = defaultdict(set)
    for batch in store.plain_statements([Rank.REJECTED]):
        columns = (batch[name].to_pylist() for name in ("item", "property", "value"))
        for item, property, value in zip(*columns, strict=True):
            rejected[item, property].add(value)
    return dict(rejected)


def write_predictions(
    store: GraphStore,
    completions: Iterable[Completion],
    *,
    model: str,
    ontology: Ontology | None = None,
) -> WriteReport:
    """Write what cells are filled with to a store, at once and without proposals of it.

    What was asserted, accepted or rejected stays, and no prediction comes beside it where the
    ``ontology`` allows one value, or where it says the same. The command ``complete`` keeps
    proposals instead, see :class:`serving.review.recorder.ProposalRecorder`.
    """
    time = now()
    predicted = [
        predicted_statement(completion, candidate, model, time)
        for completion in completions
        if completion.decision == "fill"
        for candidate in completion.filled_values()
    ]
    allowed, not_written = _allowed(store, predicted, ontology or Ontology())
    put = store.put(None, statements_table(allowed)) if allowed else PutReport(0, 0)
    return WriteReport(len(allowed), put.new_statements, dict(not_written))


def _allowed(
    store: GraphStore, predicted: Iterable[Statement], ontology: Ontology
) -> tuple[list[Statement], Counter[NotWritten]]:
    """Return the statements that may be written, and counts of the others."""
    predicted = list(predicted)
    stored: dict[tuple[str, str], list[Row]] = defaultdict(list)
    items = list(dict.fromkeys(each.item for each in predicted))
    for row in store.rows_about(items).statements.values():
        if row.get("language") is None:
            stored[row["item"], row["property"]].append(row)
    allowed = []
    not_written: Counter[NotWritten] = Counter()
    for statement in predicted:
        name = statement.property
        spec = ontology.properties.get(name, PropertySpec(name))
        reason = why_not_written(statement.value, spec, stored[statement.item, name])
        if reason is None:
            allowed.append(statement)
        else:
            not_written[reason] += 1
    return allowed, not_written


def predicted_statement(
    completion: Completion, candidate: Candidate, model: str, time: str
) -> Statement:
    """Return a candidate of a completion as a statement that ``model`` made."""
    evidence = json.dumps(completion.evidence.as_dict(), ensure_ascii=False, separators=(",", ":"))
    provenance = Provenance(
        PREDICTION_SOURCE,
        model=model,
        confidence=round(candidate.probability, 6),
        evidence=evidence,
        time=time,
    )
    return Statement(
        completion.item, completion.property, candidate.value, Rank.PREDICTED, provenance
    )
