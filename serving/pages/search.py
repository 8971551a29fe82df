"""Search as a shopper would, with filters beside the results and what makes each of them match."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import File, Form, Query, Request, Response, UploadFile

from schema.errors import DataError, PropertyNotFoundError, UsageError
from serving.api.authentication import Reader
from serving.api.parameters import Catalogue
from serving.api.problems import ProblemError
from serving.api.routes.search import read_image
from serving.pages.rendering import NavigationEntry, is_partial, render, with_query
from serving.pages.routing import page_router
from serving.search.filters import Filters
from serving.search.searcher import Facet, Hit

NAVIGATION = NavigationEntry("/search", "Search")
SHOWN = 24
MAX_SHOWN = 96
MOST = "/search"
router = page_router()


@dataclass(frozen=True)
class Asked:
    """What is searched for: a text, and filters written property=value."""

    text: str
    filters: tuple[str, ...] = ()
    category: str = ""
    shown: int = SHOWN
    is_image: bool = False

    def url(
        self,
        *,
        add: str | None = None,
        leave: str | None = None,
        category: str | None = None,
        shown: int | None = None,
    ) -> str:
        """Return the address of the same search with a filter more or less."""
        filters = [each for each in self.filters if each != leave]
        if add is not None and add not in filters:
            filters.append(add)
        return with_query(
            MOST,
            q=self.text,
            filter=filters,
            category=self.category if category is None else category,
            k=shown,
        )


@dataclass(frozen=True)
class FacetChoice:
    """A value of a facet: its count, where it leads, and whether it is chosen."""

    value: str
    count: int
    url: str
    is_chosen: bool = False


@dataclass(frozen=True)
class FacetChoices:
    """A facet with its values."""

    name: str
    choices: tuple[FacetChoice, ...]


@dataclass(frozen=True)
class Reason:
    """What of an item matches, and how well, from 0 to 1."""

    told: str
    share: float


TOLD = {
    "text": "words in the text",
    "title": "words in the title",
    "values": "words in values",
    "phrase": "words side by side",
    "head": "is such a thing",
    "group": "kind of thing",
    "code": "model number",
    "meaning": "meaning",
    "words": "words",
    "image": "looks alike",
    "node": "is alike in all that is known",
}
"""What the features of the ranking mean."""


@router.get("/search")
def search(
    request: Request,
    catalogue: Catalogue,
    who: Reader,
    q: Annotated[str, Query(max_length=1000)] = "",
    filter: Annotated[list[Annotated[str, Query(max_length=2000)]] | None, Query()] = None,
    category: Annotated[str, Query(max_length=2000)] = "",
    k: Annotated[int, Query(ge=1, le=MAX_SHOWN)] = SHOWN,
) -> Response:
    """Show the search, and what it found."""
    asked = Asked(q.strip(), tuple(dict.fromkeys(filter or ())), category, k)
    page: dict[str, Any] = {
        "title": "Search",
        "asked": asked,
        "results": None,
        "problem": "",
        "stale": "",
    }
    if asked.text:
        try:
            searcher, stale = catalogue.searcher()
            filters = Filters.parse(asked.filters, asked.category or None)
            results = searcher.search(asked.text, asked.shown, filters, facets=True)
        except (DataError, PropertyNotFoundError) as error:
            page["problem"] = str(error)
        else:
            page |= {
                "results": results,
                "stale": stale,
                "facets": _choices(results.facets, asked),
                "with_image": catalogue.with_images(hit.item for hit in results.hits),
                "reasons": {hit.item: reasons(hit) for hit in results.hits},
                "can_show_more": len(results.hits) == asked.shown < MAX_SHOWN,
            }
    template = "search_results.html.j2" if is_partial(request) else "search.html.j2"
    return render(request, template, who, **page)


@router.post("/search")
def search_by_image(
    request: Request,
    catalogue: Catalogue,
    who: Reader,
    image: Annotated[UploadFile, File()],
    q: Annotated[str, Form(max_length=1000)] = "",
) -> Response:
    """Show what looks like an image, and matches a text if there is one."""
    asked = Asked(q.strip(), is_image=True)
    page: dict[str, Any] = {"title": "Search", "asked": asked, "results": None, "stale": ""}
    page |= {"problem": "", "facets": [], "can_show_more": False}
    try:
        searcher, page["stale"] = catalogue.searcher()
        results = searcher.search(asked.text, asked.shown, image=read_image(image))
    except (DataError, UsageError) as error:
        page["problem"] = str(error)
    except ProblemError as error:
        page["problem"] = error.detail
    else:
        page |= {
            "results": results,
            "with_image": catalogue.with_images(hit.item for hit in results.hits),
            "reasons": {hit.item: reasons(hit) for hit in results.hits},
        }
    return render(request, "search.html.j2", who, **page)


def reasons(hit: Hit) -> list[Reason]:
    """Return what makes an item match, the strongest first."""
    named = {**{str(kind): value for kind, value in hit.by.items()}, **hit.features}
    if hit.features:
        # These are what the score by words comes from.
        named.pop("words", None)
    found = [
        Reason(TOLD.get(name, name), min(1.0, value)) for name, value in named.items() if value > 0
    ]
    return sorted(found, key=lambda each: -each.share)


def _choices(facets: Sequence[Facet], asked: Asked) -> list[FacetChoices]:
    """Return the facets with links; what is chosen can be left out again."""
    found = []
    for facet in facets:
        choices = []
        for value, count in facet.values:
            text = f"{facet.property}={value}"
            if facet.property == "category":
                is_chosen = asked.category == value
                url = asked.url(category="" if is_chosen else value)
            else:
                is_chosen = text in asked.filters
                url = asked.url(leave=text) if is_chosen else asked.url(add=text)
            choices.append(FacetChoice(value, count, url, is_chosen))
        found.append(FacetChoices(facet.property, tuple(choices)))
    return found
