"""Proposals: values that somebody or something proposes for a cell, and what became of them.

A proposal is about one cell, a property of an item, whatever made it: a model, a language model, an
import, a near-duplicate value, an audit or a conflict of sources. It is in one of the states of
:class:`ProposalState`, and a move from one to another is one of :data:`TRANSITIONS`; only ``undo``
goes back (:func:`may_go_back`). What each state says in the graph:

==========  ==============================================================
proposed    nothing
applied     the values, as ``predicted``
accepted    the values, as ``accepted``
edited      other values, as ``accepted``; the proposed ones ``rejected``
rejected    the values, as ``rejected``
expired     nothing: a source has stated the cell, or a newer run proposes
undone      nothing: the run that made the proposal was taken back
==========  ==============================================================

A proposal may replace stored values: those are ``rejected`` as well once it is accepted or edited,
and stay as they are if it is rejected. It is never applied without a person, and expires when other
values are stored.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class ProposalState(StrEnum):
    """What has become of a proposal."""

    PROPOSED = "proposed"
    APPLIED = "applied"
    ACCEPTED = "accepted"
    EDITED = "edited"
    REJECTED = "rejected"
    EXPIRED = "expired"
    UNDONE = "undone"


WRITTEN = (
    ProposalState.APPLIED,
    ProposalState.ACCEPTED,
    ProposalState.EDITED,
    ProposalState.REJECTED,
)
"""The states that say something in the graph."""
OPEN = (ProposalState.PROPOSED, ProposalState.APPLIED)
"""The states of what a person can decide about; a cell has at most one such proposal."""
DECIDED = (ProposalState.ACCEPTED, ProposalState.EDITED, ProposalState.REJECTED)
"""What a person has decided."""
_CLOSING = frozenset({*DECIDED, ProposalState.EXPIRED, ProposalState.UNDONE})
TRANSITIONS: Mapping[ProposalState, frozenset[ProposalState]] = {
    ProposalState.PROPOSED: _CLOSING | {ProposalState.APPLIED},
    ProposalState.APPLIED: _CLOSING,
    ProposalState.ACCEPTED: frozenset(),
    ProposalState.EDITED: frozenset(),
    ProposalState.REJECTED: frozenset(),
    ProposalState.EXPIRED: frozenset(),
    ProposalState.UNDONE: frozenset(),
}
"""The states that may follow each state. A decision stands until its run is undone."""


def may_move(before: ProposalState, after: ProposalState) -> bool:
    """Return whether a state may follow another; one that is skipped stays in an open state."""
    return after in TRANSITIONS[before] or (before == after and before in OPEN)


def may_go_back(before: ProposalState, after: ProposalState) -> bool:
    """Return whether ``undo`` may take a proposal from a state to another.

    That is a move the other way round; one as before, if it takes back another ``undo``; or one
    from or to ``undone`` and ``expired``: what a run has made is gone with it, and what another
    value or a newer proposal stands in the way of does not come back, until these are taken back.
    """
    gone = (ProposalState.UNDONE, ProposalState.EXPIRED)
    return may_move(after, before) or may_move(before, after) or before in gone or after in gone


DELAYED = "delayed"
"""In the report of a run: some of its proposals wait before they may be applied."""


class ProposalOrigin(StrEnum):
    """What made a proposal."""

    MODEL = "model"
    LLM = "llm"
    IMPORT = "import"
    NEAR_DUPLICATE = "near-duplicate"
    AUDIT = "audit"
    CONFLICT = "conflict"
    ALIGNMENT = "alignment"


FINDINGS = (ProposalOrigin.NEAR_DUPLICATE, ProposalOrigin.AUDIT, ProposalOrigin.CONFLICT)
"""The origins of proposals about stored values; all others predict missing ones."""
PREDICTIONS = tuple(each for each in ProposalOrigin if each not in FINDINGS)
"""The origins of predictions, whose precision is not that of findings."""


class ProposedDecision(StrEnum):
    """What the maker of a proposal would do with it."""

    FILL = "fill"
    """The target precision is proven."""
    REVIEW = "review"
    """A person should decide."""


@dataclass(frozen=True, slots=True)
class ProposedValue:
    """A value and its probability; ``source`` says where the value was found."""

    value: str
    probability: float
    source: str = "vocabulary"

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        document = {"value": self.value, "probability": round(self.probability, 6)}
        return document if self.source == "vocabulary" else {**document, "source": self.source}


@dataclass(frozen=True, slots=True)
class NewProposal:
    """A proposal that is to be added.

    Attributes:
        item: the item's id
        property: the property's name
        values: what is proposed; several for a property that may have several
        probability: that all of them are right
        candidates: the most probable values, these among them
        decision: what its maker would do with it
        proven: the precision that is proven for such proposals, if any is
        evidence: why, as plain data
        origin: what made it
        model: which model, None if it was none
        due: the time from which on it may be applied, in ISO 8601; None if a person has to decide
        replaces: the stored values in whose place the proposed ones are put, as they are stored;
            first the one that was found to be wrong
    """

    item: str
    property: str
    values: tuple[str, ...]
    probability: float
    candidates: tuple[ProposedValue, ...] = ()
    decision: ProposedDecision = ProposedDecision.REVIEW
    proven: float | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)
    origin: ProposalOrigin = ProposalOrigin.MODEL
    model: str | None = None
    due: str | None = None
    replaces: tuple[str, ...] = ()

    @builtins.property
    def cell(self) -> tuple[str, str]:
        """The item and the property."""
        return self.item, self.property

    @builtins.property
    def is_finding(self) -> bool:
        """Whether a stored value was found to be wrong, and not only contradicted by a source."""
        return bool(self.replaces) and self.origin is not ProposalOrigin.CONFLICT


@dataclass(frozen=True, slots=True)
class Proposal(NewProposal):
    """A proposal in the ledger.

    Attributes:
        id: its number
        run: the run that made it
        state: what has become of it
        decided: the values that the item has by a person's decision
        reviewer: who decided
        created: when it was made, in ISO 8601
        changed: when its state last changed
        skips: how often a person has left it to others
        change: the number of its last change, 0 if there was none
    """

    id: int = 0
    run: str = ""
    state: ProposalState = ProposalState.PROPOSED
    decided: tuple[str, ...] = ()
    reviewer: str | None = None
    created: str = ""
    changed: str = ""
    skips: int = 0
    change: int = 0

    @builtins.property
    def gain(self) -> float:
        """The expected gain of a decision: the squared error p (1 - p) that it removes.

        In the place of a stored value it is p, by which that value turns out to be wrong.
        """
        rest = 1.0 if self.replaces else 1 - self.probability
        return self.probability * rest

    @builtins.property
    def doubt(self) -> float:
        """How doubtful it is among what is filled: (1 - p) (1 - r).

        p is its probability, and r the precision that is proven for such proposals, 0 if none is.
        """
        return (1 - self.probability) * (1 - (self.proven or 0.0))

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "id": self.id,
            "item": self.item,
            "property": self.property,
            "values": list(self.values),
            "replaces": list(self.replaces),
            "probability": round(self.probability, 6),
            "gain": round(self.gain, 6),
            "doubt": round(self.doubt, 6),
            "candidates": [each.as_dict() for each in self.candidates],
            "decision": str(self.decision),
            "proven": self.proven,
            "origin": str(self.origin),
            "model": self.model,
            "run": self.run,
            "state": str(self.state),
            "decided": list(self.decided),
            "reviewer": self.reviewer,
            "created": self.created,
            "changed": self.changed,
            "due": self.due,
            "skips": self.skips,
            "evidence": dict(self.evidence),
        }


@dataclass(frozen=True, slots=True)
class ProposalChange:
    """A change of a proposal's state.

    Attributes:
        id: its number
        run: the run that made it
        proposal: the proposal's number
        before: the state before it
        after: the state after it
        decided: the values that the item has by it
        reviewer: who decided that
        former: the number of the proposal's change before it, 0 if there was none
        restores: the number of the change whose outcome it keeps or brings back, 0 if its own
    """

    proposal: int
    before: ProposalState
    after: ProposalState
    decided: tuple[str, ...] = ()
    reviewer: str | None = None
    former: int = 0
    restores: int = 0
    id: int = 0
    run: str = ""

    @builtins.property
    def moves(self) -> bool:
        """Whether the state is another one after it; a proposal that is skipped keeps its own."""
        return self.before != self.after


class RunKind(StrEnum):
    """What a run of proposals did."""

    COMPLETE = "complete"
    AUDIT = "audit"
    ALIGN = "align"
    ADD = "add"
    APPLY = "apply"
    ACCEPT = "accept"
    EDIT = "edit"
    REJECT = "reject"
    SKIP = "skip"
    IMPORT = "import"
    """Decisions of several kinds, from a file."""
    EXPIRE = "expire"
    UNDO = "undo"


class RunStatus(StrEnum):
    """How far a run of proposals is."""

    RUNNING = "running"
    DONE = "done"
    UNDONE = "undone"


@dataclass(frozen=True, slots=True)
class ProposalRun:
    """A run that made, applied, decided or took back proposals.

    Attributes:
        id: its name
        kind: what it did
        started: when it began, in ISO 8601
        status: how far it is
        reviewer: who made it, if a person did
        undoes: the run that it takes back, if it does
        report: what it was called with and what it has behind it, as plain data
        pending: the number of the first change that is recorded and not yet made; 0 if there is
            none
    """

    id: str
    kind: RunKind
    started: str = ""
    status: RunStatus = RunStatus.RUNNING
    reviewer: str | None = None
    undoes: str | None = None
    report: Mapping[str, Any] = field(default_factory=dict)
    pending: int = 0


def step_document(change: ProposalChange, run: ProposalRun) -> dict[str, Any]:
    """Return a change of a proposal, and the run that made it, as plain data."""
    return {
        "time": run.started,
        "run": run.id,
        "kind": str(run.kind),
        "before": str(change.before),
        "after": str(change.after),
        "decided": list(change.decided),
        "reviewer": change.reviewer or run.reviewer,
    }


class ProposalOrder(StrEnum):
    """The order of a list of proposals; those that were skipped come last in each."""

    GAIN = "gain"
    """By the expected gain of a decision, the greatest first."""
    DOUBT = "doubt"
    """By how doubtful it is among what is filled, the most doubtful first."""
    PROBABILITY = "probability"
    """By the probability, the greatest first."""
    ITEM = "item"
    """By item and property."""
    NEWEST = "newest"
    """By the time at which it was made, the last ones first."""

    @classmethod
    def usual(cls, states: Sequence[ProposalState]) -> ProposalOrder:
        """Return the order in which proposals in some states are best looked at.

        What is applied alone is probable throughout: the doubtful come first.
        """
        return cls.DOUBT if set(states) == {ProposalState.APPLIED} else cls.GAIN


@dataclass(frozen=True, slots=True)
class ProposalFilter:
    """Which proposals are meant: each field that is given must match.

    ``due_by`` is a time by which they may be applied, ``since`` one from which on they changed.

    ``value`` is compared by the text that is proposed first. Without ``states``, those of every
    state are meant. ``replacing`` means those that
    replace stored values, or those that do not.
    """

    ids: Sequence[int] | None = None
    item: str | None = None
    property: str | None = None
    value: str | None = None
    run: str | None = None
    model: str | None = None
    states: tuple[ProposalState, ...] = ()
    origins: tuple[ProposalOrigin, ...] | None = None
    replacing: bool | None = None
    decision: ProposedDecision | None = None
    min_probability: float | None = None
    max_probability: float | None = None
    due_by: str | None = None
    since: str | None = None
