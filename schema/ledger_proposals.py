"""Proposals in the ledger, and the record that is written ahead of every change of them.

A change of proposals shows in two places, the ledger and the graph. So it is made in three steps:
:meth:`ProposalRecords.intend` writes down what is going to change, the graph is written, and
:meth:`ProposalRecords.finish` moves the proposals. Each is one transaction. What was intended and
is not finished is ``pending``: whoever writes proposals next makes these changes first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from schema.errors import ProposalConflictError, UsageError
from schema.ledger import (
    ROWS_PER_INSERT,
    Ledger,
    proposal_changes,
    proposal_runs,
    proposal_stores,
    proposals,
    table_checksums,
)
from schema.ledger_checksums import CHECKSUM, ChecksummedTable
from schema.proposals import (
    DECIDED,
    DELAYED,
    OPEN,
    NewProposal,
    Proposal,
    ProposalChange,
    ProposalFilter,
    ProposalOrder,
    ProposalOrigin,
    ProposalRun,
    ProposalState,
    ProposedDecision,
    ProposedValue,
    RunKind,
    RunStatus,
    may_go_back,
    may_move,
)
from schema.terms import now

Row = dict[str, Any]
AGREEMENTS = "agreements"
"""In the report of a run: the share of reviewers that agreed, by the number of the proposal."""


@dataclass(frozen=True, slots=True)
class Delayed:
    """How many proposals had to wait and are due, how many wait, and when the next one is due."""

    due: int
    waiting: int
    next: str | None


@dataclass(frozen=True, slots=True)
class ProposedCell:
    """A proposal's number and its cell."""

    id: int
    item: str
    property: str


class ProposalRecords:
    """The proposals of a ledger, their runs and changes."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    # Proposals

    def find(
        self,
        wanted: ProposalFilter,
        order: ProposalOrder = ProposalOrder.ITEM,
        limit: int | None = None,
        after: int | None = None,
    ) -> list[Proposal]:
        """Return the proposals that a filter means, in an order.

        ``after`` is the number of the last one of the page before; that need not be among them.
        """
        query = _matching(sa.select(*_columns(proposals)), wanted)
        if after is not None:
            query = query.where(_comes_after(order, after))
        query = query.order_by(*_ordering(order)).limit(limit)
        return [_proposal(row) for row in self._ledger.rows(query)]

    def count(self, wanted: ProposalFilter) -> int:
        """Return how many proposals a filter means."""
        query = _matching(sa.select(sa.func.count().label("count")), wanted)
        return int(self._ledger.rows(query)[0]["count"])

    def counts_by_state(self, wanted: ProposalFilter) -> dict[ProposalState, int]:
        """Return how many of the proposals that a filter means are in each state."""
        query = sa.select(proposals.c.state, sa.func.count().label("count"))
        rows = self._ledger.rows(_matching(query, wanted).group_by(proposals.c.state))
        return {ProposalState(row["state"]): int(row["count"]) for row in rows}

    def cells(
        self, wanted: ProposalFilter, order: ProposalOrder = ProposalOrder.ITEM
    ) -> list[ProposedCell]:
        """Return the cells of the proposals that a filter means, in an order.

        That is quick also where there are very many, of which :meth:`get` reads some.
        """
        columns: list[sa.ColumnElement[Any]] = [
            proposals.c[name] for name in ("id", "item", "property")
        ]
        query = _matching(sa.select(*columns), wanted).order_by(*_ordering(order))
        return [ProposedCell(**row) for row in self._ledger.rows(query)]

    def counts_by_property(self, wanted: ProposalFilter) -> dict[str, int]:
        """Return how many of the proposals that a filter means are about each property."""
        query = sa.select(proposals.c.property, sa.func.count().label("count"))
        rows = self._ledger.rows(_matching(query, wanted).group_by(proposals.c.property))
        return {str(row["property"]): int(row["count"]) for row in rows}

    def decided_by(self, since: str) -> dict[str, int]:
        """Return how many of the decisions that stand each reviewer has taken since a time."""
        query = sa.select(proposals.c.reviewer, sa.func.count().label("count"))
        wanted = ProposalFilter(states=DECIDED, since=since)
        rows = self._ledger.rows(_matching(query, wanted).group_by(proposals.c.reviewer))
        return {str(row["reviewer"] or ""): int(row["count"]) for row in rows}

    def get(self, ids: Iterable[int]) -> dict[int, Proposal]:
        """Return proposals by their numbers, those that there are."""
        found = {}
        for some in _chunks(list(ids)):
            query = sa.select(*_columns(proposals)).where(proposals.c.id.in_(some))
            found.update({row["id"]: _proposal(row) for row in self._ledger.rows(query)})
        return found

    def of_cells(
        self,
        cells: Collection[tuple[str, str]],
        states: Sequence[ProposalState] = OPEN,
    ) -> list[Proposal]:
        """Return the proposals of some cells, given as items and properties, in some states."""
        wanted = set(cells)
        items = list(dict.fromkeys(item for item, _ in wanted))
        found = []
        for some in _chunks(items):
            query = sa.select(*_columns(proposals)).where(
                proposals.c.item.in_(some), proposals.c.state.in_([str(each) for each in states])
            )
            rows = self._ledger.rows(query.order_by(proposals.c.id))
            found += [_proposal(row) for row in rows if (row["item"], row["property"]) in wanted]
        return found

    def has_open(self) -> bool:
        """Return whether there is any proposal to decide about."""
        query = _matching(sa.select(proposals.c.id), ProposalFilter(states=OPEN)).limit(1)
        return bool(self._ledger.rows(query))

    def has_any(self) -> bool:
        """Return whether there is any proposal."""
        return bool(self._ledger.rows(sa.select(proposals.c.id).limit(1)))

    def delayed(self) -> Delayed:
        """Return how many proposals to fill had to wait, and are due by now or wait still."""
        # Few runs have such proposals, and a list should not read all others for them.
        runs = [each.id for each in self.runs(RunKind.COMPLETE) if each.report.get(DELAYED)]
        if not runs:
            return Delayed(0, 0, None)
        wanted = ProposalFilter(states=(ProposalState.PROPOSED,), decision=ProposedDecision.FILL)
        columns = proposals.c
        query = _matching(sa.select(columns.due), wanted).where(
            columns.run.in_(runs), columns.due > columns.created
        )
        dues = [str(row["due"]) for row in self._ledger.rows(query)]
        time = now()
        waiting = [each for each in dues if each > time]
        return Delayed(len(dues) - len(waiting), len(waiting), min(waiting, default=None))

    # Runs

    def begin(self, run: ProposalRun) -> None:
        """Record a run that begins; one that is known already stays as it is."""
        with self._ledger.writing() as connection:
            if _run_row(connection, run.id) is None:
                row = {**_run_columns(run), "started": run.started or now()}
                _table(connection, proposal_runs).insert([row])

    def run(self, id: str) -> ProposalRun | None:
        """Return a run, or None."""
        query = sa.select(*_columns(proposal_runs)).where(proposal_runs.c.id == id)
        rows = self._ledger.rows(query)
        return _run(rows[0]) if rows else None

    def runs(self, kind: RunKind | None = None) -> list[ProposalRun]:
        """Return the runs, of one kind if it is given, oldest first."""
        query = sa.select(*_columns(proposal_runs))
        if kind is not None:
            query = query.where(proposal_runs.c.kind == str(kind))
        rows = self._ledger.rows(query.order_by(proposal_runs.c.started, proposal_runs.c.id))
        return [_run(row) for row in rows]

    def agreements(self) -> dict[int, float]:
        """Return which share of its reviewers agreed with what was decided about a proposal.

        Only of those about which several decided at once and not all said the same.
        """
        return {
            int(id): float(share)
            for run in self.runs(RunKind.IMPORT)
            if run.status is not RunStatus.UNDONE
            for id, share in run.report.get(AGREEMENTS, {}).items()
        }

    def report(self, run: str, report: Mapping[str, Any]) -> None:
        """Replace what is recorded of a run."""
        with self._ledger.writing() as connection:
            _table(connection, proposal_runs).update(run, {"report": dict(report)})

    def end(self, run: str, status: RunStatus = RunStatus.DONE) -> None:
        """Record that a run is at its end, or has another status."""
        with self._ledger.writing() as connection:
            _table(connection, proposal_runs).update(run, {"status": str(status)})

    # Changes

    def intend(
        self,
        run: str,
        changes: Sequence[ProposalChange] = (),
        new: Sequence[tuple[NewProposal, ProposalState]] = (),
        *,
        report: Mapping[str, Any] | None = None,
        goes_back: bool = False,
    ) -> list[ProposalChange]:
        """Write down the next changes of a run, and return them; nothing else shows them yet.

        New proposals, each with the state that it is to have, are there at once, as ``proposed``.
        ``report`` replaces that of the run. Changes that ``goes_back`` are those of an undo. Raises
        ProposalConflictError if a proposal has another state by now, and UsageError if no such
        change is allowed.
        """
        with self._ledger.writing() as connection:
            known = _run_row(connection, run)
            if known is None:
                raise UsageError(f"no run {run!r} of proposals: begin it first")
            if known["pending"]:
                raise ProposalConflictError(
                    f"the changes of run {run} are not finished yet: call the command again"
                )
            _check_pending(connection, changes)
            _check(connection, changes, goes_back)
            number = _last(connection, proposal_changes) + 1
            ids = _insert_proposals(connection, run, [each for each, _ in new])
            made = [
                ProposalChange(id, ProposalState.PROPOSED, state)
                for id, (_, state) in zip(ids, new, strict=True)
                if state != ProposalState.PROPOSED
            ]
            rows = [
                {**_change_columns(change), "id": number + place, "run": run}
                for place, change in enumerate([*changes, *made])
            ]
            for some in _chunks(rows):
                _table(connection, proposal_changes).insert(some)
            # An undo has to be finished in the graph, even if no proposal is changed by it.
            values: Row = {"pending": number if rows or goes_back else 0}
            if report is not None:
                values["report"] = dict(report)
            _table(connection, proposal_runs).update(run, values)
        return [_change(row) for row in rows]

    def pending(self) -> list[ProposalRun]:
        """Return the runs with changes that are written down and not finished, oldest first."""
        query = sa.select(*_columns(proposal_runs)).where(proposal_runs.c.pending > 0)
        return [_run(row) for row in self._ledger.rows(query.order_by(proposal_runs.c.pending))]

    def pending_changes(self, run: ProposalRun) -> list[ProposalChange]:
        """Return the changes of a run that are written down and not finished."""
        query = sa.select(*_columns(proposal_changes)).where(
            proposal_changes.c.run == run.id, proposal_changes.c.id >= run.pending
        )
        return [_change(row) for row in self._ledger.rows(query.order_by(proposal_changes.c.id))]

    def finish(
        self, run: ProposalRun, changes: Sequence[ProposalChange], *, ends: bool = False
    ) -> None:
        """Move the proposals as the changes of a run say, which are in the graph by now.

        ``ends`` says that they are the last ones of the run.
        """
        time = now()
        with self._ledger.writing() as connection:
            values: dict[int, Row] = {}
            for change in changes:
                values[change.proposal] = {
                    "state": str(change.after),
                    "decided": list(change.decided),
                    "reviewer": change.reviewer,
                    "changed": time,
                    "change": change.id,
                }
            # A decision that moves nothing is a skip.
            skipped = [change.proposal for change in changes if not change.moves]
            for id, skips in _skips(connection, skipped).items():
                values[id]["skips"] = skips + 1
            _table(connection, proposals).update_many(values)
            state: Row = {"pending": 0, **({"status": str(RunStatus.DONE)} if ends else {})}
            _table(connection, proposal_runs).update(run.id, state)

    def changes_of_run(self, run: str) -> list[ProposalChange]:
        """Return all changes that a run made, in order."""
        query = sa.select(*_columns(proposal_changes)).where(proposal_changes.c.run == run)
        return [_change(row) for row in self._ledger.rows(query.order_by(proposal_changes.c.id))]

    def changes(self, ids: Iterable[int]) -> dict[int, ProposalChange]:
        """Return changes by their numbers."""
        found = {}
        for some in _chunks(list(ids)):
            query = sa.select(*_columns(proposal_changes)).where(proposal_changes.c.id.in_(some))
            found.update({row["id"]: _change(row) for row in self._ledger.rows(query)})
        return found

    def history(self, proposal: int) -> list[tuple[ProposalChange, ProposalRun]]:
        """Return the changes of a proposal with the runs that made them, oldest first."""
        query = sa.select(*_columns(proposal_changes)).where(
            proposal_changes.c.proposal == proposal
        )
        changes = [_change(row) for row in self._ledger.rows(query.order_by(proposal_changes.c.id))]
        runs = {each.id: each for each in self.runs()} if changes else {}
        return [(change, runs[change.run]) for change in changes if change.run in runs]

    # Undo

    def undone_runs(self) -> set[str]:
        """Return the runs that are undone; one whose undo is undone is not."""
        return {run.id for run in self.runs() if run.status is RunStatus.UNDONE}

    def settle_undone(self) -> None:
        """Bring up to date which runs are undone: those with an undo that is not undone itself."""
        runs = {run.id: run for run in self.runs()}
        undoing: dict[str, list[str]] = {}
        for run in runs.values():
            if run.undoes is not None and not run.pending and run.status is not RunStatus.RUNNING:
                undoing.setdefault(run.undoes, []).append(run.id)

        def is_undone(run: str) -> bool:
            return any(not is_undone(by) for by in undoing.get(run, ()))

        with self._ledger.writing() as connection:
            table = _table(connection, proposal_runs)
            for id in undoing.keys() & runs.keys():
                status = RunStatus.UNDONE if is_undone(id) else RunStatus.DONE
                if runs[id].status is not status:
                    table.update(id, {"status": str(status)})

    # Stores

    def stores(self) -> list[str]:
        """Return the stores that proposals were compared with."""
        rows = self._ledger.rows(
            sa.select(proposal_stores.c.store).order_by(proposal_stores.c.store)
        )
        return [str(row["store"]) for row in rows]

    def forget_stores_but(self, store: str) -> None:
        """Forget that proposals were compared with other stores than one."""
        with self._ledger.writing() as connection:
            _table(connection, proposal_stores).delete(proposal_stores.c.store != store)

    def version_read(self, store: str) -> int | None:
        """Return up to which version of a store proposals were compared with it; None if never."""
        query = sa.select(proposal_stores.c.version).where(proposal_stores.c.store == store)
        rows = self._ledger.rows(query)
        return int(rows[0]["version"]) if rows else None

    def note_version(self, store: str, version: int) -> None:
        """Record that proposals were compared with a store up to a version."""
        with self._ledger.writing() as connection:
            _table(connection, proposal_stores).upsert([{"store": store, "version": version}])


def _table(connection: Connection, table: sa.Table) -> ChecksummedTable:
    return ChecksummedTable(connection, table, table_checksums)


def _columns(table: sa.Table) -> list[sa.Column[Any]]:
    return [column for column in table.columns if column.name != CHECKSUM]


def _chunks(elements: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(elements), ROWS_PER_INSERT):
        yield elements[start : start + ROWS_PER_INSERT]


def _matching(query: sa.Select[Any], wanted: ProposalFilter) -> sa.Select[Any]:
    columns = proposals.c
    if wanted.ids is not None:
        query = query.where(columns.id.in_(list(wanted.ids)))
    for name in ("item", "property", "value", "run", "model", "decision"):
        text = getattr(wanted, name)
        if text is not None:
            query = query.where(columns[name] == str(text))
    if wanted.states:
        query = query.where(columns.state.in_([str(each) for each in wanted.states]))
    if wanted.origins:
        query = query.where(columns.origin.in_([str(each) for each in wanted.origins]))
    if wanted.replacing is not None:
        is_plain = _replaces_nothing()
        query = query.where(sa.not_(is_plain) if wanted.replacing else is_plain)
    if wanted.min_probability is not None:
        query = query.where(columns.probability >= wanted.min_probability)
    if wanted.max_probability is not None:
        query = query.where(columns.probability <= wanted.max_probability)
    if wanted.since is not None:
        query = query.where(columns.changed >= wanted.since)
    if wanted.due_by is not None:
        query = query.where(columns.due <= wanted.due_by)
    return query


def _ordering(order: ProposalOrder) -> list[sa.ColumnElement[Any]]:
    return [key.desc() if is_falling else key for key, is_falling in _keys(order)]


def _keys(order: ProposalOrder) -> list[tuple[sa.ColumnElement[Any], bool]]:
    """Return what an order sorts by, each with whether the greatest come first."""
    columns = proposals.c
    skips = (columns.skips, False)
    id = (columns.id, False)
    match order:
        case ProposalOrder.GAIN:
            # As `Proposal.gain`.
            gain = columns.probability * (1 - columns.probability)
            gain = sa.case((_replaces_nothing(), gain), else_=columns.probability)
            return [skips, (gain, True), id]
        case ProposalOrder.DOUBT:
            # As `Proposal.doubt`.
            unproven = 1 - sa.func.coalesce(columns.proven, 0.0)
            return [skips, ((1 - columns.probability) * unproven, True), id]
        case ProposalOrder.PROBABILITY:
            return [skips, (columns.probability, True), id]
        case ProposalOrder.ITEM:
            return [skips, (columns.item, False), (columns.property, False), id]
        case ProposalOrder.NEWEST:
            return [skips, (columns.created, True), (columns.id, True)]


def _comes_after(order: ProposalOrder, id: int) -> sa.ColumnElement[bool]:
    """Return the condition that a proposal comes after another one in an order."""
    ways: list[sa.ColumnElement[bool]] = []
    equal: list[sa.ColumnElement[bool]] = []
    for key, is_falling in _keys(order):
        there = sa.select(key).where(proposals.c.id == id).correlate(None).scalar_subquery()
        ways.append(sa.and_(*equal, key < there if is_falling else key > there))
        equal.append(key == there)
    return sa.or_(*ways)


def _replaces_nothing() -> sa.ColumnElement[bool]:
    return sa.cast(proposals.c.replaces, sa.String) == "[]"


def _check_pending(connection: Connection, changes: Sequence[ProposalChange]) -> None:
    """Refuse changes of proposals that another run is changing."""
    first = connection.execute(
        sa.select(sa.func.min(proposal_runs.c.pending)).where(proposal_runs.c.pending > 0)
    ).scalar()
    if first is None or not changes:
        return
    query = sa.select(proposal_changes.c.proposal, proposal_changes.c.run)
    query = query.where(proposal_changes.c.id >= first)
    waiting = {row["proposal"]: row["run"] for row in connection.execute(query).mappings()}
    for change in changes:
        if change.proposal in waiting:
            raise ProposalConflictError(
                f"proposal {change.proposal} is being changed by run {waiting[change.proposal]}: "
                "try again"
            )


def _check(connection: Connection, changes: Sequence[ProposalChange], goes_back: bool) -> None:
    """Refuse changes that are not allowed, or not any more."""
    current: dict[int, Row] = {}
    for some in _chunks([change.proposal for change in changes]):
        columns = (proposals.c[name] for name in ("id", "state", "change"))
        query = sa.select(*columns).where(proposals.c.id.in_(some))
        current.update({row["id"]: dict(row) for row in connection.execute(query).mappings()})
    for change in changes:
        row = current.get(change.proposal)
        if row is None:
            raise UsageError(f"no proposal {change.proposal}: `catalograph review list` has them")
        if row["state"] != change.before or row["change"] != change.former:
            raise ProposalConflictError(
                f"proposal {change.proposal} is {row['state']} by now, and no longer as it was "
                "read: look at it again with `catalograph review show`"
            )
        is_allowed = may_go_back if goes_back else may_move
        if not is_allowed(change.before, change.after):
            raise UsageError(
                f"proposal {change.proposal} is {change.before}, which {change.after} cannot "
                "follow: take back the run that decided it with `catalograph undo`"
            )


def _last(connection: Connection, table: sa.Table) -> int:
    return int(connection.execute(sa.select(sa.func.max(table.c.id))).scalar() or 0)


def _insert_proposals(
    connection: Connection, run: str, new: Sequence[NewProposal]
) -> Sequence[int]:
    first = _last(connection, proposals) + 1
    time = now()
    rows = [
        {
            "id": first + place,
            "item": each.item,
            "property": each.property,
            "value": each.values[0],
            "values": list(each.values),
            "probability": each.probability,
            "candidates": [candidate.as_dict() for candidate in each.candidates],
            "decision": str(each.decision),
            "proven": each.proven,
            "evidence": dict(each.evidence),
            "origin": str(each.origin),
            "model": each.model,
            "run": run,
            "state": str(ProposalState.PROPOSED),
            "decided": [],
            "reviewer": None,
            "created": time,
            "changed": time,
            "due": each.due,
            "skips": 0,
            "change": 0,
            "replaces": list(each.replaces),
        }
        for place, each in enumerate(new)
    ]
    for some in _chunks(rows):
        _table(connection, proposals).insert(some)
    return range(first, first + len(rows))


def _skips(connection: Connection, ids: Sequence[int]) -> dict[int, int]:
    found: dict[int, int] = {}
    for some in _chunks(ids):
        query = sa.select(proposals.c.id, proposals.c.skips).where(proposals.c.id.in_(some))
        found.update({row["id"]: row["skips"] for row in connection.execute(query).mappings()})
    return found


def _proposal(row: Row) -> Proposal:
    return Proposal(
        item=row["item"],
        property=row["property"],
        values=tuple(row["values"]),
        probability=row["probability"],
        candidates=tuple(
            ProposedValue(each["value"], each["probability"], each.get("source", "vocabulary"))
            for each in row["candidates"]
        ),
        decision=ProposedDecision(row["decision"]),
        proven=row["proven"],
        evidence=row["evidence"],
        origin=ProposalOrigin(row["origin"]),
        model=row["model"],
        due=row["due"],
        replaces=tuple(row["replaces"]),
        id=row["id"],
        run=row["run"],
        state=ProposalState(row["state"]),
        decided=tuple(row["decided"]),
        reviewer=row["reviewer"],
        created=row["created"],
        changed=row["changed"],
        skips=row["skips"],
        change=row["change"],
    )


def _change_columns(change: ProposalChange) -> Row:
    return {
        "proposal": change.proposal,
        "before": str(change.before),
        "after": str(change.after),
        "decided": list(change.decided),
        "reviewer": change.reviewer,
        "former": change.former,
        "restores": change.restores,
    }


def _change(row: Row) -> ProposalChange:
    return ProposalChange(
        row["proposal"],
        ProposalState(row["before"]),
        ProposalState(row["after"]),
        tuple(row["decided"]),
        row["reviewer"],
        row["former"],
        row["restores"],
        row["id"],
        row["run"],
    )


def _run_row(connection: Connection, id: str) -> Row | None:
    query = sa.select(*_columns(proposal_runs)).where(proposal_runs.c.id == id)
    row = connection.execute(query).mappings().first()
    return None if row is None else dict(row)


def _run_columns(run: ProposalRun) -> Row:
    return {
        "id": run.id,
        "kind": str(run.kind),
        "started": run.started,
        "status": str(run.status),
        "reviewer": run.reviewer,
        "undoes": run.undoes,
        "report": dict(run.report),
        "pending": run.pending,
    }


def _run(row: Row) -> ProposalRun:
    return ProposalRun(
        row["id"],
        RunKind(row["kind"]),
        row["started"],
        RunStatus(row["status"]),
        row["reviewer"],
        row["undoes"],
        row["report"],
        row["pending"],
    )
