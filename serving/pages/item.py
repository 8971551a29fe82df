"""An item: what is known of it, its history, what is around it, what the model would say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Query, Request, Response

from kg.drawing.ego import ego_graph, neighbourhood
from kg.drawing.render import EgoDrawing
from kg.item_document import item_document
from kg.stores.history import history_of
from schema.errors import CatalographError
from schema.proposals import OPEN, Proposal, ProposalFilter
from schema.terms import Item
from serving.api.authentication import Reader
from serving.api.catalogue import ServedCatalogue
from serving.api.parameters import Catalogue, ItemId, decode_cursor, encode_cursor
from serving.pages.cards import bars_of, told_of
from serving.pages.choices import Choices
from serving.pages.neighbourhood import Drawing, drawing_of
from serving.pages.rendering import render, with_query
from serving.pages.routing import page_router

router = page_router()
ROWS = 50
"""Items in a list."""
MAX_STATEMENTS = 500
MAX_CHANGES = 200
"""Changes of an item that are shown, the last ones."""
CANDIDATES = 5


@dataclass(frozen=True)
class ListedItem:
    """An item in a list, with what is proposed for the property that it lacks."""

    id: str
    title: str
    category: str
    has_image: bool
    proposal: Proposal | None


@router.get("/items")
def items(
    request: Request,
    catalogue: Catalogue,
    who: Reader,
    category: Annotated[str, Query(max_length=2000)] = "",
    missing: Annotated[str, Query(max_length=500)] = "",
    property: Annotated[str, Query(max_length=500)] = "",
    value: Annotated[str, Query(max_length=10_000)] = "",
    id: Annotated[str, Query(max_length=1000)] = "",
    after: Annotated[str, Query(max_length=4000)] = "",
) -> Response:
    """List items: of a category, without a property, or with a value."""
    listing = catalogue.listing()
    ids = listing.ids(
        given=[id] if id else None,
        category=category or None,
        missing=missing or None,
        having=(property, value) if property and value else None,
    )
    start = listing.place_after(ids, decode_cursor(after)) if after else 0
    page = ids[start : start + ROWS]
    filters: dict[str, Any] = {
        "category": category,
        "missing": missing,
        "property": property,
        "value": value,
    }
    more = start + ROWS < len(ids)
    return render(
        request,
        "items.html.j2",
        who,
        title="Items",
        count=len(ids),
        items=_listed(catalogue, page, missing),
        next_page=with_query("/items", **filters, after=encode_cursor(page[-1])) if more else "",
        **filters,
    )


@router.get("/items/{item_id}")
def item(request: Request, catalogue: Catalogue, who: Reader, item_id: ItemId) -> Response:
    """Show an item."""
    found, statements = catalogue.item(item_id)
    document = item_document(catalogue.home, found, statements[:MAX_STATEMENTS])
    waiting = catalogue.records.find(ProposalFilter(item=item_id, states=OPEN), limit=100)
    return render(
        request,
        "item.html.j2",
        who,
        title=found.title or item_id,
        item=found,
        document=document,
        hidden=max(0, len(statements) - MAX_STATEMENTS),
        pictures=catalogue.images_there(found.images)[:12],
        waiting={each.property: each for each in waiting},
        lacking=_lacking(request.app.state.choices, found, {each.property for each in statements}),
        has_model=catalogue.model is not None,
    )


@router.get("/items/{item_id}/history")
def history(
    request: Request,
    catalogue: Catalogue,
    who: Reader,
    item_id: ItemId,
    of: Annotated[str, Query(max_length=500)] = "",
) -> Response:
    """Return what changed an item, or one of its properties, the last change first."""
    with catalogue.store() as store:
        changes = history_of(store, item_id)
    if of:
        changes = [each for each in changes if each.what == of]
    reviewers = {each.id: each.reviewer for each in catalogue.records.runs()}
    shown = changes[::-1][:MAX_CHANGES]
    return render(
        request,
        "item_history.html.j2",
        who,
        changes=shown,
        hidden=len(changes) - len(shown),
        reviewers=reviewers,
        of=of,
    )


@router.get("/items/{item_id}/around")
def around(request: Request, catalogue: Catalogue, who: Reader, item_id: ItemId) -> Response:
    """Return a drawing of an item with its values and the items that share most of them."""
    found, statements = catalogue.item(item_id)
    with catalogue.store() as store:
        graph = ego_graph(found, statements, neighbourhood(store, found, statements))
    drawing: Drawing = drawing_of(EgoDrawing.of(graph, catalogue.home.image_files()))
    return render(request, "item_around.html.j2", who, drawing=drawing)


@router.get("/items/{item_id}/ask")
def ask(
    request: Request,
    catalogue: Catalogue,
    who: Reader,
    item_id: ItemId,
    property: Annotated[str, Query(min_length=1, max_length=500)],
) -> Response:
    """Return what the model would say of a cell, also where it is filled."""
    context: dict[str, Any] = {"completion": None, "why_none": "", "bars": (), "told": ()}
    try:
        completed, plan, model = catalogue.complete(
            item_id, (property,), top_k=CANDIDATES, target_precision=None
        )
        context["model"] = model.name
        if completed and completed[0].candidates:
            evidence = completed[0].evidence.as_dict()
            context["completion"] = completed[0]
            context["bars"] = bars_of(evidence)[:6]
            context["told"] = told_of(evidence)
        elif completed and completed[0].reason is not None:
            context["why_none"] = f"The model is not asked: {completed[0].reason.value}."
        else:
            reasons = ", ".join(map(str, plan.not_asked))
            context["why_none"] = f"The model has no answer. {reasons}"
    except CatalographError as error:
        context["why_none"] = str(error)
    return render(request, "item_ask.html.j2", who, property=property, **context)


def _lacking(choices: Choices, item: Item, stated: set[str]) -> list[str]:
    """Return the properties that apply to an item and that it lacks."""
    ontology = choices.ontology()
    if ontology is None:
        return []
    return [name for name in ontology.applicable(item.category) if name not in stated][:100]


def _listed(catalogue: ServedCatalogue, ids: list[str], missing: str) -> list[ListedItem]:
    with catalogue.store() as store:
        rows = store.rows_about(ids).items if ids else {}
    proposals: dict[str, Proposal] = {}
    if missing:
        cells = {(id, missing) for id in ids}
        proposals = {each.item: each for each in catalogue.records.of_cells(cells)}
    found = []
    for id in ids:
        row = rows.get(id, {})
        found.append(
            ListedItem(
                id,
                row.get("title") or id,
                row.get("category") or "",
                catalogue.shows_image(row.get("images")),
                proposals.get(id),
            )
        )
    return found
