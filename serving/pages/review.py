"""The review: proposals one by one or as a table, decided by keys or in bulk, and taken back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Form, Query, Request, Response
from fastapi.responses import RedirectResponse

from schema.errors import CatalographError, UsageError
from schema.proposals import (
    OPEN,
    Proposal,
    ProposalFilter,
    ProposalOrder,
    ProposalOrigin,
    ProposalState,
)
from schema.terms import CATEGORY, start_of_today
from schema.tokens import Scope
from serving.api.authentication import Caller, Reader, Reviewer
from serving.api.catalogue import ServedCatalogue
from serving.api.documents import DecisionOut
from serving.api.parameters import Catalogue
from serving.api.problems import ProblemError
from serving.api.routes.proposals import decide_one, decided, etag_of, needed
from serving.api.routes.runs import undo_by
from serving.pages.cards import CandidateRow, ProposalCard, candidates_of, card_of
from serving.pages.choices import Choices
from serving.pages.queue import (
    TABLE,
    Asked,
    ReviewQuery,
    ReviewQueue,
    number_of,
)
from serving.pages.rendering import NavigationEntry, is_partial, render
from serving.pages.routing import page_router
from serving.pages.signing_in import own_path
from serving.review.session import Review, ReviewReport
from serving.search.filters import Filters

NAVIGATION = NavigationEntry("/review", "Review")
router = page_router()
ROWS = 50
"""Proposals in a table."""
NEIGHBOURS = 6
VALUES = 20
"""Values that are offered while one is typed."""
_DONE = {
    "accept": "Accepted",
    "reject": "Rejected",
    "skip": "Skipped",
    "edit": "Saved",
}
SEVERAL = " | "
"""Between several values that are typed."""


@dataclass(frozen=True)
class Message:
    """What was just done; ``run`` is what may be taken back, ``at`` the proposal it was about."""

    text: str
    run: str = ""
    at: int = 0


@dataclass(frozen=True)
class Progress:
    """The progress of a day: decisions that stand, of all and of oneself, and what waits."""

    decided: int
    own: int
    waiting: int

    @property
    def share(self) -> float:
        """The share of what waited this morning that is decided."""
        return self.decided / max(1, self.decided + self.waiting)


@dataclass(frozen=True)
class Conflict:
    """A decision that came too late: somebody else was quicker.

    Attributes:
        wanted: what this reviewer wanted, in words
        proposal: the proposal as it is stored now
        next: the number of the next proposal; None if there is none
    """

    wanted: str
    proposal: Proposal
    next: int | None

    @property
    def is_open(self) -> bool:
        """Whether it can still be decided."""
        return self.proposal.state in OPEN


# Look


@router.get("/review")
def review(
    request: Request,
    catalogue: Catalogue,
    who: Reader,
    query: Asked,
    after: Annotated[str, Query(max_length=20)] = "",
) -> Response:
    """Show the first proposal of a query, or a table of them."""
    if query.view == TABLE:
        return _page(request, catalogue, who, query, **_table(catalogue, query, number_of(after)))
    proposal = ReviewQueue(catalogue, query).next(number_of(after))
    return _page(request, catalogue, who, query, **_one(catalogue, query, proposal))


@router.get("/review/bulk")
def ask_about_all(
    request: Request, catalogue: Catalogue, who: Reviewer, query: Asked, action: str = "accept"
) -> Response:
    """Ask whether all proposals of a query are to be decided."""
    return _bulk(request, catalogue, who, query, _known_action(action))


@router.post("/review/bulk")
def decide_all(
    request: Request,
    catalogue: Catalogue,
    who: Reviewer,
    query: Asked,
    action: Annotated[str, Form(max_length=20)],
    expected: Annotated[int, Form(ge=0)],
) -> Response:
    """Decide all proposals of a query as one run, unless there are others than were expected."""
    _known_action(action)
    queue = ReviewQueue(catalogue, query)

    def decide(opened: Review) -> ReviewReport:
        found = queue.choose(opened.records)
        if len(found) != expected:
            raise ProblemError(409, _others(expected, len(found)))
        actions = {"accept": opened.accept, "reject": opened.reject, "skip": opened.skip}
        return actions[action](found, who.name)

    try:
        made = decided(catalogue, action, decide)
    except ProblemError as error:
        if error.status != 409 or not is_partial(request):
            raise
        return _bulk(request, catalogue, who, query, action, error.detail)
    text = f"{_DONE[action]} {made.changed:,}"
    if made.expired:
        text += f"; {made.expired:,} could not be decided: other values are stored by now"
    message = Message(text, made.run)
    return _after(request, catalogue, who, query, None, message)


@router.get("/review/values")
def values(
    request: Request,
    who: Reader,
    property: Annotated[str, Query(max_length=500)] = "",
    value: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    """Return the values of a property's vocabulary that begin with a text, or have it."""
    choices: Choices = request.app.state.choices
    found = choices.values(property, value, VALUES)
    return render(request, "values.html.j2", who, values=found)


@router.post("/undo")
def undo(
    request: Request,
    catalogue: Catalogue,
    who: Reviewer,
    query: Asked,
    run: Annotated[str, Form(max_length=100)],
    at: Annotated[int, Form(ge=0)] = 0,
    back: Annotated[str, Form(max_length=8000)] = "",
) -> Response:
    """Take a run back, and show again what it was about, or the page that asked for it."""
    made = undo_by(catalogue, run, who.scopes)
    message = Message(f"Taken back: {made.proposals:,} decisions", made.run)
    if made.proposals == 1:
        message = Message("Taken back", made.run, at)
    if not is_partial(request) or request.headers.get("hx-target") != "review":
        # A page of another kind is shown anew.
        if is_partial(request):
            return Response(status_code=204, headers={"HX-Refresh": "true"})
        url = query.url(f"/review/{at}") if at else query.url()
        return RedirectResponse(own_path(back) if back else url, 303)
    found = catalogue.records.get([at]).get(at) if at else None
    return _after(request, catalogue, who, query, found, message)


@router.get("/review/{number}")
def proposal(
    request: Request, catalogue: Catalogue, who: Reader, query: Asked, number: int
) -> Response:
    """Show a proposal, whatever became of it."""
    found = needed(catalogue.records, number)
    return _page(request, catalogue, who, query, **_one(catalogue, query, found))


@router.get("/review/{number}/neighbours")
def neighbours(request: Request, catalogue: Catalogue, who: Reader, number: int) -> Response:
    """Return items like that of a proposal that have what is proposed."""
    found = needed(catalogue.records, number)
    context: dict[str, Any] = {"neighbours": (), "why_none": ""}
    try:
        context["neighbours"] = _neighbours(catalogue, found)
    except CatalographError as error:
        context["why_none"] = str(error)
    return render(request, "neighbours.html.j2", who, proposal=found, **context)


# Decide


@router.post("/review/{number}")
def decide(
    request: Request,
    catalogue: Catalogue,
    who: Reviewer,
    query: Asked,
    number: int,
    action: Annotated[str, Form(max_length=20)],
    etag: Annotated[str, Form(max_length=100)],
    value: Annotated[str, Form(max_length=10_000)] = "",
    row: Annotated[bool, Form()] = False,
) -> Response:
    """Decide about a proposal, and show the next one."""
    queue = ReviewQueue(catalogue, query)
    # Before it is decided: one that is skipped has another place afterwards.
    following = None if row else queue.next(number)
    before = needed(catalogue.records, number)
    kind, text = _meant(before, action, value)
    try:
        made = _decide(catalogue, before, kind, text, etag, who)
    except ProblemError as error:
        if error.status != 409:
            raise
        current = needed(catalogue.records, number)
        next = None if following is None or following.id == number else following.id
        conflict = Conflict(_wanted(kind, text, before), current, next)
        if row:
            return _row(request, catalogue, who, query, current, conflict=conflict)
        if is_partial(request):
            return render(
                request,
                "review_part.html.j2",
                who,
                **_frame(catalogue, query, who, conflict=conflict),
            )
        return _page(request, catalogue, who, query, status=409, conflict=conflict)
    message = Message(_told(kind, text, before), made.run, number)
    if row and is_partial(request):
        return _row(request, catalogue, who, query, needed(catalogue.records, number), message)
    if following is not None and following.id == number and kind != "skip":
        following = None
    if following is not None:
        # It may have been decided meanwhile.
        following = catalogue.records.get([following.id]).get(following.id)
        if following is not None and following.state not in query.states:
            following = queue.next(number)
    return _after(request, catalogue, who, query, following, message)


def _meant(proposal: Proposal, action: str, value: str) -> tuple[str, str]:
    """Return what a button means, with the value that it chooses."""
    if action.startswith("take-"):
        rows = candidates_of(proposal)
        place = number_of(action.removeprefix("take-"))
        if place is None or not 1 <= place <= len(rows):
            raise ProblemError(422, f"{action[:40]!r}: there are {len(rows)} candidates")
        chosen: CandidateRow = rows[place - 1]
        return ("accept", "") if chosen.is_proposed else ("edit", chosen.value)
    if action == "edit":
        if not value.strip():
            raise UsageError("type the right value, or reject the proposal")
        return "edit", value
    return _known_action(action), ""


def _known_action(action: str) -> str:
    if action not in ("accept", "reject", "skip"):
        raise ProblemError(422, f"{action[:40]!r} is no decision: accept, reject or skip")
    return action


def _decide(
    catalogue: ServedCatalogue, shown: Proposal, kind: str, text: str, etag: str, who: Caller
) -> DecisionOut:
    def check(proposal: Proposal) -> None:
        if etag != etag_of(proposal):
            raise ProblemError(409, "it has changed since it was shown")

    def take(opened: Review, proposal: Proposal) -> ReviewReport:
        match kind:
            case "accept":
                return opened.accept([proposal], who.name)
            case "reject":
                return opened.reject([proposal], who.name)
            case "skip":
                return opened.skip([proposal], who.name)
        several = opened.has_several(proposal)
        values = text.split(SEVERAL.strip()) if several else [text]
        return opened.edit(proposal, values, who.name)

    return decide_one(catalogue, shown.id, kind, take, check)


def _wanted(kind: str, text: str, proposal: Proposal) -> str:
    values = SEVERAL.join(proposal.values)
    return {"accept": f"accept “{values}”", "reject": f"reject “{values}”", "skip": "skip it"}.get(
        kind, f"set “{text}”"
    )


def _told(kind: str, text: str, proposal: Proposal) -> str:
    return f"{_DONE[kind]} {proposal.property}: {text or SEVERAL.join(proposal.values)}"


# Show


def _after(
    request: Request,
    catalogue: ServedCatalogue,
    who: Caller,
    query: ReviewQuery,
    following: Proposal | None,
    message: Message,
) -> Response:
    """Return what is shown after a decision: a part of the page, or where to go on."""
    if not is_partial(request):
        at = following is not None and query.view != TABLE
        url = query.url(f"/review/{following.id}") if at and following else query.url()
        return RedirectResponse(url, 303)
    if query.view == TABLE:
        shown = _table(catalogue, query, None)
    else:
        if following is None:
            following = ReviewQueue(catalogue, query).next()
        shown = _one(catalogue, query, following)
    context = _frame(catalogue, query, who, message=message, **shown)
    return render(request, "review_part.html.j2", who, **context)


def _page(
    request: Request,
    catalogue: ServedCatalogue,
    who: Caller,
    query: ReviewQuery,
    *,
    status: int = 200,
    **shown: Any,
) -> Response:
    choices: Choices = request.app.state.choices
    counts = catalogue.records.counts_by_property(ProposalFilter(states=query.states))
    return render(
        request,
        "review.html.j2",
        who,
        status=status,
        title="Review",
        properties=sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:500],
        categories=choices.categories(catalogue),
        orders=_ORDERS,
        origins=[str(each) for each in ProposalOrigin],
        states=_STATES,
        **_frame(catalogue, query, who, **shown),
    )


_ORDERS = {
    str(ProposalOrder.GAIN): "what teaches most",
    str(ProposalOrder.DOUBT): "most doubtful",
    str(ProposalOrder.PROBABILITY): "most probable",
    str(ProposalOrder.ITEM): "item and property",
    str(ProposalOrder.NEWEST): "newest",
}
_STATES = ("waiting", "decided", *map(str, ProposalState))


def _frame(
    catalogue: ServedCatalogue, query: ReviewQuery, who: Caller, **shown: Any
) -> dict[str, Any]:
    """Return what the part of the page needs that is replaced."""
    records = catalogue.records
    by = records.decided_by(start_of_today())
    waiting = records.count(ProposalFilter(states=OPEN))
    return {
        "query": query,
        "count": ReviewQueue(catalogue, query).count(),
        "progress": Progress(sum(by.values()), by.get(who.name, 0), waiting),
        "may_undo": Scope.REVIEW in who.scopes,
        "card": None,
        "rows": None,
        "conflict": None,
        "message": None,
        "dialog": None,
        "next_page": "",
        **shown,
    }


def _one(
    catalogue: ServedCatalogue, query: ReviewQuery, proposal: Proposal | None
) -> dict[str, Any]:
    if proposal is None:
        return {}
    return {"card": _card(catalogue, proposal)}


def _card(catalogue: ServedCatalogue, proposal: Proposal) -> ProposalCard:
    model = catalogue.model
    spec = None
    if model is not None:
        spec = model.completion.catalogue.ontology.properties.get(proposal.property)
    has_several = spec is not None and spec.cardinality != "one"
    return card_of(catalogue, proposal, has_several=has_several)


def _table(catalogue: ServedCatalogue, query: ReviewQuery, after: int | None) -> dict[str, Any]:
    found = ReviewQueue(catalogue, query).page(ROWS + 1, after)
    rows = found[:ROWS]
    more = query.url(after=rows[-1].id) if len(found) > ROWS else ""
    return {"rows": _with_items(catalogue, rows), "next_page": more}


@dataclass(frozen=True)
class Row:
    """A line of the table: a proposal with its item's title, and whether there is an image."""

    proposal: Proposal
    etag: str
    title: str
    has_image: bool

    @property
    def is_open(self) -> bool:
        """Whether a person can decide about it."""
        return self.proposal.state in OPEN


def _with_items(catalogue: ServedCatalogue, proposals: list[Proposal]) -> list[Row]:
    with catalogue.store() as store:
        items = store.rows_about([each.item for each in proposals]).items if proposals else {}
    rows = []
    for each in proposals:
        item = items.get(each.item, {})
        has_image = catalogue.shows_image(item.get("images"))
        rows.append(Row(each, etag_of(each), item.get("title") or "", has_image))
    return rows


def _row(
    request: Request,
    catalogue: ServedCatalogue,
    who: Caller,
    query: ReviewQuery,
    proposal: Proposal,
    message: Message | None = None,
    conflict: Conflict | None = None,
) -> Response:
    (row,) = _with_items(catalogue, [proposal])
    context = _frame(catalogue, query, who, message=message, conflict=conflict)
    return render(request, "review_row.html.j2", who, row=row, **context)


def _bulk(
    request: Request,
    catalogue: ServedCatalogue,
    who: Caller,
    query: ReviewQuery,
    action: str,
    error: str = "",
) -> Response:
    closed = [each for each in query.states if each not in OPEN]
    if closed:
        raise UsageError(f"{closed[0]} proposals are decided already: choose those that wait")
    queue = ReviewQueue(catalogue, query)
    template = "bulk_dialog.html.j2" if is_partial(request) else "bulk.html.j2"
    headers = {"HX-Retarget": "#dialogs", "HX-Reswap": "innerHTML"} if error else None
    return render(
        request,
        template,
        who,
        headers=headers,
        title="Review",
        query=query,
        action=action,
        count=queue.count(),
        samples=queue.page(5),
        error=error,
    )


def _others(expected: int, found: int) -> str:
    return (
        f"{expected:,} proposals were expected, and the filter means {found:,} by now: nothing "
        "was decided. Look at them again"
    )


@dataclass(frozen=True)
class Neighbour:
    """An item like another one."""

    id: str
    title: str
    has_image: bool


def _neighbours(catalogue: ServedCatalogue, proposal: Proposal) -> list[Neighbour]:
    searcher, _ = catalogue.searcher()
    if proposal.property == CATEGORY:
        filters = Filters(category=proposal.values[0])
    else:
        filters = Filters(tuple((proposal.property, value) for value in proposal.values))
    hits = searcher.similar(proposal.item, NEIGHBOURS, filters).hits
    with_image = catalogue.with_images(hit.item for hit in hits)
    return [Neighbour(hit.item, hit.title or hit.item, hit.item in with_image) for hit in hits]
