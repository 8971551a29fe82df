"""The application: the routes of the API and the pages behind what guards and observes them."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version

from anyio import to_thread
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from kg.home import Home
from schema.errors import CatalographWarning
from serving.api.authentication import Authenticator
from serving.api.catalogue import ServedCatalogue
from serving.api.guarding import BodyLimitMiddleware, EncodedPathMiddleware, SecurityMiddleware
from serving.api.jobs import Jobs
from serving.api.observing import Metrics, ObservingMiddleware, add_tracing
from serving.api.options import ServeOptions
from serving.api.problems import Problem, add_problem_handlers
from serving.api.routes import (
    completion,
    exports,
    health,
    items,
    jobs,
    proposals,
    queries,
    runs,
    search,
)
from serving.pages.app import add_pages

THREADS = 120
"""Requests that are answered, or wait for something, at the same time."""
ABOUT = (
    "A product graph that is searched, completed and reviewed. Errors are problem documents "
    "(RFC 9457) whose `detail` is one line that says how to go on."
)


def create_app(home: Home, options: ServeOptions | None = None) -> FastAPI:
    """Return the application that serves a home; it opens the home when it is started."""
    options = options or ServeOptions()
    metrics = Metrics()

    @asynccontextmanager
    async def opened(app: FastAPI) -> AsyncIterator[None]:
        # A reader beside the writer gets what was published last: all that is acknowledged.
        warnings.filterwarnings("ignore", ".*reading version", CatalographWarning)
        # Decisions wait for the writer, and completions for each other; a search waits for neither.
        to_thread.current_default_thread_limiter().total_tokens = THREADS
        catalogue = ServedCatalogue(home, options, metrics)
        app.state.catalogue = catalogue
        app.state.jobs = Jobs(home, options.limits.jobs)
        app.state.authenticator = Authenticator(catalogue.ledger, options)
        try:
            yield
        finally:
            app.state.jobs.close()
            catalogue.close()

    app = FastAPI(
        title="Catalograph",
        version=_version(),
        description=ABOUT,
        lifespan=opened,
        openapi_url="/openapi.json",
        docs_url=None,
        redoc_url=None,
        separate_input_output_schemas=False,
    )
    app.state.metrics = metrics
    app.state.options = options
    add_problem_handlers(app)
    for module in (health, items, completion, search, proposals, queries, jobs, runs, exports):
        app.include_router(module.router)
    app.include_router(health.metrics_router)
    add_pages(app, home)
    _document_problems(app)
    # The last one added is the first to see a request.
    if options.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(options.origins),
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "If-Match"],
            expose_headers=["ETag", "Location", "X-Request-Id"],
        )
    app.add_middleware(BodyLimitMiddleware, limits=options.limits)
    app.add_middleware(SecurityMiddleware, options=options)
    app.add_middleware(ObservingMiddleware, metrics=metrics)
    app.add_middleware(EncodedPathMiddleware)
    add_tracing(app)
    return app


def _document_problems(app: FastAPI) -> None:
    """Add the schema of problems to what OpenAPI says."""
    plain = app.openapi

    def documented() -> dict[str, object]:
        document = plain()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas.setdefault(
            "Problem", Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        )
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        return document

    app.openapi = documented  # type: ignore[method-assign]


def _version() -> str:
    try:
        return version("catalograph")
    except PackageNotFoundError:
        return "0"
