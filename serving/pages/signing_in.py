"""Signing in with a token, which a cookie keeps that no script can read."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Form, Request, Response
from fastapi.responses import RedirectResponse

from serving.api.authentication import COOKIE, Authenticator
from serving.api.problems import ProblemError
from serving.pages.rendering import render
from serving.pages.routing import SIGN_IN, page_router

router = page_router()
_OWN_PATH = re.compile(r"/(?![/\\])[^\\\x00-\x20\x7f]*")


@router.get(SIGN_IN)
def sign_in_page(request: Request, next: str = "/") -> Response:
    """Show the form to sign in with a token."""
    return _page(request, next)


@router.post(SIGN_IN)
def sign_in(
    request: Request,
    token: Annotated[str, Form(max_length=500)] = "",
    next: Annotated[str, Form(max_length=8000)] = "/",
) -> Response:
    """Keep a token in a cookie, if it is one."""
    authenticator: Authenticator = request.app.state.authenticator
    text = token.strip()
    if not text:
        return _page(request, next, "paste the token that you were given", 422)
    try:
        authenticator.caller_of(request, text)
    except ProblemError as error:
        return _page(request, next, error.detail, error.status)
    response = RedirectResponse(own_path(next), 303)
    response.set_cookie(
        COOKIE,
        text,
        path="/",
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return response


@router.post("/sign-out")
def sign_out() -> Response:
    """Forget the token."""
    response = RedirectResponse(SIGN_IN, 303)
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return response


def own_path(text: str) -> str:
    """Return a path of this server, or else that of the first page."""
    return text if _OWN_PATH.fullmatch(text) else "/"


def _page(request: Request, next: str, error: str = "", status: int = 200) -> Response:
    return render(
        request, "sign_in.html.j2", status=status, title="Sign in", next=own_path(next), error=error
    )
