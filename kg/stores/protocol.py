"""The graph store's protocol, and the small protocols of what only some stores can do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self, runtime_checkable

import pyarrow as pa

from schema.terms import Item, Rank, Statement


@dataclass(frozen=True, slots=True)
class Pattern:
    """Which statements to scan: every field that is given must match."""

    item: str | None = None
    property: str | None = None
    value: str | None = None
    ranks: tuple[Rank, ...] | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """Sizes of the graph."""

    items: int
    statements: int
    properties: int
    values: int


@dataclass(frozen=True, slots=True)
class PutReport:
    """What a put added: items and statements that were not there before."""

    new_items: int
    new_statements: int


@dataclass(frozen=True, slots=True)
class QueryResult:
    """A query's answer."""

    columns: list[str]
    rows: list[list[Any]]


class GraphStore(Protocol):
    """A property graph of items and their statements.

    A statement put again keeps its identity: the newest rank and provenance win, but ``predicted`` never replaces another rank, and a
    put that differs in batch, row and time alone changes nothing. Of an item put again the fields that are given win. Statements about
    an unknown item make it, bare.
    """

    url: str

    def put(self, items: pa.Table | None, statements: pa.Table | None) -> PutReport:
        """Add or update a batch, all or nothing; once it returns, the batch is never lost."""
        ...

    def retract(self, statement_ids: Sequence[str]) -> int:
        """Take statements out; how many were there."""
        ...

    def item(self, id: str) -> tuple[Item, list[Statement]] | None:
        """An item with its statements ordered by property and value, or None."""
        ...

    def items(self) -> Iterator[pa.RecordBatch]:
        """All items, ordered by id, in ITEM_SCHEMA."""
        ...

    def scan(self, pattern: Pattern = Pattern()) -> Iterator[pa.RecordBatch]:
        """Statements that match, ordered by id, in STATEMENT_SCHEMA."""
        ...

    def triples(self, ranks: Sequence[Rank]) -> Iterator[pa.RecordBatch]:
        """Statements of some ranks as they are, in any order, in TRIPLE_SCHEMA: the way to read very many."""
        ...

    def query(
        self, text: str, params: dict[str, Any] | None = None, timeout: float = 30.0
    ) -> QueryResult:
        """A read-only Cypher query; ``timeout`` in seconds."""
        ...

    def counts(self) -> Counts:
        """Sizes of the graph."""
        ...

    def content_hash(self) -> str:
        """A hash of items and of statements with their ranks, equal for equal graphs in any store."""
        ...

    def close(self) -> None:
        """Release the store."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


@runtime_checkable
class Verifiable(Protocol):
    """A store that can check itself for damage."""

    def verify(self) -> list[str]:
        """Problems found in the journal or the graph, one line each; empty if there are none."""
        ...


@runtime_checkable
class Rebuildable(Protocol):
    """A store whose graph can be made again from its journal."""

    def rebuild(self) -> None:
        """Rebuild the graph from the journal."""
        ...


@runtime_checkable
class SparqlQueryable(Protocol):
    """A store that answers SPARQL."""

    def sparql(self, text: str, timeout: float = 30.0) -> QueryResult:
        """Run a read-only SPARQL query; ``timeout`` in seconds."""
        ...
