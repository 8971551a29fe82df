"""Jobs: started, followed, cancelled, fetched, and gone on with by the next server."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kg.home import Home
from serving.api.jobs import FINISHED, Job, Jobs, JobStatus
from tests.serving.api.made_job import interpreter


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """An empty home, whose jobs are made."""
    monkeypatch.setattr("serving.api.jobs.PYTHON", interpreter(tmp_path))
    return Home.open(tmp_path / "home", create=True)


@pytest.fixture
def jobs(home: Home) -> Iterator[Jobs]:
    """The jobs of the home, one at a time."""
    found = Jobs(home)
    yield found
    found.close()


def until(jobs: Jobs, job: Job, is_so: Callable[[Job], bool]) -> Job:
    """Return a job once something is so."""
    for _ in range(1000):
        found = jobs.get(job.id)
        if found is not None and is_so(found):
            return found
        time.sleep(0.01)
    raise AssertionError(jobs.get(job.id))


def ended(jobs: Jobs, job: Job) -> Job:
    return until(jobs, job, lambda found: found.status in FINISHED)


def runs(found: Job) -> bool:
    return found.status is JobStatus.RUNNING


def test_a_job_is_done_and_has_results(jobs):
    job = jobs.start("complete", ["--item", "2"], "anna")
    assert job.status is JobStatus.WAITING
    done = ended(jobs, job)
    assert done.status is JobStatus.DONE
    assert done.result == {"cells": 1, "fill": 0, "review": 1, "abstain": 0}
    assert (done.caller, done.arguments) == ("anna", ("--item", "2"))
    path = jobs.results(done)
    assert path is not None
    assert json.loads(path.read_text())["item"] == "2"
    assert done.created <= (done.started or "") <= (done.ended or "")
    assert [each.id for each in jobs.all()] == [job.id]


def test_a_report_is_about_the_results_of_another_job(jobs):
    completed = ended(jobs, jobs.start("complete", ["--item", "2"], "anna"))
    assert jobs.report(completed) is None
    done = ended(jobs, jobs.start("report", [completed.id], "anna"))
    path = jobs.report(done)
    assert path is not None
    assert done.result == {"page": str(path)}
    assert '"material"' in path.read_text()


def test_a_failure_is_told_in_one_line(jobs):
    done = ended(jobs, jobs.start("complete", ["--property", "wrong"], "anna"))
    assert done.status is JobStatus.FAILED
    assert done.error == "nothing to complete: name other items"
    assert jobs.results(done) is None


def test_a_job_says_how_far_it_is_and_is_cancelled(jobs):
    job = jobs.start("complete", ["--property", "slow"], "anna")
    until(jobs, job, lambda found: jobs.progress(found) is not None)
    progress = jobs.progress(jobs.get(job.id))
    assert progress == {"label": "cells", "unit": "cells", "done": 1, "total": 9}
    second = jobs.start("complete", [], "anna")
    assert jobs.get(second.id).status is JobStatus.WAITING
    assert jobs.cancel(job.id).status is JobStatus.CANCELLED
    assert ended(jobs, second).status is JobStatus.DONE
    assert jobs.get(job.id).status is JobStatus.CANCELLED
    assert jobs.progress(jobs.get(job.id)) is None
    # What has ended stays as it is.
    assert jobs.cancel(second.id).status is JobStatus.DONE
    jobs.delete(second.id)
    assert jobs.get(second.id) is None


def test_a_job_that_waits_is_cancelled_before_it_begins(jobs):
    first = jobs.start("complete", ["--property", "slow"], "anna")
    second = jobs.start("complete", [], "anna")
    until(jobs, first, runs)
    jobs.cancel(second.id)
    jobs.cancel(first.id)
    third = ended(jobs, jobs.start("complete", [], "anna"))
    assert third.status is JobStatus.DONE
    assert jobs.get(second.id).started is None


def test_the_next_server_goes_on_with_a_completion(home):
    former = Jobs(home)
    job = former.start("complete", ["--property", "slow"], "anna")
    waiting = former.start("audit", [], "anna")
    until(former, job, runs)
    former.close()
    assert until(former, job, runs)
    jobs = Jobs(home)
    try:
        assert ended(jobs, job).result == {"resumed": True}
        assert ended(jobs, waiting).status is JobStatus.DONE
    finally:
        jobs.close()


def test_names_of_jobs_lead_nowhere_else(home, jobs):
    (home.path / "job.json").write_text("{}")
    for id in ("..", "../jobs", "", "x" * 5000, "20260101T000000Z-ffffff\n"):
        assert jobs.get(id) is None


def test_a_damaged_job_is_left_out(home, jobs):
    job = ended(jobs, jobs.start("complete", [], "anna"))
    (home.path / "jobs" / job.id / "job.json").write_text("{")
    assert jobs.get(job.id) is None
    assert list(jobs.all()) == []
