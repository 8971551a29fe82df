"""Jobs: long work that is started by a request and fetched later."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field, StringConstraints

from serving.api.authentication import Reader, Writer
from serving.api.documents import Document, Id, Name
from serving.api.jobs import FINISHED, Job, Jobs, JobStatus
from serving.api.parameters import Cursor, PageSize, decode_cursor, encode_cursor
from serving.api.problems import EVERYWHERE, ProblemError, documented

router = APIRouter(prefix="/v2/jobs", tags=["jobs"], responses=EVERYWHERE)
_PLAIN = r"[^-\s][^\n\r]*"
"""A text that a command line does not take for an option."""
PlainId = Annotated[Id, StringConstraints(pattern=f"^{_PLAIN}$")]
PlainName = Annotated[Name, StringConstraints(pattern=f"^{_PLAIN}$")]


class CompleteJobIn(Document):
    """Complete the missing cells of the catalogue, or of some items and properties."""

    kind: Literal["complete"]
    items: list[PlainId] = Field(default_factory=list, max_length=1000)
    properties: list[PlainName] = Field(default_factory=list, max_length=200)
    target_precision: float | None = Field(default=None, gt=0, lt=1)
    write: bool = Field(default=False, description="Write what is filled into the graph")


class AuditJobIn(Document):
    """Find stored values, images and titles that are probably wrong."""

    kind: Literal["audit"]
    items: list[PlainId] = Field(default_factory=list, max_length=1000)
    properties: list[PlainName] = Field(default_factory=list, max_length=200)
    propose: bool = Field(default=False, description="Make proposals of what was found")


class AlignJobIn(Document):
    """Find the items that are the same product."""

    kind: Literal["align"]
    one_to_one: bool = False
    write: bool = Field(default=False, description="Write matches, and propose those to review")


class IndexJobIn(Document):
    """Index the catalogue for search."""

    kind: Literal["index"]
    anew: bool = False


class ReportJobIn(Document):
    """Write the page that shows what a job has completed, with examples and their evidence."""

    kind: Literal["report"]
    job: PlainId = Field(description="A job that has completed cells")


JobIn = Annotated[
    CompleteJobIn | AuditJobIn | AlignJobIn | IndexJobIn | ReportJobIn,
    Field(discriminator="kind"),
]
REPORT_HEADERS = {
    # The page has its styles and pictures in it, and no script.
    "Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"
}


class JobOut(BaseModel):
    """A job."""

    id: str
    kind: str
    arguments: list[str]
    caller: str
    status: JobStatus
    created: str
    started: str | None
    ended: str | None
    error: str | None
    progress: dict[str, Any] | None = Field(
        description="While it runs: `label`, `unit`, `done` and `total`"
    )
    result: dict[str, Any] | list[Any] | None = Field(
        description="What the command of the same name prints with --json"
    )
    results: str | None = Field(description="Where its results are, as JSON lines")
    report: str | None = Field(description="Where the page is that it has written, as HTML")


class JobPage(BaseModel):
    """A page of jobs, the newest first."""

    jobs: list[JobOut]
    next: str | None


@router.post("", status_code=202, responses=documented(409))
def start_job(given: JobIn, request: Request, response: Response, who: Writer) -> JobOut:
    """Start a job; Location says where it can be followed."""
    jobs = _jobs(request)
    if isinstance(given, ReportJobIn):
        check_completed(jobs, given.job)
    if jobs.is_full:
        raise ProblemError(
            429, "too many jobs wait already: try later", headers={"Retry-After": "60"}
        )
    job = jobs.start(given.kind, _arguments(given), who.name)
    response.headers["Location"] = f"/v2/jobs/{job.id}"
    return _out(jobs, job)


@router.get("")
def list_jobs(request: Request, _: Reader, limit: PageSize = 50, after: Cursor = None) -> JobPage:
    """List jobs, the newest first."""
    jobs = _jobs(request)
    last = None if after is None else decode_cursor(after)
    found = [each for each in jobs.all() if last is None or each.id < last]
    page = found[:limit]
    more = len(found) > limit
    return JobPage(
        jobs=[_out(jobs, each) for each in page], next=encode_cursor(page[-1].id) if more else None
    )


@router.get("/{job}")
def get_job(job: str, request: Request, _: Reader) -> JobOut:
    """Return a job with its progress and what came of it."""
    jobs = _jobs(request)
    return _out(jobs, _needed(jobs, job))


@router.get(
    "/{job}/results",
    responses={200: {"content": {"application/x-ndjson": {}}}, **documented(409)},
    response_class=FileResponse,
)
def job_results(job: str, request: Request, _: Reader) -> FileResponse:
    """Return the results of a job as JSON lines, one for each cell, finding or pair."""
    jobs = _jobs(request)
    found = _needed(jobs, job)
    path = jobs.results(found)
    if path is None:
        raise ProblemError(409, f"job {job} is {found.status}, and has no results (yet)")
    return FileResponse(path, media_type="application/x-ndjson", filename=f"{job}.jsonl")


@router.get(
    "/{job}/report",
    responses={200: {"content": {"text/html": {}}}, **documented(409)},
    response_class=FileResponse,
)
def job_report(job: str, request: Request, _: Reader) -> FileResponse:
    """Return the page that a job of the kind ``report`` has written."""
    jobs = _jobs(request)
    found = _needed(jobs, job)
    path = jobs.report(found)
    if path is None:
        raise ProblemError(409, f"job {job} is {found.status}, and has no report (yet)")
    return FileResponse(path, media_type="text/html", headers=REPORT_HEADERS)


@router.delete("/{job}")
def cancel_job(job: str, request: Request, _: Writer) -> JobOut:
    """Stop a job that waits or runs; one that has ended is removed with its results."""
    jobs = _jobs(request)
    found = _needed(jobs, job)
    if found.status in FINISHED:
        jobs.delete(job)
        return _out(jobs, found)
    return _out(jobs, jobs.cancel(job) or found)


def _jobs(request: Request) -> Jobs:
    jobs: Jobs = request.app.state.jobs
    return jobs


def check_completed(jobs: Jobs, id: str) -> None:
    """Raise ProblemError unless a job has completed cells."""
    job = _needed(jobs, id)
    if job.kind != "complete" or jobs.results(job) is None or job.status is not JobStatus.DONE:
        raise ProblemError(
            409,
            f"job {id} is a job of {job.kind} that is {job.status}: a report is about one of "
            "complete that is done",
        )


def _needed(jobs: Jobs, id: str) -> Job:
    found = jobs.get(id)
    if found is None:
        raise ProblemError(404, f"no job {id[:100]!r}: list those that there are")
    return found


def _out(jobs: Jobs, job: Job) -> JobOut:
    has_results = job.status is JobStatus.DONE and jobs.results(job) is not None
    return JobOut(
        id=job.id,
        kind=job.kind,
        arguments=list(job.arguments),
        caller=job.caller,
        status=job.status,
        created=job.created,
        started=job.started,
        ended=job.ended,
        error=job.error,
        progress=jobs.progress(job),
        # A reader need not know where the page lies on the server.
        result=None if job.kind == "report" else job.result,
        results=f"/v2/jobs/{job.id}/results" if has_results else None,
        report=f"/v2/jobs/{job.id}/report" if jobs.report(job) is not None else None,
    )


def _arguments(given: JobIn) -> list[str]:
    """Return the arguments of the command, without those that name files."""
    arguments: list[str] = []
    if isinstance(given, CompleteJobIn | AuditJobIn):
        for option, names in (("--item", given.items), ("--property", given.properties)):
            for name in names:
                arguments += [option, name]
    match given:
        case CompleteJobIn():
            if given.target_precision is not None:
                arguments += ["--target-precision", str(given.target_precision)]
            arguments += ["--write"] * given.write
        case AuditJobIn():
            arguments += ["--propose"] * given.propose
        case AlignJobIn():
            arguments += ["--one-to-one"] * given.one_to_one + ["--write"] * given.write
        case IndexJobIn():
            arguments += ["--anew"] * given.anew
        case ReportJobIn():
            arguments.append(given.job)
    return arguments
