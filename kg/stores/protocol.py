"""The interface of every graph store, and small protocols for what only some stores can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self, runtime_checkable

import pyarrow as pa

from kg.stores.content_hash import graph_hash
from kg.stores.query_limits import DEFAULT_LIMITS, DEFAULT_SECONDS, QueryLimits
from kg.stores.tables import FACT_SCHEMA
from schema.terms import Item, Rank, Statement


@dataclass(frozen=True, slots=True)
class Pattern:
    """The statements to scan: each field that is not None must match."""

    item: str | None = None
    property: str | None = None
    value: str | None = None
    ranks: tuple[Rank, ...] | None = None

    def texts(self) -> dict[str, str]:
        """Return item, property and value by name, without those that are None."""
        fields = {"item": self.item, "property": self.property, "value": self.value}
        return {name: text for name, text in fields.items() if text is not None}


EVERYTHING = Pattern()
"""The pattern that every statement matches."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Sizes of a graph."""

    items: int
    statements: int
    properties: int
    values: int


@dataclass(frozen=True, slots=True)
class PutReport:
    """How many items and statements a put added that the store did not have before."""

    new_items: int
    new_statements: int


@dataclass(frozen=True, slots=True)
class QueryResult:
    """The answer to a query: column names, and rows of values that JSON can hold."""

    columns: list[str]
    rows: list[list[Any]]


class GraphStore(ABC):
    """A property graph of items and their statements; a context manager that closes itself.

    A statement that is put again keeps its identity: the newest rank and provenance win, but
    ``predicted`` never replaces another rank, and a put that differs in batch, row and time alone
    changes nothing. When an item is put again, the fields that are given win. Statements about an
    unknown item create it with nothing but its id.
    """

    url: str
    """The store's URL, which ``open_store`` takes."""

    @abstractmethod
    def put(self, items: pa.Table | None, statements: pa.Table | None) -> PutReport:
        """Add or update a batch, all or nothing; once this returns, the batch is never lost."""

    @abstractmethod
    def retract(self, statement_ids: Sequence[str]) -> int:
        """Remove statements; return how many of them the store had."""

    @abstractmethod
    def item(self, id: str) -> tuple[Item, list[Statement]] | None:
        """Return an item and its statements ordered by property and value, or None."""

    @abstractmethod
    def items(self) -> Iterator[pa.RecordBatch]:
        """Yield all items, ordered by id, in ITEM_SCHEMA."""

    @abstractmethod
    def scan(self, pattern: Pattern = EVERYTHING) -> Iterator[pa.RecordBatch]:
        """Yield the statements that match a pattern, ordered by id, in STATEMENT_SCHEMA."""

    def categories(self) -> Iterator[pa.RecordBatch]:
        """Yield the id and the category of all items in any order."""
        return (batch.select(["id", "category"]) for batch in self.items())

    def facts(self) -> Iterator[pa.RecordBatch]:
        """Yield all statements in any order, in FACT_SCHEMA: without their provenance."""
        return (batch.select(FACT_SCHEMA.names) for batch in self.scan())

    @abstractmethod
    def triples(self, ranks: Sequence[Rank]) -> Iterator[pa.RecordBatch]:
        """Yield the statements of some ranks in any order, in TRIPLE_SCHEMA.

        Without order and provenance this is the fastest way to read very many of them.
        """

    @abstractmethod
    def query(
        self,
        text: str,
        params: dict[str, Any] | None = None,
        timeout: float = DEFAULT_SECONDS,
        limits: QueryLimits = DEFAULT_LIMITS,
    ) -> QueryResult:
        """Run a read-only Cypher query with a time limit in seconds, and other limits.

        Raises StoreError if the store does not answer Cypher or the query fails, QueryTimeoutError
        or QueryLimitError if it exceeds a limit, and QueryRefusedError if it does not only read.
        """

    @abstractmethod
    def counts(self) -> Counts:
        """Return the sizes of the graph."""

    @abstractmethod
    def revision(self) -> str:
        """Return a text that changes whenever the content does; it is quick to get.

        It is empty if the store does not know, because somebody else has filled it.
        """

    def content_hash(self) -> str:
        """Return a hash of the graph's content, which is the same in any store."""
        return graph_hash(self.items(), self.scan())

    @abstractmethod
    def close(self) -> None:
        """Release the store."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@runtime_checkable
class Verifiable(Protocol):
    """A store that can check itself for damage."""

    def verify(self) -> list[str]:
        """Return the problems found in the journal or the graph, one line each."""
        ...


@runtime_checkable
class Rebuildable(Protocol):
    """A store whose graph can be rebuilt from its journal."""

    def rebuild(self) -> None:
        """Rebuild the graph from the journal."""
        ...


@runtime_checkable
class SparqlQueryable(Protocol):
    """A store that answers SPARQL."""

    def sparql(
        self, text: str, timeout: float = DEFAULT_SECONDS, limits: QueryLimits = DEFAULT_LIMITS
    ) -> QueryResult:
        """Run a read-only SPARQL query with a time limit in seconds, and other limits."""
        ...
