"""Proposals in any order, cut off at any write: ledger and graph always say the same."""

import itertools

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from kg.stores.memory import MemoryStore
from kg.stores.references import Origin
from kg.stores.tables import items_table, statements_table
from schema.ledger import Ledger, metadata
from schema.ontology import Ontology, PropertySpec
from schema.proposals import (
    OPEN,
    NewProposal,
    ProposalFilter,
    ProposalOrigin,
    ProposalState,
    ProposedDecision,
    ProposedValue,
    RunKind,
)
from schema.terms import TRUSTED_RANKS, Item, Provenance, Statement
from serving.review import session
from serving.review.agreement import disagreements
from serving.review.graph import is_settled
from serving.review.session import Review

ITEMS = ("1", "2")
PROPERTIES = ("colour", "uses")
VALUES = ("red", "blue", "green")
SOURCES = ("erp", "shop")
FINDINGS = (ProposalOrigin.AUDIT, ProposalOrigin.CONFLICT)
ONTOLOGY = Ontology(
    [
        PropertySpec("colour", values=VALUES, counts=(3, 2, 1)),
        PropertySpec("uses", values=VALUES, counts=(3, 2, 1), cardinality="many"),
    ]
)
PAST = "2000-01-01T00:00:00+00:00"


class CutError(Exception):
    """The process is killed."""


class Fuse:
    """Burns down with every write; the one at which it ends is cut off before it or after it."""

    def __init__(self):
        self.left = None

    def around(self, write):
        def cut(*arguments, **options):
            self.burn()
            result = write(*arguments, **options)
            self.burn()
            return result

        return cut

    def burn(self):
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise CutError


@pytest.fixture(scope="module")
def ledger():
    """A ledger in memory: hundreds of examples would sync a file thousands of times."""
    with Ledger("sqlite://") as opened:
        yield opened


class ReviewMachine(RuleBasedStateMachine):
    """Proposals about four cells of two items."""

    ledger: Ledger

    @initialize()
    def prepare(self):
        with self.ledger.writing() as connection:
            for table in metadata.sorted_tables:
                connection.execute(table.delete())
        self.store = MemoryStore()
        self.store.put(items_table(Item(id) for id in ITEMS), None, run="first")
        self.fuse = Fuse()
        self.cut_off(self.store, "change")
        self.number = 0
        self.last = None
        self.open()
        self.review.expire()

    def open(self):
        self.review = Review(self.store, self.ledger, ONTOLOGY)
        self.cut_off(self.review.records, "intend", "finish")

    def cut_off(self, written, *methods):
        for name in methods:
            setattr(written, name, self.fuse.around(getattr(written, name)))

    def run(self, fuse, act, undoable=True):
        """Do something, cut off where the fuse ends; what is written down is done all the same."""
        before = self.told()
        runs = {each.id for each in self.review.records.runs()}
        self.fuse.left = fuse
        try:
            act()
        except CutError:
            self.fuse.left = None
            self.open()
            self.review.recover()
            self.review.records.settle_undone()
        finally:
            self.fuse.left = None
        new = [each.id for each in self.review.records.runs() if each.id not in runs]
        self.last = (new[0], before) if len(new) == 1 and undoable else None

    def told(self):
        states = {each.id: (each.state, each.decided, each.reviewer) for each in self.all()}
        return self.store.content_hash(), states

    def all(self, **wanted):
        return self.review.records.find(ProposalFilter(**wanted))

    fuses = st.one_of(st.none(), st.integers(0, 6))

    @rule(
        cells=st.dictionaries(
            st.tuples(st.sampled_from(ITEMS), st.sampled_from(PROPERTIES)),
            st.tuples(st.sampled_from(VALUES), st.sampled_from(ProposedDecision)),
            min_size=1,
        ),
        apply=st.booleans(),
        fuse=fuses,
    )
    def add(self, cells, apply, fuse):
        self.number += 1
        new = [
            NewProposal(
                cell[0],
                cell[1],
                (value,),
                0.75,
                (ProposedValue(value, 0.75),),
                decision,
                model=f"m{self.number}",
                due=PAST,
            )
            for cell, (value, decision) in cells.items()
        ]

        def act():
            run = self.review.begin(RunKind.COMPLETE)
            self.review.add(run, new, apply=apply)
            self.review.end(run)

        self.run(fuse, act)

    @rule(
        cells=st.dictionaries(
            st.tuples(st.sampled_from(ITEMS), st.sampled_from(PROPERTIES)),
            st.tuples(st.integers(0, 2), st.sampled_from(VALUES)),
            min_size=1,
        ),
        origin=st.sampled_from(FINDINGS),
        fuse=fuses,
    )
    def find(self, cells, origin, fuse):
        """Find stored values that are wrong, and propose others in their place."""
        stored = {cell: self.trusted(cell) for cell in cells}
        new = [
            NewProposal(
                cell[0],
                cell[1],
                (value,),
                0.6,
                origin=origin,
                due=PAST,
                replaces=(found[place % len(found)],),
            )
            for cell, (place, value) in cells.items()
            if (found := stored[cell]) and value != found[place % len(found)]
        ]

        def act():
            run = self.review.begin()
            self.review.add(run, new, apply=True)
            self.review.end(run)

        if new:
            self.run(fuse, act)

    def trusted(self, cell):
        rows = self.store.rows_about([cell[0]]).statements.values()
        return sorted(
            row["value"]
            for row in rows
            if (row["item"], row["property"]) == cell and row["rank"] in TRUSTED_RANKS
        )

    @rule(
        what=st.sampled_from(["accept", "reject", "skip"]),
        items=st.sampled_from([("1",), ("2",), ITEMS]),
        fuse=fuses,
    )
    def decide(self, what, items, fuse):
        found = [each for each in self.all(states=OPEN) if each.item in items]
        self.run(fuse, lambda: getattr(self.review, what)(found, "mo"))

    @rule(value=st.sampled_from(VALUES), last=st.booleans(), fuse=fuses)
    def edit(self, value, last, fuse):
        found = self.all(states=OPEN)
        if found and found[-last].values != (value,):
            self.run(fuse, lambda: self.review.edit(found[-last], [value], "bo"))

    @rule(fuse=fuses)
    def apply(self, fuse):
        self.run(fuse, lambda: self.review.apply(ProposalFilter()))

    @rule(
        item=st.sampled_from(ITEMS),
        property=st.sampled_from(PROPERTIES),
        value=st.sampled_from(VALUES),
        source=st.sampled_from(SOURCES),
        fuse=fuses,
    )
    def state(self, item, property, value, source, fuse):
        self.number += 1
        run = f"ingest-{self.number:09}"

        def act():
            statement = Statement(item, property, value, provenance=Provenance(source, batch=run))
            # The ingest itself is not cut off here: it has trials of its own.
            burning, self.fuse.left = self.fuse.left, None
            self.store.put(None, statements_table([statement]), run=run)
            self.fuse.left = burning
            self.review.expire(run)

        self.run(fuse, act, undoable=False)
        self.review.expire(run)

    @rule(item=st.sampled_from(ITEMS), source=st.sampled_from(SOURCES))
    def clear(self, item, source):
        rows = self.store.rows_about([item]).statements
        self.store.withdraw(dict.fromkeys(rows, item), Origin(source), run="clear")
        self.review.expire()
        self.last = None

    @rule(place=st.integers(0, 100), fuse=fuses)
    def undo(self, place, fuse):
        runs = self.review.records.runs()
        if runs:
            run = runs[place % len(runs)].id
            self.number += 1
            by = f"undo-{self.number:09}"
            self.run(fuse, lambda: self.review.undo(run, by), undoable=False)
            self.review.expire(by)

    @rule(fuse=fuses, again=st.booleans())
    def undo_last(self, fuse, again):
        if self.last is None:
            return
        run, before = self.last
        after = self.told()
        self.number += 1
        by = f"undo-{self.number:09}"
        self.run(fuse, lambda: self.review.undo(run, by))
        if not self.review.records.changes_of_run(by):
            # It was cut off before it began.
            return
        found = self.told()
        assert found[0] == before[0]
        states = {id: state for id, state in found[1].items() if id in before[1]}
        assert states == before[1]
        assert all(
            state[0] is ProposalState.UNDONE
            for id, state in found[1].items()
            if id not in before[1]
        )
        self.last = None
        if again:
            self.review.undo(by, f"{by}-again")
            assert self.told() == after

    @invariant()
    def agree(self):
        if not hasattr(self, "store"):
            return
        assert self.review.records.pending() == []
        assert list(disagreements(self.store, self.review.records, ONTOLOGY)) == []
        rows = [row for batch in self.store.scan() for row in batch.to_pylist()]
        proposals = self.all()
        for each in proposals:
            if each.state in OPEN:
                cell = [row for row in rows if (row["item"], row["property"]) == each.cell]
                assert not is_settled(each, ONTOLOGY[each.property], cell)


def test_ledger_and_graph_agree_whatever_happens(ledger, monkeypatch):
    # So that a failing example fails again.
    numbers = itertools.count()
    monkeypatch.setattr(session, "new_run_id", lambda: f"run-{next(numbers):09}")
    ReviewMachine.ledger = ledger
    run_state_machine_as_test(
        ReviewMachine,
        settings=settings(
            max_examples=25,
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
