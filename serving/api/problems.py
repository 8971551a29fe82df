"""Errors as problem documents (RFC 9457), with the same one-line texts as on the command line."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from schema.errors import (
    CatalographError,
    DataError,
    FileRefusedError,
    ItemNotFoundError,
    ModelError,
    PropertyNotFoundError,
    ProposalConflictError,
    QueryRefusedError,
    RejectsError,
    StoreLockedError,
    StoreUnavailableError,
    UsageError,
)

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 5
"""When to try again what fails for now."""
MAX_ERRORS = 20
"""Fields that a document of an invalid request names."""

_UNREADABLE = "There was an error parsing the body"
"""What FastAPI says of a body that is neither JSON nor a form."""
_logger = logging.getLogger("catalograph.api")


class Problem(BaseModel):
    """A problem document (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="What kind of problem it is", examples=["about:blank"])
    title: str = Field(description="The status in words", examples=["Not Found"])
    status: int = Field(description="The HTTP status", examples=[404])
    detail: str = Field(
        description="One line: the value, the limit and how to go on",
        examples=["no item 'A-1' among the catalogue's 2,400"],
    )
    request: str | None = Field(default=None, description="The id of the request, as in the log")


@dataclass
class ProblemError(Exception):
    """A refusal by the API itself.

    Attributes:
        status: the HTTP status
        detail: one line
        extra: further fields of the document
        headers: further headers
    """

    status: int
    detail: str
    extra: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


_STATUSES: tuple[tuple[type[CatalographError], int], ...] = (
    (ItemNotFoundError, 404),
    (PropertyNotFoundError, 404),
    (QueryRefusedError, 400),
    (UsageError, 400),
    (ProposalConflictError, 409),
    (RejectsError, 422),
    (FileRefusedError, 422),
    (DataError, 409),
    (ModelError, 503),
    (StoreLockedError, 503),
    (StoreUnavailableError, 503),
)
"""The status of each kind of error, the narrower kinds first; 500 for others."""


def status_of(error: CatalographError) -> int:
    """Return the HTTP status that says what an error says."""
    from schema.errors import QueryLimitError

    if isinstance(error, QueryLimitError):
        return 400
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)


def problem_response(
    request: Request,
    status: int,
    detail: str,
    *,
    extra: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Return a problem document."""
    document = {
        **(extra or {}),
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "request": request.scope.get("state", {}).get("request_id"),
    }
    given = dict(headers or {})
    if status == 503:
        given.setdefault("Retry-After", str(RETRY_SECONDS))
    return JSONResponse(document, status, given, MEDIA_TYPE)


def add_problem_handlers(app: FastAPI) -> None:
    """Answer every error of an application by a problem document."""

    @app.exception_handler(CatalographError)
    def _on_error(request: Request, error: CatalographError) -> JSONResponse:
        status = status_of(error)
        if status >= 500:
            _logger.error("%s", error)
        return problem_response(request, status, str(error))

    @app.exception_handler(ProblemError)
    def _on_problem(request: Request, error: ProblemError) -> JSONResponse:
        return problem_response(
            request, error.status, error.detail, extra=error.extra, headers=error.headers
        )

    @app.exception_handler(HTTPException)
    def _on_http(request: Request, error: HTTPException) -> JSONResponse:
        detail = str(error.detail)
        if error.status_code == 404:
            detail = f"there is nothing at {request.url.path[:200]!r}: /docs lists what there is"
        elif error.status_code == 405:
            detail = f"{request.method[:20]} is not possible at {request.url.path[:200]!r}"
        elif detail == _UNREADABLE:
            detail = "the body cannot be read: check its syntax, its encoding (UTF-8) and its depth"
        return problem_response(request, error.status_code, detail, headers=error.headers)

    @app.exception_handler(RequestValidationError)
    def _on_invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        errors = [
            {"field": ".".join(map(str, each["loc"])), "message": str(each["msg"])}
            for each in error.errors()[:MAX_ERRORS]
        ]
        first = errors[0] if errors else {"field": "body", "message": "it cannot be read"}
        detail = f"{first['field']}: {first['message']}"
        return problem_response(request, 422, detail, extra={"errors": errors})

    @app.exception_handler(Exception)
    def _on_fault(request: Request, error: Exception) -> JSONResponse:
        _logger.error("a fault of Catalograph", exc_info=error)
        return problem_response(
            request, 500, "a fault of Catalograph: its log has more under the id of this request"
        )


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return what OpenAPI says of problems with these statuses."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in statuses
    }


EVERYWHERE = documented(400, 401, 403, 404, 405, 408, 413, 421, 422, 429, 503)
"""The problems that any request may meet."""
