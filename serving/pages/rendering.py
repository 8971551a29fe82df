"""Templates, and how numbers, times and addresses are written in them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from schema.tokens import Scope
from serving.api.authentication import COOKIE, Caller
from serving.pages.marking import marked

FOLDER = Path(__file__).parent
HTMX = "htmx.js"
ASSETS: Mapping[str, str] = {
    "catalograph.css": "text/css",
    "catalograph.js": "text/javascript",
    "icon.svg": "image/svg+xml",
    HTMX: "text/javascript",
}
"""The files that pages load, with their types."""
PAGE_HEADERS = {
    # With `no-referrer`, which everything else has, a browser sends the origin `null` with a form,
    # and that is refused.
    "Referrer-Policy": "same-origin"
}


@dataclass(frozen=True)
class NavigationEntry:
    """A page in the navigation: its path and its name."""

    path: str
    name: str


@cache
def asset(name: str) -> bytes:
    """Return a file that pages load. Raises KeyError if it is none of them."""
    if name not in ASSETS:
        raise KeyError(name)
    if name == HTMX:
        # The package is there for this file alone: PyPI has htmx, and what a build needs comes from
        # there and nowhere else. Nothing of Django is imported.
        files = resources.files("django_htmx") / "static" / "django_htmx"
        return (files / "htmx-2.min.js").read_bytes()
    return (FOLDER / "static" / name).read_bytes()


@cache
def asset_url(name: str) -> str:
    """Return the address of such a file, which changes with its content."""
    return f"/assets/{name}?v={hashlib.sha256(asset(name)).hexdigest()[:12]}"


def render(
    request: Request,
    template: str,
    who: Caller | None = None,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **context: Any,
) -> HTMLResponse:
    """Return a page, or a part of one.

    Its template knows ``who`` sees it and what they may do, beside what ``context`` says.
    """
    scopes = frozenset() if who is None else who.scopes
    text = (
        _environment()
        .get_template(template)
        .render(
            **context,
            who=who,
            can_review=Scope.REVIEW in scopes,
            can_write=Scope.WRITE in scopes,
            is_signed_in=COOKIE in request.cookies,
            navigation=request.app.state.navigation,
            path=request.url.path,
        )
    )
    return HTMLResponse(text, status, {**PAGE_HEADERS, **(headers or {})})


def is_partial(request: Request) -> bool:
    """Return whether htmx asks, which takes a part of a page."""
    return request.headers.get("hx-request") == "true"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        # Names and values come from suppliers' files and must not run as scripts in a browser.
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=number, percent=percent, moment=moment, day=day, plural=plural, marked=marked
    )
    environment.globals.update(
        asset_url=asset_url, item_url=item_url, image_url=image_url, with_query=with_query
    )
    return environment


def number(value: float) -> str:
    """Return a count with separators."""
    return f"{value:,}"


def plural(count: int, one: str, many: str | None = None) -> str:
    """Return a count with its noun."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def percent(share: float, digits: int = 0) -> str:
    """Return a share of 1 in percent; neither 0 nor 100 stands for what only comes near."""
    text = f"{100 * share:.{digits}f}"
    if 0 < share < 1 and float(text) in (0.0, 100.0):
        step = 10.0**-digits
        return f"<{step:g}%" if share < 0.5 else f">{100 - step:g}%"
    return f"{text}%"


def moment(text: str) -> str:
    """Return a time in ISO 8601 to the minute, in UTC."""
    time = _time(text)
    return text if time is None else f"{time.day} {time:%b %H:%M}"


def day(text: str) -> str:
    """Return the day of a time in ISO 8601."""
    time = _time(text)
    return text if time is None else f"{time.day} {time:%b %Y}"


def _time(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def item_url(id: str, part: str = "") -> str:
    """Return the address of an item's page, or of a part of it."""
    return f"/items/{quote(id, safe='')}{'/' + part if part else ''}"


def image_url(id: str, place: int = 0) -> str:
    """Return the address of an image of an item."""
    return f"/v2/items/{quote(id, safe='')}/image/{place}"


def with_query(path: str, **parameters: Any) -> str:
    """Return an address with those parameters that say something."""
    given = {name: value for name, value in parameters.items() if value is not None and value != ""}
    return f"{path}?{urlencode(given, doseq=True)}" if given else path
