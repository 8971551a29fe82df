"""Runs: what changed the catalogue and its proposals, and taking a run back."""

from __future__ import annotations

from fastapi import APIRouter

from kg.stores.history import RunSummary
from schema.proposals import ProposalRun, RunKind
from schema.tokens import Scope
from serving.api.authentication import Reader, Reviewer
from serving.api.catalogue import ServedCatalogue
from serving.api.documents import RunChanged, RunOut, RunPage
from serving.api.parameters import Catalogue, Cursor, PageSize, decode_cursor, encode_cursor
from serving.api.problems import EVERYWHERE, ProblemError
from serving.review.undoing import undo_run

router = APIRouter(prefix="/v2/runs", tags=["runs"], responses=EVERYWHERE)
DECISIONS = (RunKind.ACCEPT, RunKind.REJECT, RunKind.EDIT, RunKind.SKIP, RunKind.IMPORT)


@router.get("")
def list_runs(
    catalogue: Catalogue, _: Reader, limit: PageSize = 50, after: Cursor = None
) -> RunPage:
    """List the runs that changed the graph or proposals, the newest first."""
    runs = all_runs(catalogue)
    start = 0
    if after is not None:
        last = decode_cursor(after)
        start = next((place + 1 for place, each in enumerate(runs) if each.run == last), len(runs))
    page = runs[start : start + limit]
    more = start + limit < len(runs)
    return RunPage(runs=page, next=encode_cursor(page[-1].run) if more else None, count=len(runs))


@router.post("/{run}/undo")
def undo(catalogue: Catalogue, run: str, who: Reviewer) -> RunChanged:
    """Take back what a run changed; that is a run itself, which can be taken back as well.

    Decisions need the scope `review`, everything else `write`.
    """
    return undo_by(catalogue, run, who.scopes)


def undo_by(catalogue: ServedCatalogue, run: str, scopes: frozenset[Scope]) -> RunChanged:
    """Take a run back, if somebody with these scopes may."""
    known = catalogue.records.run(run)
    if known is None and run not in catalogue.graph_runs():
        raise ProblemError(404, f"no run {run[:100]!r}: list those that there are")
    is_decision = known is not None and known.kind in DECISIONS
    if not is_decision and Scope.WRITE not in scopes:
        raise ProblemError(
            403,
            f"run {run[:100]!r} is no decision of a reviewer: taking it back needs the scope write",
        )
    return RunChanged(**catalogue.writer.change(lambda home: undo_run(home, run)).as_dict())


def all_runs(catalogue: ServedCatalogue) -> list[RunOut]:
    """Return the runs that changed the graph or proposals, the newest first."""
    graph = catalogue.graph_runs()
    proposals = {each.id: each for each in catalogue.records.runs()}
    found = [_of_proposals(each, graph.get(id)) for id, each in proposals.items()]
    ingests = catalogue.ledger.ingest_statuses()
    found += [_of_graph(each, ingests.get(id)) for id, each in graph.items() if id not in proposals]
    return sorted(found, key=lambda each: (each.started, each.run), reverse=True)


def _of_proposals(run: ProposalRun, graph: RunSummary | None) -> RunOut:
    return RunOut(
        run=run.id,
        kind=str(run.kind),
        started=run.started,
        status=str(run.status),
        reviewer=run.reviewer,
        undoes=run.undoes,
        changes=None if graph is None else _changes(graph),
    )


def _of_graph(run: RunSummary, ingest_status: str | None) -> RunOut:
    return RunOut(
        run=run.run,
        kind="change" if ingest_status is None else "ingest",
        started=run.at,
        status=ingest_status or "done",
        changes=_changes(run),
    )


def _changes(run: RunSummary) -> dict[str, int]:
    return {
        "items": run.items,
        "statements": run.statements,
        "retracted": run.retracted,
        "deleted": run.deleted,
    }
