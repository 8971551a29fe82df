"""Completions are recorded in batches, beside others who work in the same catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from kg.home import Home
from kg.stores.memory import MemoryStore
from kg.stores.protocol import GraphStore
from kg.stores.tables import items_table, statements_table
from schema.errors import StoreLockedError
from schema.ledger import Ledger
from schema.ledger_proposals import ProposalRecords
from schema.ontology import Ontology, PropertySpec
from schema.proposals import ProposalFilter, ProposalState, RunStatus
from schema.terms import Item, Provenance, Statement
from serving.results import Candidate, Completion, Evidence
from serving.review import recorder as module
from serving.review.recorder import LAST_ITEM, ProposalRecorder, begin_run

ITEMS = tuple(f"m{number}" for number in range(5))
ONTOLOGY = Ontology([PropertySpec("colour", values=("red",), counts=(1,))])


class MadeHome(Home):
    """A home whose store and ledger are in memory; at first another process writes to it."""

    def __init__(self, path: Path, ledger: Ledger) -> None:
        super().__init__(path)
        self.graph = MemoryStore()
        self.graph.put(items_table(map(Item, ITEMS)), None, run="first")
        self.opened = 0
        self.refusals = 0
        self.opened_ledger = ledger

    def store(self, read_only: bool = False) -> Any:
        if self.refusals:
            self.refusals -= 1
            raise StoreLockedError("in use")
        self.opened += 1
        return nullcontext(self.graph)

    def ledger(self) -> Any:
        return nullcontext(self.opened_ledger)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[MadeHome]:
    with Ledger("sqlite://") as ledger:
        yield MadeHome(tmp_path, ledger)


def recorder_of(home: MadeHome) -> ProposalRecorder:
    run = begin_run(home, "run", {}, "2026-01-01T00:00:00+00:00")
    return ProposalRecorder(home, run, model="m", ontology=ONTOLOGY, write=True)


def completion(item: str, property: str = "colour") -> Completion:
    return Completion(item, property, (Candidate("red", 0.97),), "fill", Evidence())


def predicted(store: GraphStore) -> set[str]:
    rows = [row for batch in store.scan() for row in batch.to_pylist()]
    return {row["item"] for row in rows if row["rank"] == "predicted"}


def test_the_store_is_open_only_while_a_batch_is_written(
    home: MadeHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WRITTEN_AT_ONCE", 2)
    recorder = recorder_of(home)
    opened = []
    for item in ITEMS:
        recorder.add(completion(item))
        opened.append((home.opened, len(predicted(home.graph))))
    recorder.finish()
    # A batch ends where the next item begins.
    assert opened == [(0, 0), (0, 0), (1, 2), (1, 2), (2, 4)]
    assert (home.opened, recorder.written, predicted(home.graph)) == (3, 5, set(ITEMS))
    run = ProposalRecords(home.opened_ledger).run("run")
    assert run is not None
    assert (run.status, run.report[LAST_ITEM]) == (RunStatus.DONE, ITEMS[-1])


def test_scoring_goes_on_while_another_process_writes(
    home: MadeHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WRITTEN_AT_ONCE", 2)
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.0)
    home.refusals = 4
    recorder = recorder_of(home)
    for item in ITEMS:
        recorder.add(completion(item))
    assert (home.refusals, recorder.written) == (2, 0)
    recorder.finish()
    assert (home.opened, recorder.written) == (1, 5)


def test_proposals_that_cannot_be_written_are_counted(
    home: MadeHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.0)
    home.refusals = 1
    recorder = recorder_of(home)
    recorder.add(completion(ITEMS[0]))
    with pytest.raises(StoreLockedError, match="1 proposals not written: in use"):
        recorder.finish()


def test_what_is_stated_while_cells_are_scored_counts(home: MadeHome) -> None:
    recorder = recorder_of(home)
    recorder.add(completion(ITEMS[0]))
    stated = Statement(ITEMS[0], "colour", "blue", provenance=Provenance("erp"))
    home.graph.put(None, statements_table([stated]), run="erp")
    recorder.finish()
    assert (recorder.written, recorder.not_written) == (0, {"has_value": 1})


def test_of_a_run_that_is_cut_off_whole_items_are_kept(home: MadeHome) -> None:
    recorder = recorder_of(home)
    for item in ITEMS[:2]:
        recorder.add(completion(item))
    recorder.keep()
    assert predicted(home.graph) == {ITEMS[0]}
    records = ProposalRecords(home.opened_ledger)
    (kept,) = records.find(ProposalFilter())
    assert (kept.item, kept.state) == (ITEMS[0], ProposalState.APPLIED)
    run = records.run("run")
    assert run is not None
    assert (run.status, run.report[LAST_ITEM]) == (RunStatus.RUNNING, ITEMS[0])
