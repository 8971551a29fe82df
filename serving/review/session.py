"""Propose values, decide about them and take decisions back, in the ledger and in the graph alike.

Every method that changes something makes it a run, with an id like that of an ingest, whose name
``catalograph undo`` takes. A batch of a run is written down in the ledger, written to the graph as
one change, and finished in the ledger. Whoever opens a review next finishes what was cut off.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum

import pyarrow as pa
import pyarrow.compute as pc

from kg.home import Home
from kg.ingest.run_id import new_run_id
from kg.stores.history import undo as undo_in_graph
from kg.stores.history import undoing
from kg.stores.journal import Operation
from kg.stores.merge import Changes, StoredRows
from kg.stores.protocol import GraphStore, PutReport
from kg.stores.tables import Row, chunks
from schema.errors import ProposalConflictError, UsageError
from schema.ledger import Ledger
from schema.ledger_proposals import AGREEMENTS, ProposalRecords
from schema.ontology import Ontology, PropertySpec
from schema.progress import ProgressCallback, no_progress
from schema.proposals import (
    DECIDED,
    OPEN,
    WRITTEN,
    NewProposal,
    Proposal,
    ProposalChange,
    ProposalFilter,
    ProposalRun,
    ProposalState,
    ProposedDecision,
    RunKind,
    RunStatus,
)
from schema.terms import CATEGORY, SAME_AS, TRUSTED_RANKS, Rank, now, statement_id
from serving.review.graph import (
    CellName,
    CellWrite,
    decisions,
    graph_changes,
    is_inherited,
    is_settled,
    predictions,
    replaced_by,
    rows_of_cells,
)
from serving.review.store_of_proposals import check_store

AT_ONCE = 10_000
"""Proposals that are changed together."""


class NotWritten(StrEnum):
    """Why a value is not proposed or written beside what the store has."""

    HAS_VALUE = "has_value"
    """The item has a trusted value, and the property has one; or it has this very value."""
    REJECTED = "rejected"
    """A person has rejected this value."""
    APPLIED = "applied"
    """The cell shows an earlier prediction, which only a run that writes replaces."""
    NO_ITEM = "no_item"
    """The catalogue has no such item any more."""
    CHANGED = "changed"
    """The value that was to be replaced is not stored any more, or already the proposed one."""
    KEPT = "kept"
    """A person has said that the value which was to be replaced is right."""
    INHERITED = "inherited"
    """The item has the value from its product, where it is to be replaced."""


@dataclass
class AddReport:
    """What became of proposals: how many were ``added``, and how many of these ``applied``.

    ``replaced`` counts older proposals of the same cells that have expired, ``written`` the values
    of the applied ones, ``new`` those of them that the store did not have, and ``not_written``
    values to fill or to put in the place of others that were left out, by the reason.
    """

    added: int = 0
    applied: int = 0
    replaced: int = 0
    written: int = 0
    new: int = 0
    not_written: Counter[NotWritten] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a person says of a proposal.

    Attributes:
        proposal: the proposal
        after: the state that it is to have, None if it is left to others
        by: who says so, None if nobody does
        decided: the values that its cell has by that
        agreement: the share of its reviewers that said so
    """

    proposal: Proposal
    after: ProposalState | None
    by: str | None
    decided: tuple[str, ...] = ()
    agreement: float = 1.0


@dataclass
class ReviewReport:
    """What a run did: how many proposals it ``changed``.

    ``expired`` counts those that it could not decide, because other values are stored by now.
    """

    run: str
    changed: int = 0
    expired: int = 0


class Review:
    """The proposals of a catalogue: its graph, its ledger, and what may be done with them.

    ``named`` is how the ledger names the store, by default by its URL.
    """

    def __init__(
        self,
        store: GraphStore,
        ledger: Ledger,
        ontology: Ontology | None = None,
        named: str | None = None,
    ) -> None:
        self.records = ProposalRecords(ledger)
        self.store = store
        self._named = named or store.url
        self._specs = {} if ontology is None else ontology.properties
        # Otherwise a proposal of that name is about the catalogue's own property.
        self._has_categories = CATEGORY not in self._specs

    def recover(self) -> int:
        """Make the changes that were written down and not finished; return how many runs had some.

        Doing so again changes nothing.
        """
        runs = self.records.pending()
        for run in runs:
            changes = self.records.pending_changes(run)
            self._write(run, changes)
            self.records.finish(run, changes, ends=run.kind is not RunKind.COMPLETE)
        if any(run.kind is RunKind.UNDO for run in runs):
            self.records.settle_undone()
        return len(runs)

    # Propose

    def begin(
        self,
        kind: RunKind = RunKind.ADD,
        *,
        by: str | None = None,
        run: str | None = None,
        report: Mapping[str, object] | None = None,
    ) -> ProposalRun:
        """Begin a run to add proposals in; ``by`` names the person who does, if one does.

        ``report`` is what it was called with.
        """
        begun = ProposalRun(run or new_run_id(), kind, now(), reviewer=by, report=report or {})
        self.records.begin(begun)
        return begun

    def add(
        self,
        run: ProposalRun,
        proposals: Iterable[NewProposal],
        *,
        apply: bool = False,
        report: dict[str, object] | None = None,
    ) -> AddReport:
        """Add proposals, and apply those that may be, if ``apply`` says so.

        Older proposals of the same cells expire. Those that are applied are kept, and the new ones
        left out, unless these are to be applied themselves. What a source states or a person has
        rejected is not proposed. One that replaces a stored value is about all that are stored of
        its cell, if the property has one value; it is never applied, and not proposed if a person
        has kept that value. ``report`` replaces that of the run in the same transaction.
        """
        if self.records.version_read(self._named) is None:
            # What sources state from now on is seen by `expire`.
            self.records.note_version(self._named, self._version())
        wanted = {each.cell: each for each in proposals}
        stored = self._rows(item for item, _ in wanted)
        rows = self._rows_of_cells(stored, wanted.keys())
        older = {each.cell: each for each in self.records.of_cells(wanted.keys())}
        kept = self._kept([each for each in wanted.values() if each.replaces])
        time = now()
        made = AddReport()
        new: list[tuple[NewProposal, ProposalState]] = []
        expiring: list[ProposalChange] = []
        for cell, proposal in wanted.items():
            # What is only to be reviewed would not be written anyway.
            is_wanted = proposal.decision is ProposedDecision.FILL or proposal.replaces
            not_written = made.not_written if is_wanted else Counter[NotWritten]()
            if cell[0] not in stored.items:
                not_written[NotWritten.NO_ITEM] += len(proposal.values)
                continue
            left = proposal
            if proposal.replaces:
                if self._is_kept(proposal, kept.get(cell, ())):
                    not_written[NotWritten.KEPT] += len(proposal.values)
                    continue
                left = self._replacing(proposal, rows.get(cell, ()), not_written)
            left = self._allowed(left, rows.get(cell, ()), not_written)
            if not left.values:
                continue
            is_applied = apply and _may_apply(left, time)
            former = older.get(cell)
            if former is not None and former.state is ProposalState.APPLIED and not apply:
                not_written[NotWritten.APPLIED] += len(left.values)
                continue
            if former is not None:
                expiring.append(_change(former, ProposalState.EXPIRED))
            new.append((left, ProposalState.APPLIED if is_applied else ProposalState.PROPOSED))
        changes = self.records.intend(run.id, expiring, new, report=report)
        put = self._make(run, changes)
        made.added = len(new)
        made.replaced = len(expiring)
        applied = [each for each, state in new if state is ProposalState.APPLIED]
        made.applied = len(applied)
        made.written = sum(len(each.values) for each in applied)
        made.new = put.new_statements
        return made

    def add_all(
        self, run: ProposalRun, proposals: Sequence[NewProposal], *, apply: bool = False
    ) -> AddReport:
        """Add any number of proposals, some thousands at once."""
        made = AddReport()
        for some in chunks(proposals, AT_ONCE):
            part = self.add(run, some, apply=apply)
            made.added += part.added
            made.applied += part.applied
            made.replaced += part.replaced
            made.written += part.written
            made.new += part.new
            made.not_written += part.not_written
        return made

    def end(self, run: ProposalRun) -> None:
        """Record that all proposals of a run are added."""
        self.records.end(run.id)

    def apply(self, wanted: ProposalFilter) -> ReviewReport:
        """Apply the proposals of a filter that their maker would fill and that are due."""
        wanted = replace(wanted, states=(ProposalState.PROPOSED,), due_by=now())
        wanted = replace(wanted, decision=ProposedDecision.FILL, replacing=False)
        found = self.records.find(wanted)
        return self._decide(RunKind.APPLY, found, ProposalState.APPLIED, None)

    # Decide

    def accept(self, proposals: Sequence[Proposal], by: str) -> ReviewReport:
        """Accept proposals: their values are ``accepted`` statements from now on.

        Raises ProposalConflictError if one of them cannot be decided about any more.
        """
        return self._decide(
            RunKind.ACCEPT, proposals, ProposalState.ACCEPTED, by, lambda each: each.values
        )

    def reject(self, proposals: Sequence[Proposal], by: str) -> ReviewReport:
        """Reject proposals: their values are not proposed for these cells again.

        Raises ProposalConflictError if one of them cannot be decided about any more.
        """
        return self._decide(RunKind.REJECT, proposals, ProposalState.REJECTED, by)

    def edit(self, proposal: Proposal, values: Sequence[str], by: str) -> ReviewReport:
        """Give a cell other values than those proposed, which count as rejected.

        Raises UsageError if the values cannot be those of the property, or are what is proposed,
        and ProposalConflictError if the proposal cannot be decided about any more.
        """
        texts = self.checked_values(proposal, values)
        return self._decide(RunKind.EDIT, [proposal], ProposalState.EDITED, by, lambda each: texts)

    def checked_values(self, proposal: Proposal, values: Sequence[str]) -> tuple[str, ...]:
        """Return values for the cell of a proposal as its property shows them.

        Raises UsageError if they cannot be those of the property, or are what is proposed.
        """
        spec = self._spec(proposal.property)
        texts = tuple(dict.fromkeys(spec.shown(each.strip()) for each in values))
        self._check_values(proposal, spec, texts)
        return texts

    def has_several(self, proposal: Proposal) -> bool:
        """Return whether the cell of a proposal may have several values."""
        return self._spec(proposal.property).cardinality != "one"

    def skip(self, proposals: Sequence[Proposal], by: str) -> ReviewReport:
        """Leave proposals to others: they stay as they are, and come last in a list."""
        return self._decide(RunKind.SKIP, proposals, None, by)

    def decide(self, verdicts: Sequence[Verdict], by: str) -> ReviewReport:
        """Take decisions of several kinds as one run of ``by``, who may have gathered them.

        Raises ProposalConflictError if one of the proposals cannot be decided about any more.
        """
        return self._take(RunKind.IMPORT, verdicts, by)

    # Expire

    def expire(self, run: str | None = None) -> int:
        """Expire the proposals of cells that sources state since the last look; return how many.

        So do those of items that are gone. ``run`` is the run to make that change in, if it
        belongs to one.
        """
        known = self.records.version_read(self._named)
        version = self._version()
        if known is None or version <= known:
            if known is None:
                self.records.note_version(self._named, version)
            return 0
        found: list[Proposal] = []
        if self.records.has_open():
            cells, retracted, items = self._changed(known)
            looked = [*self.records.of_cells(cells), *self._replacing_any(retracted)]
            expired = {each.id: each for each in self._settled(looked)}
            for item in items:
                # Also if it is there again: what was predicted of it is gone.
                gone = self.records.find(ProposalFilter(item=item, states=OPEN))
                expired |= {each.id: each for each in gone}
            found = list(expired.values())
        if found:
            made = ProposalRun(run or new_run_id(), RunKind.EXPIRE, now())
            self.records.begin(made)
            made = self.records.run(made.id) or made
            for some in chunks(found, AT_ONCE):
                changes = [_change(each, ProposalState.EXPIRED) for each in some]
                self._make(made, self.records.intend(made.id, changes))
            self.records.end(made.id)
        self.records.note_version(self._named, version)
        return len(found)

    # Undo

    def undo(
        self, run: str, by: str, progress: ProgressCallback = no_progress
    ) -> tuple[PutReport, int]:
        """Take back what a run changed, in graph and ledger, as the run ``by``.

        Returns what changed in the graph, and how many proposals did. A proposal that a later run
        has changed stays as that left it. Raises UsageError if there is no such run.
        """
        known = self.records.run(run)
        if known is None:
            return undo_in_graph(self.store, run, by, progress), 0
        made = ProposalRun(by, RunKind.UNDO, now(), undoes=run)
        changes = self._changes_back(known, made)
        if not changes and known.status is RunStatus.UNDONE:
            return PutReport(0, 0), 0
        self.records.begin(made)
        intended = self.records.intend(by, changes, goes_back=True)
        report = self._write(made, intended, progress)
        self.records.finish(made, intended, ends=True)
        self.records.settle_undone()
        return report, len(intended)

    def _changes_back(self, run: ProposalRun, by: ProposalRun) -> list[ProposalChange]:
        """Return the changes by which a run is taken back by another one."""
        made: dict[int, list[ProposalChange]] = {}
        for change in self.records.changes_of_run(run.id):
            made.setdefault(change.proposal, []).append(change)
        created = {each.id: each for each in self.records.find(ProposalFilter(run=run.id))}
        current = created | self.records.get(made)
        latest = self._last_changes(current.values())
        # To take back an undo is to count what it took back as done.
        undone = (self.records.undone_runs() | {run.id}) - {run.undoes}
        targets: dict[int, _Target] = {}
        back: dict[int, int] = {}
        for id in current:
            own = made.get(id)
            if own is None and 0 in latest[id]:
                targets[id] = _Target(ProposalState.UNDONE)
            elif own is not None and own[-1].id in latest[id]:
                back[id] = own[0].former
        targets |= self._states_before(current, back, undone)
        return self._without_conflicts(current, targets, by)

    def _last_changes(self, proposals: Iterable[Proposal]) -> dict[int, set[int]]:
        """Return the numbers of the change by which each proposal is as it is.

        That is the last one that is more than a skip, and the one whose outcome it brings back; 0
        stands for the proposal as it was made.
        """
        latest: dict[int, set[int]] = {}
        waiting = {each.id: each.change for each in proposals}
        while waiting:
            found = self.records.changes(number for number in waiting.values() if number)
            further = {}
            for id, number in waiting.items():
                change = found.get(number)
                if change is None:
                    latest[id] = {0}
                elif not change.moves:
                    further[id] = change.former
                else:
                    is_as_made = change.after is ProposalState.PROPOSED
                    brought_back = change.restores or is_as_made
                    latest[id] = {number, change.restores} if brought_back else {number}
            waiting = further
        return latest

    def _states_before(
        self, proposals: Mapping[int, Proposal], numbers: Mapping[int, int], undone: Collection[str]
    ) -> dict[int, _Target]:
        """Return what proposals were by the changes with these numbers, 0 if as they were made.

        What runs changed that are undone is passed over.
        """
        targets: dict[int, _Target] = {}
        waiting = dict(numbers)
        while waiting:
            found = self.records.changes(number for number in waiting.values() if number)
            further = {}
            for id, number in waiting.items():
                change = found.get(number)
                if change is None:
                    is_gone = proposals[id].run in undone
                    state = ProposalState.UNDONE if is_gone else ProposalState.PROPOSED
                    targets[id] = _Target(state)
                elif change.moves and change.run not in undone:
                    origin = change.restores or change.id
                    targets[id] = _Target(change.after, change.decided, change.reviewer, origin)
                else:
                    further[id] = change.former
            waiting = further
        return targets

    def _without_conflicts(
        self, current: dict[int, Proposal], targets: dict[int, _Target], by: ProposalRun
    ) -> list[ProposalChange]:
        """Return the changes to some targets; no cell has two open proposals by them.

        Of a cell that a source states by now, or that a newer proposal is about, an older one does
        not come back, nor does one that replaces what is not stored.
        """
        cells = {current[id].cell for id in targets}
        stored = self._rows(item for item, _ in cells)
        rows = self._rows_of_cells(stored, cells)
        replacing = [id for id in targets if current[id].replaces]
        after = self._rows_after(current, targets, replacing, stored, by) if replacing else {}
        others: dict[CellName, list[Proposal]] = {}
        for each in self.records.of_cells(cells, (*OPEN, *DECIDED)):
            if each.id not in targets:
                others.setdefault(each.cell, []).append(each)
        changes = []
        for id, target in targets.items():
            proposal = current[id]
            around = others.get(proposal.cell, [])
            spec = self._spec(proposal.property)
            if proposal.replaces:
                stated = is_settled(proposal, spec, after.get(proposal.cell, ()))
            else:
                stated = is_settled(proposal, spec, rows.get(proposal.cell, ()), but=by.undoes)
            if target.state in OPEN and (stated or self._speaks_against(around, proposal)):
                target = _Target(ProposalState.EXPIRED)
            if target.state in DECIDED:
                rivals = [each for each in around if each.state in OPEN]
                changes += [_change(each, ProposalState.EXPIRED) for each in rivals]
                others[proposal.cell] = [each for each in around if each not in rivals]
            if target.state != proposal.state:
                changes.append(_change_to(proposal, target))
        return changes

    def _rows_after(
        self,
        current: Mapping[int, Proposal],
        targets: Mapping[int, _Target],
        ids: Sequence[int],
        stored: StoredRows,
        by: ProposalRun,
    ) -> dict[CellName, list[Row]]:
        """Return the statements of some proposals' cells as they are once ``by`` is made.

        ``stored`` are the rows as they are before it.
        """
        cells = {current[id].cell for id in ids}
        statements = {
            id: row
            for id, row in stored.statements.items()
            if (row["item"], row["property"]) in cells
        }
        about = {
            statement_id(*current[id].cell, value)
            for id in ids
            for value in (*current[id].replaces, *current[id].values)
        }
        back = undoing(self.store, by.undoes or "", (), [*(about | statements.keys())])
        statements = _with_changes(statements, back)
        changes = [_change_to(current[id], target) for id, target in targets.items()]
        writes = self._writes([change for change in changes if change.moves], by)
        writes = {cell: write for cell, write in writes.items() if cell in cells}
        runs = {each.id for each in self.records.runs()}
        rows = StoredRows(stored.items, statements)
        made = graph_changes(
            writes, runs, rows, self.store.order, has_categories=self._has_categories
        )
        after = StoredRows(stored.items, _with_changes(statements, made))
        return self._rows_of_cells(after, cells)

    def _speaks_against(self, others: Sequence[Proposal], proposal: Proposal) -> bool:
        """Return whether other proposals of a cell forbid that one of it is open."""
        spec = self._spec(proposal.property)
        own = {spec.key(value) for value in proposal.values}

        def says(values: Iterable[str]) -> bool:
            return bool(own & {spec.key(value) for value in values})

        if proposal.replaces and self._is_kept(proposal, _rejected_findings(others)):
            return True
        for each in others:
            if each.state in OPEN:
                return True
            is_refused = each.state is not ProposalState.ACCEPTED and says(each.values)
            if is_refused:
                return True
            if proposal.replaces or each.state is ProposalState.REJECTED:
                # What one replaces is in the graph, or else it is settled.
                continue
            if spec.cardinality == "one" or says(each.decided) or says(each.replaces):
                return True
        return False

    # Steps

    def _decide(
        self,
        kind: RunKind,
        proposals: Sequence[Proposal],
        after: ProposalState | None,
        by: str | None,
        decided: Callable[[Proposal], tuple[str, ...]] = lambda each: (),
    ) -> ReviewReport:
        person = None if kind is RunKind.APPLY else by
        verdicts = [Verdict(each, after, person, decided(each)) for each in proposals]
        return self._take(kind, verdicts, by)

    def _take(self, kind: RunKind, verdicts: Sequence[Verdict], by: str | None) -> ReviewReport:
        for verdict in verdicts:
            if verdict.proposal.state not in OPEN:
                raise ProposalConflictError(_told_conflict(verdict.proposal))
        agreements = {
            str(each.proposal.id): round(each.agreement, 4)
            for each in verdicts
            if each.agreement < 1
        }
        told = {AGREEMENTS: agreements} if agreements else {}
        run = ProposalRun(new_run_id(), kind, now(), reviewer=by, report=told)
        report = ReviewReport(run.id)
        if not verdicts:
            return report
        self.records.begin(run)
        for some in chunks(verdicts, AT_ONCE):
            moved = [each.proposal for each in some if each.after is not None]
            settled = {each.id for each in self._settled(moved)}
            origins = self._origins([each.proposal for each in some if each.after is None])
            changes = []
            for verdict in some:
                each = verdict.proposal
                if each.id in settled:
                    changes.append(_change(each, ProposalState.EXPIRED))
                elif verdict.after is None:
                    changes.append(replace(_change(each, each.state), restores=origins[each.id]))
                else:
                    changes.append(_change(each, verdict.after, verdict.decided, verdict.by))
            self._make(run, self.records.intend(run.id, changes))
            report.changed += len(some) - len(settled)
            report.expired += len(settled)
        self.records.end(run.id)
        return report

    def _origins(self, proposals: Sequence[Proposal]) -> dict[int, int]:
        """Return the number of the change by which each proposal says what it says; 0 if none."""
        known = self.records.changes(each.change for each in proposals)
        return {
            each.id: known[each.change].restores or each.change if each.change in known else 0
            for each in proposals
        }

    def _make(self, run: ProposalRun, changes: Sequence[ProposalChange]) -> PutReport:
        """Write changes that are written down to the graph, and finish them."""
        report = self._write(run, changes)
        if changes:
            self.records.finish(run, changes)
        return report

    def _write(
        self,
        run: ProposalRun,
        changes: Sequence[ProposalChange],
        progress: ProgressCallback = no_progress,
    ) -> PutReport:
        """Write what changes say to the graph; again, it changes nothing."""
        report = PutReport(0, 0)
        if run.undoes is not None:
            # Some runs change nothing in the graph: they only propose, or skip.
            with suppress(UsageError):
                report = undo_in_graph(self.store, run.undoes, run.id, progress)
        writes = self._writes([change for change in changes if change.moves], run)
        if not writes:
            return report
        runs = {each.id for each in self.records.runs()}
        items = list(dict.fromkeys(item for item, _ in writes))
        put = self.store.change(
            items,
            lambda stored: graph_changes(
                writes, runs, stored, self.store.order, has_categories=self._has_categories
            ),
            run=run.id,
        )
        return report.plus(put)

    def _writes(
        self, changes: Sequence[ProposalChange], run: ProposalRun
    ) -> dict[CellName, CellWrite]:
        """Return what the cells of some changes have to say once these are made."""
        moving = {change.proposal: change for change in changes}
        touched = set(moving)
        if run.undoes is not None:
            # Of what a later run has changed the graph has got parts back, which have to go.
            touched |= {change.proposal for change in self.records.changes_of_run(run.undoes)}
        moved = self.records.get(touched)
        writes = {each.cell: CellWrite() for each in moved.values()}
        written = {each.id: each for each in self.records.of_cells(writes, WRITTEN)}
        known = self.records.changes(each.change for each in written.values())
        known |= self.records.changes(each.change for each in moved.values())
        last = {
            id: moving.get(id) or known[each.change]
            for id, each in (written | moved).items()
            if id in moving or each.change in known
        }
        origins = {id: change.restores or change.id for id, change in last.items()}
        made = {change.id: change for change in changes}
        made |= self.records.changes(set(origins.values()) - made.keys())
        runs = {each.id: each for each in self.records.runs()}
        for id in sorted(last, key=lambda id: origins[id]):
            origin = made.get(origins[id])
            if last[id].after not in WRITTEN or origin is None or origin.run not in runs:
                continue
            proposal = (written | moved)[id]
            write = writes[proposal.cell]
            by = runs[origin.run]
            if last[id].after is ProposalState.APPLIED:
                write.predicted.update(predictions(proposal, by))
            else:
                spec = self._spec(proposal.property)
                write.decided.update(decisions(proposal, origin, by, spec))
        if run.undoes is None:
            for change in changes:
                if change.before is ProposalState.APPLIED or change.after in WRITTEN:
                    writes[moved[change.proposal].cell].clears = True
        return writes

    # Looks

    def _spec(self, name: str) -> PropertySpec:
        if name == SAME_AS:
            return PropertySpec(SAME_AS, "identifier", cardinality="many")
        return self._specs.get(name, PropertySpec(name))

    def _rows(self, items: Iterable[str]) -> StoredRows:
        wanted = list(dict.fromkeys(items))
        return self.store.rows_about(wanted) if wanted else StoredRows()

    def _rows_of_cells(
        self, stored: StoredRows, cells: Collection[CellName]
    ) -> dict[CellName, list[Row]]:
        return rows_of_cells(stored, cells, has_categories=self._has_categories)

    def _settled(self, proposals: Iterable[Proposal]) -> list[Proposal]:
        """Return the proposals whose cells a source states, or whose items are gone."""
        found = list(proposals)
        stored = self._rows(each.item for each in found)
        rows = self._rows_of_cells(stored, {each.cell for each in found})
        return [
            each
            for each in found
            if each.item not in stored.items
            or is_settled(each, self._spec(each.property), rows.get(each.cell, ()))
        ]

    def _allowed(
        self, proposal: NewProposal, rows: Iterable[Row], not_written: Counter[NotWritten]
    ) -> NewProposal:
        """Return a proposal with those of its values that may stand beside what is stored."""
        spec = self._spec(proposal.property)
        kept = []
        for value in proposal.values:
            reason = why_not_written(value, spec, rows, replaces=bool(proposal.replaces))
            if reason is None:
                kept.append(value)
            else:
                not_written[reason] += 1
        return replace(proposal, values=tuple(kept))

    def _replacing(
        self, proposal: NewProposal, rows: Sequence[Row], not_written: Counter[NotWritten]
    ) -> NewProposal:
        """Return a proposal with all that it replaces, or without values if that cannot be."""
        spec = self._spec(proposal.property)
        wrong = spec.key(proposal.replaces[0])
        replaces = replaced_by(proposal, spec, rows)
        reason = None
        if not replaces or spec.key(replaces[0]) != wrong:
            reason = NotWritten.CHANGED
        elif all(is_inherited(row) for row in rows if row["value"] == replaces[0]):
            reason = NotWritten.INHERITED
        if reason is not None:
            not_written[reason] += len(proposal.values)
            return replace(proposal, values=())
        return replace(proposal, replaces=replaces)

    def _kept(self, proposals: Sequence[NewProposal]) -> dict[CellName, list[Proposal]]:
        """Return what was found in the cells of some findings before, and rejected."""
        found: dict[CellName, list[Proposal]] = {}
        cells = {each.cell for each in proposals}
        for each in _rejected_findings(self.records.of_cells(cells, (ProposalState.REJECTED,))):
            found.setdefault(each.cell, []).append(each)
        return found

    def _is_kept(self, proposal: NewProposal, rejected: Sequence[Proposal]) -> bool:
        """Return whether a person has said that the value which is found to be wrong is right."""
        key = self._spec(proposal.property).key
        wrong = key(proposal.replaces[0])
        return proposal.is_finding and any(key(each.replaces[0]) == wrong for each in rejected)

    def _check_values(self, proposal: Proposal, spec: PropertySpec, values: Sequence[str]) -> None:
        if not values or not all(values):
            raise UsageError(
                "an empty text is no value: give the right one, or reject the proposal"
            )
        if len(values) > 1 and spec.cardinality == "one":
            raise UsageError(
                f"{len(values)} values for {proposal.property}, of which an item has one by "
                "ontology.toml: give one"
            )
        if {spec.key(each) for each in values} == {spec.key(each) for each in proposal.values}:
            raise UsageError(f"{', '.join(values)} is what proposal {proposal.id} says: accept it")

    def _version(self) -> int:
        """Return the store's version."""
        version = self.store.version_at(self.store.revision())
        if version is not None:
            return version
        version = -1
        for batch in self.store.changes(self.records.version_read(self._named) or -1):
            version = batch.version
        return version

    def _changed(self, version: int) -> tuple[set[CellName], set[str], set[str]]:
        """Return what has changed since a version.

        These are the cells of statements that are more than predicted, statements that are gone, by
        their ids, and items that are.
        """
        cells: set[CellName] = set()
        retracted: set[str] = set()
        gone: set[str] = set()
        of_categories = ProposalFilter(property=CATEGORY, states=OPEN)
        proposed = {each.item for each in self.records.find(of_categories)}
        for batch in self.store.changes(version):
            rows = batch.changes
            is_put = pc.equal(rows["operation"], str(Operation.STATEMENT))
            stated = rows.filter(pc.and_(is_put, pc.not_equal(rows["rank"], str(Rank.PREDICTED))))
            cells.update(
                zip(stated["item"].to_pylist(), stated["property"].to_pylist(), strict=True)
            )
            taken = rows.filter(pc.equal(rows["operation"], str(Operation.RETRACT)))
            retracted.update(taken["statement"].to_pylist())
            cells.update((id, CATEGORY) for id in _categorised(rows) if id in proposed)
            deleted = rows.filter(pc.equal(rows["operation"], str(Operation.DELETE)))
            gone.update(deleted["id"].to_pylist())
        return cells, retracted, gone

    def _replacing_any(self, statements: Collection[str]) -> list[Proposal]:
        """Return the open proposals that replace one of some statements, given by their ids."""
        if not statements:
            return []
        return [
            each
            for each in self.records.find(ProposalFilter(states=OPEN, replacing=True))
            if any(statement_id(*each.cell, value) in statements for value in each.replaces)
        ]


def _categorised(rows: pa.Table | pa.RecordBatch) -> list[str]:
    """Return the ids of the items that changes put with a category."""
    is_put = pc.equal(rows["operation"], str(Operation.ITEM))
    put = rows.filter(pc.and_(is_put, pc.is_valid(rows["category"])))
    ids: list[str] = put["id"].to_pylist()
    return ids


@dataclass(frozen=True)
class _Target:
    """What a proposal is to be again."""

    state: ProposalState
    decided: tuple[str, ...] = ()
    reviewer: str | None = None
    restores: int = 0


@contextmanager
def open_review(home: Home) -> Iterator[Review]:
    """Open the proposals of a home to change them, and finish what was cut off.

    Raises UsageError if they are about another store than the home's.
    """
    with home.store() as store, home.ledger() as ledger:
        review = review_of(home, store, ledger)
        review.recover()
        yield review


def review_of(
    home: Home, store: GraphStore, ledger: Ledger, ontology: Ontology | None = None
) -> Review:
    """Return the review of a home, whose store and ledger are open.

    Raises UsageError if its proposals are about another store.
    """
    check_store(home, store, ProposalRecords(ledger))
    named = home.relative_url(store.url)
    return Review(store, ledger, ontology or home.ontology_or_none(), named)


def why_not_written(
    value: str, spec: PropertySpec, stored: Iterable[Row], *, replaces: bool = False
) -> NotWritten | None:
    """Return why a value is not written beside the ``stored`` statements of its cell.

    One that ``replaces`` what is stored may be stored itself.
    """
    key = spec.key(value)
    reason = None
    for row in stored:
        is_same = spec.key(row["value"]) == key
        if row["rank"] == Rank.REJECTED and is_same:
            return NotWritten.REJECTED
        is_trusted = row["rank"] in TRUSTED_RANKS and not replaces
        if is_trusted and (is_same or spec.cardinality == "one"):
            reason = NotWritten.HAS_VALUE
    return reason


def _may_apply(proposal: NewProposal, time: str) -> bool:
    is_due = proposal.due is not None and proposal.due <= time and not proposal.replaces
    return is_due and proposal.decision is ProposedDecision.FILL


def _change(
    proposal: Proposal,
    after: ProposalState,
    decided: tuple[str, ...] = (),
    reviewer: str | None = None,
) -> ProposalChange:
    return ProposalChange(
        proposal.id, proposal.state, after, decided, reviewer, former=proposal.change
    )


def _change_to(proposal: Proposal, target: _Target) -> ProposalChange:
    change = _change(proposal, target.state, target.decided, target.reviewer)
    return replace(change, restores=target.restores)


def _rejected_findings(proposals: Iterable[Proposal]) -> list[Proposal]:
    return [each for each in proposals if each.state is ProposalState.REJECTED and each.is_finding]


def _with_changes(statements: Mapping[str, Row], changes: Changes) -> dict[str, Row]:
    """Return rows of statements by id as some changes leave them."""
    left = {id: row for id, row in statements.items() if id not in changes.retracted}
    return left | {row["id"]: row for row in changes.statements}


def _told_conflict(proposal: Proposal) -> str:
    by = f" by {proposal.reviewer}" if proposal.reviewer else ""
    return (
        f"proposal {proposal.id} ({proposal.item}, {proposal.property}) is {proposal.state}{by} "
        f"since {proposal.changed}: `catalograph review show {proposal.id}` tells which run did "
        "that, and `catalograph undo` takes it back"
    )
