"""Parameters that several routes share."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated
from urllib.parse import unquote

from fastapi import Depends, Path, Query, Request
from pydantic import AfterValidator

from serving.api.catalogue import ServedCatalogue
from serving.api.problems import ProblemError

MAX_ID = 1000
MAX_PAGE = 100


def catalogue_of(request: Request) -> ServedCatalogue:
    """Return the catalogue that is served."""
    served: ServedCatalogue = request.app.state.catalogue
    return served


Catalogue = Annotated[ServedCatalogue, Depends(catalogue_of)]
ItemId = Annotated[
    str,
    # See EncodedPathMiddleware: a slash of an id is %2F in a path, also after it was decoded.
    AfterValidator(unquote),
    Path(
        max_length=3 * MAX_ID,
        description="The item's id, percent-encoded: a slash is %2F",
        examples=["P000012"],
    ),
]
PageSize = Annotated[int, Query(ge=1, le=MAX_PAGE, description="How many to return")]
Cursor = Annotated[
    str | None,
    Query(max_length=4 * MAX_ID, description="`next` of the page before; none for the first page"),
]


def encode_cursor(text: str) -> str:
    """Return a cursor that says where a page ended."""
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> str:
    """Return where a page ended. Raises ProblemError with status 400 if it is no cursor."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        return base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise bad_cursor(cursor) from None


def bad_cursor(cursor: str) -> ProblemError:
    """Return the refusal of a text that is no cursor."""
    return ProblemError(400, f"after: {cursor[:40]!r} is no cursor: take `next` of the page before")


def check_version(request: Request, etag: str, current: object) -> None:
    """Raise ProblemError with status 409 if a request is about another version than the stored.

    ``etag`` is that of the stored version, and ``current`` what that is: the answer has both.
    """
    given = request.headers.get("if-match")
    if given is None or given.strip() == "*":
        return
    wanted = {each.strip().removeprefix("W/") for each in given.split(",")}
    if etag not in wanted:
        raise ProblemError(
            409,
            "it has changed since: look at the version that is stored, and decide again",
            extra={"current": current, "etag": etag, "if_match": given[:200]},
            headers={"ETag": etag},
        )
