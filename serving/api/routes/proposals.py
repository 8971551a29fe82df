"""Proposals: list them, look at one, decide about one or about all of a filter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from kg.stores.protocol import GraphStore
from schema.errors import ProposalConflictError, UsageError
from schema.ledger_proposals import ProposalRecords
from schema.proposals import (
    OPEN,
    Proposal,
    ProposalFilter,
    ProposalOrder,
    ProposalOrigin,
    ProposalState,
    step_document,
)
from serving.api.authentication import Caller, Reader, Reviewer
from serving.api.catalogue import ServedCatalogue
from serving.api.documents import (
    MAX_NUMBER,
    BulkIn,
    DecisionOut,
    EditIn,
    FilterIn,
    ProposalDetail,
    ProposalOut,
    ProposalPage,
)
from serving.api.parameters import (
    Catalogue,
    Cursor,
    PageSize,
    bad_cursor,
    check_version,
    decode_cursor,
    encode_cursor,
)
from serving.api.problems import EVERYWHERE, ProblemError, documented
from serving.review.graph import rows_of_cells
from serving.review.session import Review, ReviewReport

router = APIRouter(prefix="/v2/proposals", tags=["review"], responses=EVERYWHERE)


@router.get("")
def list_proposals(
    catalogue: Catalogue,
    _: Reader,
    item: Annotated[str | None, Query(max_length=1000)] = None,
    property: Annotated[str | None, Query(max_length=500)] = None,
    value: Annotated[str | None, Query(max_length=10_000)] = None,
    run: Annotated[str | None, Query(max_length=100)] = None,
    model: Annotated[str | None, Query(max_length=200)] = None,
    state: Annotated[
        list[ProposalState] | None, Query(description="By default those that wait for a decision")
    ] = None,
    origin: Annotated[list[ProposalOrigin] | None, Query()] = None,
    min_probability: Annotated[float | None, Query(ge=0, le=1)] = None,
    max_probability: Annotated[float | None, Query(ge=0, le=1)] = None,
    order: ProposalOrder | None = None,
    limit: PageSize = 50,
    after: Cursor = None,
) -> ProposalPage:
    """List proposals, first those worth a decision most."""
    wanted = ProposalFilter(
        item=item,
        property=property,
        value=value,
        run=run,
        model=model,
        states=tuple(state or OPEN),
        origins=None if origin is None else tuple(origin),
        min_probability=min_probability,
        max_probability=max_probability,
    )
    chosen = order or ProposalOrder.usual(wanted.states)
    last = None if after is None else _number(decode_cursor(after))
    records = catalogue.records
    found = records.find(wanted, chosen, limit + 1, last)
    delayed = records.delayed()
    page = found[:limit]
    return ProposalPage(
        proposals=proposals_out(catalogue, page),
        next=encode_cursor(str(page[-1].id)) if len(found) > limit else None,
        count=records.count(wanted),
        waiting=delayed.waiting,
        due=delayed.due,
    )


@router.get("/{number}", responses=documented(404))
def get_proposal(
    catalogue: Catalogue, number: int, _: Reader, response: Response
) -> ProposalDetail:
    """Return a proposal with its evidence, what is stored of its cell, and its history."""
    proposal = needed(catalogue.records, number)
    response.headers["ETag"] = etag_of(proposal)
    return detail_of(catalogue, proposal)


@router.post("/{number}/accept", responses=documented(409))
def accept(catalogue: Catalogue, number: int, who: Reviewer, request: Request) -> DecisionOut:
    """Accept a proposal: its values count like what a source states."""
    return _decide_one(catalogue, number, request, "accept", _accepting(who))


@router.post("/{number}/reject", responses=documented(409))
def reject(catalogue: Catalogue, number: int, who: Reviewer, request: Request) -> DecisionOut:
    """Reject a proposal: its values are not proposed for this cell again."""
    return _decide_one(
        catalogue, number, request, "reject", lambda review, found: review.reject([found], who.name)
    )


@router.post("/{number}/skip", responses=documented(409))
def skip(catalogue: Catalogue, number: int, who: Reviewer, request: Request) -> DecisionOut:
    """Leave a proposal to others: it stays as it is, and comes last in a list."""
    return _decide_one(
        catalogue, number, request, "skip", lambda review, found: review.skip([found], who.name)
    )


@router.post("/{number}/edit", responses=documented(409))
def edit(
    catalogue: Catalogue, number: int, given: EditIn, who: Reviewer, request: Request
) -> DecisionOut:
    """Give a cell other values than those proposed, which count as rejected."""
    return _decide_one(
        catalogue,
        number,
        request,
        "edit",
        lambda review, found: review.edit(found, given.values, who.name),
    )


@router.post("/bulk", responses=documented(409))
def decide_many(catalogue: Catalogue, given: BulkIn, who: Reviewer) -> DecisionOut:
    """Accept, reject or skip all open proposals of a filter as one run, which can be undone."""
    wanted = filter_of(given.filter)

    def decide(review: Review) -> ReviewReport:
        found = review.records.find(wanted)
        if given.expected is not None and len(found) != given.expected:
            raise ProblemError(
                409,
                f"{given.expected:,} proposals were expected, and the filter means {len(found):,} "
                "by now: look at them again",
                extra={"current": len(found), "expected": given.expected},
            )
        actions = {"accept": review.accept, "reject": review.reject, "skip": review.skip}
        return actions[given.action](found, who.name)

    return decided(catalogue, given.action, decide)


def filter_of(given: FilterIn) -> ProposalFilter:
    """Return the open proposals that a filter means. Raises UsageError if it says nothing."""
    if given == FilterIn():
        raise UsageError("filter: it is empty, and would mean every proposal: name what is meant")
    states = tuple(given.states or OPEN)
    closed = [each for each in states if each not in OPEN]
    if closed:
        raise UsageError(f"states: {closed[0]} is decided already: leave it out")
    return ProposalFilter(
        ids=given.ids,
        item=given.item,
        property=given.property,
        value=given.value,
        run=given.run,
        model=given.model,
        states=states,
        origins=None if given.origins is None else tuple(given.origins),
        min_probability=given.min_probability,
        max_probability=given.max_probability,
    )


def decided(
    catalogue: ServedCatalogue, kind: str, function: Callable[[Review], ReviewReport]
) -> DecisionOut:
    """Take a decision, and return what it changed."""
    report = catalogue.writer.decide(function)
    catalogue.metrics.decisions.labels(kind).inc(report.changed)
    return DecisionOut(run=report.run, changed=report.changed, expired=report.expired)


def decide_one(
    catalogue: ServedCatalogue,
    number: int,
    kind: str,
    function: Callable[[Review, Proposal], ReviewReport],
    check: Callable[[Proposal], None] = lambda proposal: None,
) -> DecisionOut:
    """Take a decision about one proposal.

    Raises ProblemError with status 409, and the proposal as it is now, if it cannot be decided any
    more.
    """

    def decide(review: Review) -> ReviewReport:
        proposal = needed(review.records, number)
        check(proposal)
        try:
            report = function(review, proposal)
        except ProposalConflictError as error:
            raise _conflict(str(error), needed(review.records, number)) from None
        if report.expired:
            raise _conflict(
                f"proposal {number} has expired: other values of the cell are stored by now, or "
                "the item is gone",
                needed(review.records, number),
            )
        return report

    return decided(catalogue, kind, decide)


def _decide_one(
    catalogue: ServedCatalogue,
    number: int,
    request: Request,
    kind: str,
    function: Callable[[Review, Proposal], ReviewReport],
) -> DecisionOut:
    def check(proposal: Proposal) -> None:
        check_version(request, etag_of(proposal), _plain(proposal, ()))

    return decide_one(catalogue, number, kind, function, check)


def _accepting(who: Caller) -> Callable[[Review, Proposal], ReviewReport]:
    return lambda review, found: review.accept([found], who.name)


def _conflict(detail: str, proposal: Proposal) -> ProblemError:
    etag = etag_of(proposal)
    extra = {"current": _plain(proposal, ()), "etag": etag}
    return ProblemError(409, detail, extra=extra, headers={"ETag": etag})


def needed(records: ProposalRecords, number: int) -> Proposal:
    """Return a proposal. Raises ProblemError with status 404 if there is none of this number."""
    found = records.get([number]) if 0 < number <= MAX_NUMBER else {}
    if number not in found:
        raise ProblemError(404, f"no proposal {number}: list those that there are")
    return found[number]


def etag_of(proposal: Proposal) -> str:
    """Return the ETag of a proposal, which each change of it changes."""
    return f'"{proposal.id}-{proposal.change}-{proposal.skips}"'


def proposals_out(catalogue: ServedCatalogue, found: Sequence[Proposal]) -> list[ProposalOut]:
    """Return proposals as documents, with what is stored of their cells."""
    with catalogue.store() as store:
        cells = current_values(store, found)
    return [ProposalOut.model_validate(_plain(each, cells.get(each.cell, ()))) for each in found]


def detail_of(catalogue: ServedCatalogue, proposal: Proposal) -> ProposalDetail:
    """Return a proposal with its item, what is stored of its cell, and its history."""
    with catalogue.store() as store:
        entry = store.item(proposal.item)
        cells = current_values(store, [proposal])
    history = catalogue.records.history(proposal.id)
    return ProposalDetail.model_validate(
        {
            **_plain(proposal, cells.get(proposal.cell, ())),
            "title": None if entry is None else entry[0].title,
            "images": [] if entry is None else list(entry[0].images),
            "history": [step_document(change, run) for change, run in history],
        }
    )


def current_values(
    store: GraphStore, found: Sequence[Proposal]
) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Return what is stored of the cells of proposals."""
    stored = store.rows_about(list(dict.fromkeys(each.item for each in found)))
    rows = rows_of_cells(stored, {each.cell for each in found})
    return {
        cell: [
            {"value": row["value"], "rank": str(row["rank"]), "source": row["source"] or ""}
            for row in own
        ]
        for cell, own in rows.items()
    }


def _plain(proposal: Proposal, current: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return a proposal as the API names its parts."""
    names = {"property": "field", "values": "proposed", "origin": "source", "state": "status"}
    document = {names.get(name, name): value for name, value in proposal.as_dict().items()}
    return {**document, "current": list(current), "etag": etag_of(proposal)}


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > MAX_NUMBER:
        raise bad_cursor(text)
    return int(text)
