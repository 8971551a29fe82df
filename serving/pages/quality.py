"""What is probably wrong with what is stored: spellings, values, conflicts, items stored twice."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Form, Request, Response
from fastapi.responses import RedirectResponse

from schema.proposals import OPEN, ProposalFilter, ProposalOrigin
from serving.api.authentication import Reader, Reviewer, Writer
from serving.api.jobs import Jobs
from serving.api.parameters import Catalogue
from serving.api.routes.proposals import decided
from serving.pages.quality_groups import MAX_LISTED, read_quality
from serving.pages.rendering import NavigationEntry, render
from serving.pages.routing import page_router
from serving.review.session import Review, ReviewReport

NAVIGATION = NavigationEntry("/quality", "Quality")
router = page_router()


@router.get("/quality")
def quality(request: Request, catalogue: Catalogue, who: Reader) -> Response:
    """Show the findings that wait for a decision."""
    return render(
        request,
        "quality.html.j2",
        who,
        title="Quality",
        quality=read_quality(catalogue.records),
        listed=MAX_LISTED,
    )


@router.post("/quality/spellings")
def decide_spelling(
    request: Request,
    catalogue: Catalogue,
    who: Reviewer,
    property: Annotated[str, Form(max_length=500)],
    value: Annotated[str, Form(max_length=10_000)],
    action: Annotated[Literal["accept", "reject"], Form()],
) -> Response:
    """Merge the spellings of a value into one, or keep them as they are."""
    wanted = ProposalFilter(
        property=property,
        value=value,
        states=OPEN,
        origins=(ProposalOrigin.NEAR_DUPLICATE,),
    )

    def decide(review: Review) -> ReviewReport:
        found = review.records.find(wanted)
        act = review.accept if action == "accept" else review.reject
        return act(found, who.name)

    decided(catalogue, action, decide)
    return RedirectResponse("/quality#spellings", 303)


@router.post("/quality/jobs")
def start_job(
    request: Request, who: Writer, kind: Annotated[Literal["audit", "align"], Form()]
) -> Response:
    """Look for wrong values, or for items that are there twice, in the background."""
    jobs: Jobs = request.app.state.jobs
    jobs.start(kind, ["--propose"] if kind == "audit" else ["--write"], who.name)
    return RedirectResponse("/runs#jobs", 303)
