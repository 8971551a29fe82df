"""Record what a run of completion says of cells as proposals, while it goes on.

Cells are recorded item by item, so that a run that is cut off can go on with the next item.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from kg.home import Home
from schema.errors import StoreLockedError
from schema.ledger_proposals import ProposalRecords
from schema.ontology import Ontology
from schema.proposals import (
    DELAYED,
    NewProposal,
    ProposalOrigin,
    ProposalRun,
    ProposedDecision,
    ProposedValue,
    RunKind,
)
from serving.results import Completion
from serving.review.session import NotWritten, review_of

CELLS_AT_ONCE = 5000
"""Cells after which those that are scored are recorded."""
SECONDS_AT_ONCE = 30.0
"""Seconds after which they are, too: as much is lost if the process is killed."""
WRITTEN_AT_ONCE = 50_000
"""The same if they are written to the graph, whose size each time costs time."""
SECONDS_BETWEEN_WRITES = 300.0
WAIT_SECONDS = 600.0
"""How long the end waits for another writer: scoring may have taken hours."""
PAUSE_SECONDS = 1.0

LAST_ITEM = "last_item"
"""In the report of a run: the last item whose cells are all recorded."""

DelayOf = Callable[[str, str], float]
"""Returns for how many days a filled cell, an item's id and a property, is not applied."""


def at_once(item: str, property: str) -> float:
    """Let every cell be applied at once."""
    return 0.0


def proposal_of(completion: Completion, model: str, due: str | None) -> NewProposal | None:
    """Return what a completion proposes; None if it leaves the cell alone."""
    if completion.decision == "abstain" or not completion.candidates:
        return None
    chosen = completion.filled_values() or completion.candidates[:1]
    is_asked = completion.evidence.language_model is not None
    return NewProposal(
        completion.item,
        completion.property,
        tuple(each.value for each in chosen),
        min(each.probability for each in chosen),
        tuple(
            ProposedValue(each.value, each.probability, str(each.source))
            for each in completion.candidates
        ),
        ProposedDecision(completion.decision),
        completion.proven,
        completion.evidence.as_dict(),
        ProposalOrigin.LLM if is_asked else ProposalOrigin.MODEL,
        model,
        due,
    )


class ProposalRecorder:
    """Records completions as the proposals of a run, and applies what may be filled.

    ``written`` counts the values that were applied, ``new`` those of them that the graph did not
    have, ``proposed`` the proposals, and ``not_written`` values that were left out, by the reason.
    Call :meth:`finish` at the end, or :meth:`keep` if it was cut off.
    """

    def __init__(
        self,
        home: Home,
        run: ProposalRun,
        *,
        model: str,
        ontology: Ontology,
        write: bool,
        delay_of: DelayOf = at_once,
        on_recorded: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        self.run = run
        self.written = 0
        self.new = 0
        self.proposed = 0
        self.not_written: Counter[NotWritten] = Counter()
        self._home = home
        self._model = model
        self._ontology = ontology
        self._write = write
        self._delay_of = delay_of
        self._on_recorded = on_recorded
        self._delays = False
        self._pending: list[NewProposal] = []
        self._cells = 0
        self._item: str | None = None
        self._complete: str | None = None
        self._last = time.monotonic()

    def add(self, completion: Completion) -> None:
        """Record a completion, sooner or later; one that is refused proposes nothing."""
        if completion.reason is not None:
            return
        if self._item is not None and completion.item != self._item:
            self._complete = self._item
            if self._is_time():
                try:
                    self._record()
                except StoreLockedError:
                    # Scoring goes on meanwhile, and the next batch takes this one with it.
                    self._cells = 0
                    self._last = time.monotonic()
        self._item = completion.item
        self._cells += 1
        proposal = proposal_of(completion, self._model, self._due(completion))
        if proposal is not None:
            self._pending.append(proposal)

    def finish(self) -> None:
        """Record the rest, and that the run is at its end.

        Raises StoreLockedError if another process writes to the graph for many minutes.
        """
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            self._complete = self._item or self._complete
            try:
                self._record(ends=True)
                return
            except StoreLockedError as error:
                if time.monotonic() > deadline:
                    count = len(self._pending)
                    raise StoreLockedError(f"{count:,} proposals not written: {error}") from None
                time.sleep(PAUSE_SECONDS)

    def keep(self) -> None:
        """Record what is scored of items that are complete; the run can go on with the next one."""
        # The last item may have cells that are not scored yet.
        self._pending = [each for each in self._pending if each.item != self._item]
        if self._complete is not None:
            self._record()

    def _is_time(self) -> bool:
        cells = WRITTEN_AT_ONCE if self._write else CELLS_AT_ONCE
        seconds = SECONDS_BETWEEN_WRITES if self._write else SECONDS_AT_ONCE
        return self._cells >= cells or time.monotonic() - self._last > seconds

    def _due(self, completion: Completion) -> str | None:
        if completion.decision != "fill":
            return None
        days = self._delay_of(completion.item, completion.property)
        if math.isinf(days):
            return None
        self._delays = self._delays or days > 0
        started = datetime.fromisoformat(self.run.started)
        return (started + timedelta(days=days)).astimezone(UTC).isoformat(timespec="seconds")

    def _record(self, *, ends: bool = False) -> None:
        report = dict(self.run.report)
        if self._delays:
            report[DELAYED] = True
        if self._complete is not None:
            report |= {LAST_ITEM: self._complete, **self._on_recorded()}
        with ExitStack() as stack:
            ledger = stack.enter_context(self._home.ledger())
            # Only what was cut off has to be written to the graph, or what is applied.
            reading = not self._write and not ProposalRecords(ledger).pending()
            store = stack.enter_context(self._home.store(read_only=reading))
            review = review_of(self._home, store, ledger, self._ontology)
            if not reading:
                review.recover()
            made = review.add(self.run, self._pending, apply=self._write, report=report)
            if ends:
                review.end(self.run)
        self.run = replace(self.run, report=report)
        self.written += made.written
        self.new += made.new
        self.proposed += made.added
        self.not_written += made.not_written
        self._pending = []
        self._cells = 0
        self._last = time.monotonic()


def begin_run(home: Home, id: str, report: Mapping[str, Any], started: str) -> ProposalRun:
    """Begin a run of completion; ``report`` is what it was called with."""
    run = ProposalRun(id, RunKind.COMPLETE, started, report=report)
    with home.ledger() as ledger:
        ProposalRecords(ledger).begin(run)
    return run
