"""Read-only queries of the graph."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import APIRouter

from kg.stores.protocol import SparqlQueryable
from kg.stores.query_limits import QueryLimits
from schema.errors import StoreError, StoreLockedError, StoreUnavailableError
from serving.api.authentication import Reader
from serving.api.documents import QueryIn, QueryOut
from serving.api.parameters import Catalogue
from serving.api.problems import EVERYWHERE, ProblemError

router = APIRouter(prefix="/v2", tags=["queries"], responses=EVERYWHERE)
ANSWER_BYTES = 8_000_000
MEMORY_BYTES = 1_000_000_000


@router.post("/cypher")
def cypher(catalogue: Catalogue, given: QueryIn, _: Reader) -> QueryOut:
    """Run a Cypher query that only reads; time, rows and memory are limited."""
    limits = QueryLimits(given.max_rows, ANSWER_BYTES, MEMORY_BYTES)
    seconds = catalogue.options.limits.query_seconds
    with catalogue.querying(), catalogue.store() as store, _as_request():
        result = store.query(given.query, dict(given.params), seconds, limits)
    return QueryOut(columns=result.columns, rows=result.rows)


@router.post("/sparql")
def sparql(catalogue: Catalogue, given: QueryIn, _: Reader) -> QueryOut:
    """Run a SPARQL query that only reads, on a store that answers SPARQL."""
    if given.params:
        raise ProblemError(422, "params: SPARQL takes none: write the values in the query")
    limits = QueryLimits(given.max_rows, ANSWER_BYTES, MEMORY_BYTES)
    with catalogue.querying(), catalogue.store() as store:
        if not isinstance(store, SparqlQueryable):
            raise ProblemError(
                400, f"{store.url} does not answer SPARQL: use /v2/cypher, or a store in RDF"
            )
        with _as_request():
            result = store.sparql(given.query, catalogue.options.limits.query_seconds, limits)
    return QueryOut(columns=result.columns, rows=result.rows)


@contextmanager
def _as_request() -> Iterator[None]:
    """Let an error of a query be one of the request: the store cannot help what is asked of it."""
    try:
        yield
    except (StoreLockedError, StoreUnavailableError):
        raise
    except StoreError as error:
        raise ProblemError(400, str(error)) from None
