"""Pages in an application: their routes, the files that they load, and the navigation."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from kg.home import Home
from serving.pages import item, overview, quality, reference, review, runs, search, signing_in
from serving.pages.choices import Choices
from serving.pages.rendering import ASSETS, asset
from serving.pages.routing import error_page, page_router

PAGES = (overview, review, search, runs, quality)
"""The pages in the order of the navigation, each with ``router`` and ``NAVIGATION``."""
YEAR = 365 * 24 * 3600
_API = ("/v2/", "/metrics", "/openapi.json")
assets = page_router()


@assets.get("/assets/{name}")
def get_asset(name: str) -> Response:
    """Return a file that pages load; its address changes with its content."""
    if name not in ASSETS:
        raise HTTPException(404)
    headers = {"Cache-Control": f"public, max-age={YEAR}, immutable"}
    return Response(asset(name), media_type=ASSETS[name], headers=headers)


def add_pages(app: FastAPI, home: Home) -> None:
    """Add the pages to an application that has the handlers of problems."""
    app.state.choices = Choices(home)
    app.state.overview = overview.OverviewReader()
    app.state.navigation = tuple(each.NAVIGATION for each in PAGES)
    for module in (*PAGES, item, reference, signing_in):
        app.include_router(module.router)
    app.include_router(assets)
    told_as_problem = app.exception_handlers[HTTPException]

    @app.exception_handler(HTTPException)
    async def _on_http(request: Request, error: HTTPException) -> Response:
        is_page = "text/html" in request.headers.get("accept", "")
        if is_page and not request.url.path.startswith(_API):
            detail = f"there is nothing at {request.url.path[:200]!r}: start from the overview"
            if error.status_code == 405:
                detail = f"{request.url.path[:200]!r} cannot be asked for like that"
            return error_page(request, error.status_code, detail)
        response: Response = told_as_problem(request, error)  # type: ignore[assignment]
        return response
