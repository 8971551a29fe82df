"""Take a run back, and delete items: in the graph, the ledger and what follows from both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kg.home import Home
from kg.ingest.run_id import new_run_id
from kg.source_order import bring_up_to_date, finish_changes
from kg.stores.history import undo as undo_in_graph
from kg.stores.protocol import PutReport
from schema.errors import ItemNotFoundError
from schema.ledger_proposals import ProposalRecords
from schema.progress import ProgressCallback, no_progress
from serving.review.session import review_of
from serving.review.store_of_proposals import other_store


@dataclass(frozen=True)
class Undone:
    """What taking a run back, or a deletion, changed.

    Attributes:
        run: the run that did so
        graph: what it changed in the graph
        proposals: how many proposals it changed
        undone: the run that was taken back, None if items were deleted
    """

    run: str
    graph: PutReport
    proposals: int = 0
    undone: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        graph = self.graph
        document: dict[str, Any] = {
            "run": self.run,
            "items": {
                "new": graph.new_items,
                "changed": graph.changed_items,
                "deleted": graph.deleted,
            },
            "statements": {
                "new": graph.new_statements,
                "changed": graph.changed_statements,
                "retracted": graph.retracted,
            },
        }
        if self.undone is None:
            return document
        return {"undone": self.undone, **document, "proposals": self.proposals}


def undo_run(home: Home, run: str, progress: ProgressCallback = no_progress) -> Undone:
    """Take back what a run changed. Raises UsageError if there is no such run."""
    by = new_run_id()
    with home.store() as store, home.ledger() as ledger:
        records = ProposalRecords(ledger)
        if other_store(home, store, records) is not None and records.run(run) is None:
            # Proposals are about another store, and none of this run.
            ledger.begin_undo(run, by)
            report, proposals = undo_in_graph(store, run, by, progress), 0
            bring_up_to_date(home, store, by)
        else:
            review = review_of(home, store, ledger)
            review.recover()
            ledger.begin_undo(run, by)
            report, proposals = review.undo(run, by, progress)
            bring_up_to_date(home, store, by)
            review.expire(by)
        # What was read before it is what `export --format source` writes again.
        ledger.finish_undo({batch.run for batch in store.changes()})
    return Undone(by, report, proposals, run)


def delete_items(home: Home, items: Sequence[str]) -> Undone:
    """Delete items with all that is stated of them; they stay in the history.

    Raises ItemNotFoundError if one of them does not exist; then nothing is deleted.
    """
    by = new_run_id()
    with home.store() as store:
        unknown = [id for id in items if store.item(id) is None]
        if unknown:
            # One that was killed has deleted them, and is called again.
            finish_changes(home, store, by)
            raise ItemNotFoundError(
                f"no item {unknown[0]!r}: nothing was deleted; "
                "ids are those of the source's id column"
            )
        report = store.delete(items, run=by)
        bring_up_to_date(home, store, by)
    return Undone(by, report)
