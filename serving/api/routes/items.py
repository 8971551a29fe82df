"""Items: get, list, create, replace and delete them; their statements and history."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from kg.home import Home
from kg.item_document import item_document
from kg.item_writing import WrittenItem, write_item
from kg.stores.history import history_of
from kg.stores.protocol import GraphStore
from kg.stores.tables import item_from_row, statements_from_rows
from schema.terms import Item, Statement, StatementReference
from serving.api.authentication import Reader, Writer
from serving.api.catalogue import IMAGE_SIZE, ServedCatalogue, unknown_item
from serving.api.documents import (
    ChangeOut,
    Id,
    ItemIn,
    ItemOut,
    ItemPage,
    ItemWritten,
    NewItemOfSource,
    ProvenanceOut,
    RunChanged,
    StatementDetail,
)
from serving.api.parameters import (
    Catalogue,
    Cursor,
    ItemId,
    PageSize,
    check_version,
    decode_cursor,
    encode_cursor,
)
from serving.api.problems import EVERYWHERE, ProblemError, documented
from serving.review.undoing import delete_items

router = APIRouter(prefix="/v2/items", tags=["items"], responses=EVERYWHERE)
SOURCE = "api"
Source = Annotated[
    str,
    Query(
        min_length=1, max_length=200, description="On whose behalf: what other sources say stays"
    ),
]


@router.get("")
def list_items(
    catalogue: Catalogue,
    _: Reader,
    id: Annotated[list[Id] | None, Query(max_length=100, description="Only these")] = None,
    category: Annotated[
        str | None, Query(max_length=2000, description="Only items of it and below it")
    ] = None,
    missing: Annotated[
        str | None, Query(max_length=500, description="Only items without this property")
    ] = None,
    limit: PageSize = 50,
    after: Cursor = None,
) -> ItemPage:
    """List items in the order of their ids.

    A list is up to date but for the last seconds; a single item always is.
    """
    ids = catalogue.listing().ids(given=id, category=category, missing=missing)
    start = 0 if after is None else catalogue.listing().place_after(ids, decode_cursor(after))
    page = ids[start : start + limit]
    with catalogue.store() as store:
        documents = _documents(catalogue.home, store, page)
    more = start + limit < len(ids)
    return ItemPage(
        items=[ItemOut(**each) for each in documents],
        next=encode_cursor(page[-1]) if more else None,
        count=len(ids),
    )


@router.post("", status_code=201, responses=documented(409))
def create_item(
    catalogue: Catalogue, given: NewItemOfSource, _: Writer, source: Source = SOURCE
) -> ItemWritten:
    """Create an item; 409 if there is one with this id."""

    def create(home: Home) -> WrittenItem:
        entry = _stored(home, given.id)
        if entry is not None:
            raise ProblemError(
                409,
                f"there is an item {given.id!r} already: replace it with PUT",
                extra={"current": entry, "etag": etag_of(entry)},
            )
        return _write(home, given.id, given, source)

    return _written(given.id, catalogue.writer.change(create))


@router.get("/{item_id}")
def get_item(catalogue: Catalogue, item_id: ItemId, _: Reader, response: Response) -> ItemOut:
    """Return an item with its statements; the ETag is for If-Match."""
    document = item_document(catalogue.home, *catalogue.item(item_id))
    response.headers["ETag"] = etag_of(document)
    return ItemOut(**document)


@router.put("/{item_id}", responses=documented(409))
def replace_item(
    catalogue: Catalogue,
    item_id: ItemId,
    given: ItemIn,
    request: Request,
    _: Writer,
    source: Source = SOURCE,
) -> ItemWritten:
    """Replace what a source says of an item, or create it.

    What other sources say of it stays. With If-Match, 409 if it has changed since.
    """

    def put(home: Home) -> WrittenItem:
        entry = _stored(home, item_id)
        if entry is not None:
            check_version(request, etag_of(entry), entry)
        elif request.headers.get("if-match") is not None:
            raise unknown_item(item_id)
        return _write(home, item_id, given, source)

    return _written(item_id, catalogue.writer.change(put))


@router.delete("/{item_id}", responses=documented(409))
def delete_item(catalogue: Catalogue, item_id: ItemId, request: Request, _: Writer) -> RunChanged:
    """Delete an item with all that is stated of it; undoing the run brings it back."""

    def delete(home: Home) -> dict[str, Any]:
        entry = _stored(home, item_id)
        if entry is None:
            raise unknown_item(item_id)
        check_version(request, etag_of(entry), entry)
        return delete_items(home, [item_id]).as_dict()

    return RunChanged(**catalogue.writer.change(delete))


@router.get("/{item_id}/statements")
def item_statements(catalogue: Catalogue, item_id: ItemId, _: Reader) -> list[StatementDetail]:
    """Return the statements about an item with the provenance of each."""
    return [_detail(each) for each in catalogue.item(item_id)[1]]


@router.get("/{item_id}/history")
def item_history(catalogue: Catalogue, item_id: ItemId, _: Reader) -> list[ChangeOut]:
    """Return what changed an item, when, and from which source, the oldest first."""
    with catalogue.store() as store:
        changes = history_of(store, item_id)
        if not changes and store.item(item_id) is None:
            raise unknown_item(item_id)
    return [ChangeOut(**asdict(each)) for each in changes]


@router.get("/{item_id}/image/{number}", responses={200: {"content": {"image/*": {}}}})
def item_image(
    catalogue: Catalogue,
    item_id: ItemId,
    number: int,
    _: Reader,
    size: Annotated[
        int, Query(ge=16, le=IMAGE_SIZE, description="Pixels of the longer side, at most")
    ] = IMAGE_SIZE,
) -> Response:
    """Return an image of an item as a JPEG; the first one has the number 0."""
    return image_response(catalogue, item_id, number, size)


def image_response(
    catalogue: ServedCatalogue, item_id: str, number: int, size: int = IMAGE_SIZE
) -> Response:
    """Return an image of an item, decoded and encoded again.

    So only pixels get to a browser: neither scripts of an SVG nor what else a file may hold.
    """
    item, _ = catalogue.item(item_id)
    images = item.images
    if not 0 <= number < len(images):
        raise ProblemError(404, f"item {item_id!r} has {len(images):,} images, and none {number}")
    data = catalogue.thumbnail(images[number], size)
    etag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": "private, max-age=3600"}
    return Response(data, media_type="image/jpeg", headers=headers)


def etag_of(document: Any) -> str:
    """Return the ETag of a document: a hash of what it says."""
    text = json.dumps(document, sort_keys=True, ensure_ascii=True, default=str)
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


def _detail(statement: Statement) -> StatementDetail:
    alone = (StatementReference(statement.rank, statement.provenance),)
    return StatementDetail(
        property=statement.property,
        value=statement.value,
        language=statement.language,
        rank=str(statement.rank),
        provenance=[
            ProvenanceOut(rank=str(each.rank), **asdict(each.provenance))
            for each in statement.references or alone
        ],
    )


def _stored(home: Home, id: str) -> dict[str, Any] | None:
    with home.store(read_only=True) as store:
        entry = store.item(id)
    return None if entry is None else item_document(home, *entry)


def _documents(home: Home, store: GraphStore, ids: list[str]) -> list[dict[str, Any]]:
    rows = store.rows_about(ids)
    statements: dict[str, list[Any]] = {}
    for row in rows.statements.values():
        statements.setdefault(row["item"], []).append(row)
    return [
        item_document(
            home, item_from_row(rows.items[id]), statements_from_rows(statements.get(id, []))
        )
        for id in ids
        if id in rows.items
    ]


def _write(home: Home, id: str, given: ItemIn, source: str) -> WrittenItem:
    item = Item(
        id,
        title=given.title,
        category=given.category,
        images=tuple(given.images),
        description=given.description,
    )
    values = [(each.property, each.value) for each in given.statements]
    return write_item(home, item, values, source)


def _written(id: str, written: WrittenItem) -> ItemWritten:
    report = written.report
    return ItemWritten(
        id=id,
        run=written.run,
        created=report.new_items > 0,
        changed=report != type(report)(0, 0),
        notes=list(written.notes),
    )
