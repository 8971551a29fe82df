"""Write completions to the store, as predicted statements with model, confidence and evidence."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from kg.stores.protocol import GraphStore
from kg.stores.tables import statements_table
from schema.errors import StoreLockedError
from schema.terms import Provenance, Rank, Statement, now
from serving.completion import Completion

PREDICTION_SOURCE = "catalograph complete"
_STATEMENTS_PER_BATCH = 50_000
_WAIT_SECONDS = 600.0
"""How long the last batch waits for another writer: scoring may have taken hours."""
_PAUSE_SECONDS = 1.0


@dataclass(frozen=True)
class WriteReport:
    """How many predictions were ``written``, and how many of those are ``new`` to the store."""

    written: int
    new: int


class PredictionWriter:
    """Puts the best candidates of filled cells into a store, in batches.

    ``open_store`` opens the store for a batch, which leaves it to others while cells are scored.
    What a person asserted, accepted or rejected stays: a store never replaces it by a prediction.
    ``written`` counts the predictions, ``new`` those that the store did not have. Call
    :meth:`flush` at the end.
    """

    def __init__(
        self, open_store: Callable[[], AbstractContextManager[GraphStore]], *, model: str
    ) -> None:
        self.written = 0
        self.new = 0
        self._open_store = open_store
        self._model = model
        self._time = now()
        self._pending: list[Statement] = []
        self._next_batch = _STATEMENTS_PER_BATCH

    def add(self, completion: Completion) -> None:
        """Write a completion if its decision is to fill the cell."""
        if completion.decision != "fill":
            return
        self._pending.append(predicted_statement(completion, self._model, self._time))
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
            self.new += store.put(None, statements_table(self._pending)).new_statements
        self.written += len(self._pending)
        self._pending = []
        self._next_batch = _STATEMENTS_PER_BATCH


def write_predictions(
    store: GraphStore, completions: Iterable[Completion], *, model: str
) -> WriteReport:
    """Write completions to a store as :class:`PredictionWriter` does."""
    writer = PredictionWriter(lambda: nullcontext(store), model=model)
    for completion in completions:
        writer.add(completion)
    writer.flush()
    return WriteReport(writer.written, writer.new)


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
