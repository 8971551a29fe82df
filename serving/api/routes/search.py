"""Search, similar items, how well an item matches a query, and which items are the same."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, File, Form, Query, UploadFile
from pydantic import BaseModel, Field

from serving.alignment.aligning import AlignOptions, score_pairs
from serving.alignment.model import AlignmentModel, find_alignment_model
from serving.api.authentication import Reader
from serving.api.documents import Document, HitOut, Id, MatchIn, MatchOut, SearchOut
from serving.api.parameters import Catalogue, ItemId
from serving.api.problems import EVERYWHERE
from serving.api.routes.completion import checked_image
from serving.search.filters import Filters
from serving.search.parts import Kind
from serving.search.searcher import Hit, Results

router = APIRouter(prefix="/v2", tags=["search"], responses=EVERYWHERE)
Count = Annotated[int, Query(ge=1, le=100, description="How many to return")]
Category = Annotated[
    str | None, Query(max_length=2000, description="Only items of it and those below it")
]
FilterTexts = Annotated[
    list[Annotated[str, Field(max_length=2000)]] | None,
    Query(
        alias="filter",
        max_length=50,
        description="property=value; values of one property are alternatives",
        examples=[["colour=blue"]],
    ),
]


@router.get("/search")
def search(
    catalogue: Catalogue,
    _: Reader,
    q: Annotated[str, Query(min_length=1, max_length=1000, description="As a shopper types it")],
    filter: FilterTexts = None,
    category: Category = None,
    k: Count = 10,
    facets: bool = False,
    explain: bool = False,
) -> SearchOut:
    """Search for items."""
    searcher, stale = catalogue.searcher()
    found = searcher.search(q, k, Filters.parse(filter or (), category), facets=facets)
    return _out(found, stale, explain=explain)


@router.post("/search")
def search_by_image(
    catalogue: Catalogue,
    _: Reader,
    image: Annotated[UploadFile, File(description="What it should look like")],
    q: Annotated[str, Form(max_length=1000)] = "",
    filter: Annotated[
        list[Annotated[str, Field(max_length=2000)]] | None, Form(max_length=50)
    ] = None,
    category: Annotated[str | None, Form(max_length=2000)] = None,
    k: Annotated[int, Form(ge=1, le=100)] = 10,
    explain: Annotated[bool, Form()] = False,
) -> SearchOut:
    """Search for items that look like an image, and match a text if there is one."""
    searcher, stale = catalogue.searcher()
    filters = Filters.parse(filter or (), category)
    found = searcher.search(q.strip(), k, filters, image=read_image(image))
    return _out(found, stale, explain=explain)


def read_image(file: UploadFile) -> bytes:
    """Return an uploaded image. Raises ProblemError with status 422 if it is none."""
    return checked_image(file.filename or "the image", file.file.read()).data


@router.get("/items/{item_id}/similar")
def similar(
    catalogue: Catalogue,
    item_id: ItemId,
    _: Reader,
    by: Annotated[
        list[Kind] | None,
        Query(description="What is compared; by default all that there is of the item"),
    ] = None,
    filter: FilterTexts = None,
    category: Category = None,
    k: Count = 10,
) -> SearchOut:
    """Return the items most like another one."""
    searcher, stale = catalogue.searcher()
    found = searcher.similar(item_id, k, Filters.parse(filter or (), category), tuple(by or ()))
    return _out(found, stale)


@router.post("/match")
def match(catalogue: Catalogue, given: MatchIn, _: Reader) -> MatchOut:
    """Return the probability that an item matches a query, by the served network."""
    return MatchOut(**catalogue.match(given.text, given.item))


class PairIn(Document):
    """Two items."""

    left: Id
    right: Id


class AlignIn(Document):
    """Pairs of stored items."""

    pairs: list[PairIn] = Field(min_length=1, max_length=1000)
    target_precision: float = Field(default=0.95, gt=0, lt=1)


class AlignedOut(BaseModel):
    """Whether two items are the same product."""

    left: str
    right: str
    probability: float
    decision: str


@router.post("/align")
def align(catalogue: Catalogue, given: AlignIn, _: Reader) -> list[AlignedOut]:
    """Return how probable it is that the items of each pair are the same product."""
    aligner = AlignmentModel.load(find_alignment_model(catalogue.home.models, None))
    pairs = [(each.left, each.right) for each in given.pairs]
    options = AlignOptions(target=given.target_precision)
    records, kept = catalogue.counted_records()
    found = score_pairs(aligner, records, pairs, "the request", options, kept=kept)
    return [AlignedOut(**each.as_dict()) for each in found.pairs]


def _out(found: Results, stale: str, *, explain: bool = False) -> SearchOut:
    return SearchOut(
        hits=[_hit(each, explain) for each in found.hits],
        corrected=found.corrected,
        facets={each.property: dict(each.values) for each in found.facets},
        vectors=[str(each) for each in found.parts],
        stale=stale,
    )


def _hit(hit: Hit, explain: bool) -> HitOut:
    return HitOut(
        item=hit.item,
        score=hit.score,
        title=hit.title or None,
        category=hit.category or None,
        features=hit.features if explain else None,
        by={str(name): value for name, value in hit.by.items()},
    )
