"""The overview: where values are missing, what the last runs changed, the model, what waits."""

from __future__ import annotations

from fastapi import Request, Response

from serving.api.authentication import Reader
from serving.api.parameters import Catalogue
from serving.pages.rendering import NavigationEntry, render
from serving.pages.routing import page_router

NAVIGATION = NavigationEntry("/", "Overview")
router = page_router()


@router.get("/")
def overview(request: Request, catalogue: Catalogue, who: Reader) -> Response:
    """Show the state of the catalogue."""
    return render(request, "overview.html.j2", who, title="Overview")
