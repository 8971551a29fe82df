"""Routes of pages: whatever goes wrong there is told as a page, or as a message on one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from schema.errors import CatalographError
from serving.api.problems import ProblemError, status_of
from serving.pages.rendering import is_partial, render

SIGN_IN = "/sign-in"
_logger = logging.getLogger("catalograph.pages")
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class PageRoute(APIRoute):
    """A route whose errors are pages."""

    def get_route_handler(self) -> Handler:
        """Return what answers a request."""
        answer = super().get_route_handler()

        async def answering(request: Request) -> Response:
            try:
                return await answer(request)
            except ProblemError as error:
                return error_page(request, error.status, error.detail)
            except CatalographError as error:
                return error_page(request, status_of(error), str(error))
            except RequestValidationError as error:
                first = error.errors()[0]
                field = ".".join(str(each) for each in first["loc"][1:])
                return error_page(request, 422, f"{field}: {first['msg']}")
            except HTTPException:
                raise
            except Exception:
                _logger.exception("a fault of Catalograph")
                return error_page(
                    request, 500, "a fault of Catalograph: the server's log has more about it"
                )

        return answering


def page_router() -> APIRouter:
    """Return a router for pages, which are no part of the API."""
    return APIRouter(route_class=PageRoute, include_in_schema=False)


def error_page(request: Request, status: int, detail: str) -> Response:
    """Return a page that tells an error; where a token is needed, the one to sign in."""
    if status == 401:
        return _to_sign_in(request)
    title = HTTPStatus(status).phrase
    if is_partial(request):
        # What is on the page stays there, and a message is put beside it.
        headers = {"HX-Retarget": "#toasts", "HX-Reswap": "beforeend"}
        return render(request, "toast.html.j2", status=status, headers=headers, error=detail)
    who = getattr(request.state, "caller", None)
    return render(request, "error.html.j2", who, status=status, title=title, detail=detail)


def _to_sign_in(request: Request) -> Response:
    wanted = request.url.path
    if is_partial(request):
        # The address of the page that asks for a part of itself.
        wanted = request.headers.get("hx-current-url", "/")
        place = wanted.find("/", wanted.find("//") + 2)
        wanted = wanted[place:] if place > 0 else "/"
    elif request.url.query:
        wanted = f"{wanted}?{request.url.query}"
    url = f"{SIGN_IN}?{urlencode({'next': wanted})}" if wanted != "/" else SIGN_IN
    if is_partial(request):
        return Response(status_code=401, headers={"HX-Redirect": url})
    return RedirectResponse(url, 303)
