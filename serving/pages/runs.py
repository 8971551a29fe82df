"""Models with their training curves and precision, and what changed the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Form, Request, Response
from fastapi.responses import RedirectResponse

from schema.errors import UsageError
from schema.tokens import Scope
from serving.api.authentication import Admin, Reader, Reviewer, Writer
from serving.api.documents import RunOut
from serving.api.jobs import Job, Jobs, JobStatus
from serving.api.parameters import Catalogue, Cursor, decode_cursor, encode_cursor
from serving.api.problems import ProblemError
from serving.api.routes.jobs import check_completed, job_report
from serving.api.routes.runs import all_runs, undo_by
from serving.pages.rendering import NavigationEntry, render, with_query
from serving.pages.routing import page_router
from serving.pages.training_runs import model_rows, reliability, training_charts

NAVIGATION = NavigationEntry("/runs", "Runs")
SHOWN = 30
JOBS_SHOWN = 8
router = page_router()


@router.get("/runs")
def runs(request: Request, catalogue: Catalogue, who: Reader, after: Cursor = None) -> Response:
    """Show models, jobs, and the runs that changed the catalogue."""
    every = all_runs(catalogue)
    start = 0
    if after is not None:
        last = decode_cursor(after)
        start = next((place + 1 for place, each in enumerate(every) if each.run == last), 0)
    jobs: Jobs = request.app.state.jobs
    shown = every[start : start + SHOWN]
    return render(
        request,
        "runs.html.j2",
        who,
        title="Runs",
        models=model_rows(catalogue.home),
        served=catalogue.model,
        failure=catalogue.failure,
        jobs=[
            ShownJob(each, jobs.progress(each), has_report=jobs.report(each) is not None)
            for each in jobs.latest(JOBS_SHOWN)
        ],
        runs=shown,
        count=len(every),
        next=cursor_of(shown[-1].run) if start + SHOWN < len(every) else None,
        can_serve=Scope.ADMIN in who.scopes,
        changes_of=changes_of,
    )


@router.get("/runs/models/{name}")
def model(request: Request, catalogue: Catalogue, who: Reader, name: str) -> Response:
    """Show one model: its figures, its training curves, and how right it turned out to be."""
    rows = model_rows(catalogue.home)
    row = next((each for each in rows if each.entry.name == name), None)
    if row is None:
        raise ProblemError(404, f"no model {name[:100]!r} in this home")
    chart, measured = reliability(catalogue.records, name)
    return render(
        request,
        "model.html.j2",
        who,
        title=name,
        row=row,
        charts=training_charts(catalogue.home, name),
        reliability=chart,
        measured=measured,
    )


@router.post("/runs/models")
def serve_model(
    request: Request, catalogue: Catalogue, who: Admin, name: Annotated[str, Form(max_length=500)]
) -> Response:
    """Serve another model from now on."""
    catalogue.change_model(name)
    return RedirectResponse("/runs", 303)


@router.post("/runs/jobs/{job}/report")
def report(request: Request, who: Writer, job: str) -> Response:
    """Write the report on what a job has completed."""
    jobs: Jobs = request.app.state.jobs
    check_completed(jobs, job)
    jobs.start("report", [job], who.name)
    return RedirectResponse("/runs", 303)


@router.get("/runs/jobs/{job}/report")
def shown_report(request: Request, who: Reader, job: str) -> Response:
    """Show the report that a job has written."""
    return job_report(job, request, who)


@router.post("/runs/{run}/undo")
def undo(request: Request, catalogue: Catalogue, who: Reviewer, run: str) -> Response:
    """Take a run back."""
    if not run.isprintable():
        raise UsageError("the run has characters that cannot be printed")
    undo_by(catalogue, run, who.scopes)
    return RedirectResponse("/runs", 303)


@dataclass(frozen=True)
class ShownJob:
    """A job with what it does and how far it is, and whether it has written a report."""

    job: Job
    progress: Mapping[str, Any] | None
    has_report: bool

    @property
    def can_be_reported(self) -> bool:
        """Whether it has completed cells, of which a report can be written."""
        return self.job.kind == "complete" and self.job.status is JobStatus.DONE


@dataclass(frozen=True)
class Changes:
    """How many items and statements a run put, and how many it took back."""

    items_put: int = 0
    statements: int = 0
    taken_back: int = 0


def changes_of(run: RunOut) -> Changes:
    """Return what a run changed in the graph."""
    counts = run.changes or {}
    taken_back = counts.get("retracted", 0) + counts.get("deleted", 0)
    return Changes(counts.get("items", 0), counts.get("statements", 0), taken_back)


def cursor_of(run: str) -> str:
    """Return the address of the page after a run."""
    return with_query("/runs", after=encode_cursor(run))
