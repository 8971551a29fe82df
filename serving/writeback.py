"""Write completions to the store, as predicted statements with model, confidence and evidence."""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from kg.stores.protocol import GraphStore
from kg.stores.tables import Row, statements_table
from schema.errors import StoreLockedError
from schema.ontology import Ontology, PropertySpec
from schema.terms import Provenance, Rank, Statement, now
from serving.results import Candidate, Completion
from serving.review.graph import PREDICTION_SOURCE
from serving.review.session import NotWritten, why_not_written

_STATEMENTS_PER_BATCH = 50_000
_WAIT_SECONDS = 600.0
"""How long the last batch waits for another writer: scoring may have taken hours."""
_PAUSE_SECONDS = 1.0


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


class PredictionWriter:
    """Puts what cells are filled with into a store, in batches.

    ``open_store`` opens the store for a batch, which leaves it to others while cells are scored.
    What was asserted, accepted or rejected stays, and no prediction comes beside it where the
    ``ontology`` allows one value, or where it says the same. ``written`` counts the predictions,
    ``new`` those that the store did not have, ``not_written`` those that were left out, by the
    reason. Call :meth:`flush` at the end.
    """

    def __init__(
        self,
        open_store: Callable[[], AbstractContextManager[GraphStore]],
        *,
        model: str,
        ontology: Ontology | None = None,
    ) -> None:
        self.written = 0
        self.new = 0
        self.not_written: Counter[NotWritten] = Counter()
        self._ontology = ontology or Ontology()
        self._open_store = open_store
        self._model = model
        self._time = now()
        self._pending: list[Statement] = []
        self._next_batch = _STATEMENTS_PER_BATCH

    def add(self, completion: Completion) -> None:
        """Write a completion if its decision is to fill the cell."""
        if completion.decision != "fill":
            return
        self._pending += [
            predicted_statement(completion, candidate, self._model, self._time)
            for candidate in completion.filled_values()
        ]
        if len(self._pending) >= self._next_batch:
            try:
                self._put()
            except StoreLockedError:
                # Scoring goes on meanwhile, and the next batch takes this one with it.
                self._next_batch = len(self._pending) + _STATEMENTS_PER_BATCH

    def flush(self) -> None:
        """Put the statements that are still pending into the store.

        Raises StoreLockedError if another process writes to it for many minutes.
        """
        deadline = time.monotonic() + _WAIT_SECONDS
        while self._pending:
            try:
                self._put()
            except StoreLockedError as error:
                if time.monotonic() > deadline:
                    count = len(self._pending)
                    raise StoreLockedError(f"{count:,} predictions not written: {error}") from None
                time.sleep(_PAUSE_SECONDS)

    def _put(self) -> None:
        with self._open_store() as store:
            # What the store says now: people may have worked in it while cells were scored.
            to_write, not_written = self._allowed(store)
            if to_write:
                self.new += store.put(None, statements_table(to_write)).new_statements
        self.written += len(to_write)
        self.not_written += not_written
        self._pending = []
        self._next_batch = _STATEMENTS_PER_BATCH

    def _allowed(self, store: GraphStore) -> tuple[list[Statement], Counter[NotWritten]]:
        """Return the pending statements that may be written, and counts of the others."""
        stored: dict[tuple[str, str], list[Row]] = defaultdict(list)
        items = list(dict.fromkeys(each.item for each in self._pending))
        for row in store.rows_about(items).statements.values():
            if row.get("language") is None:
                stored[row["item"], row["property"]].append(row)
        allowed = []
        not_written: Counter[NotWritten] = Counter()
        for statement in self._pending:
            name = statement.property
            spec = self._ontology.properties.get(name, PropertySpec(name))
            reason = why_not_written(statement.value, spec, stored[statement.item, name])
            if reason is None:
                allowed.append(statement)
            else:
                not_written[reason] += 1
        return allowed, not_written


def write_predictions(
    store: GraphStore,
    completions: Iterable[Completion],
    *,
    model: str,
    ontology: Ontology | None = None,
) -> WriteReport:
    """Write completions to a store as :class:`PredictionWriter` does."""
    writer = PredictionWriter(lambda: nullcontext(store), model=model, ontology=ontology)
    for completion in completions:
        writer.add(completion)
    writer.flush()
    return WriteReport(writer.written, writer.new, dict(writer.not_written))


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
