"""The interface of every graph store, and small protocols for what only some stores can do."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from types import TracebackType
from typing import Any, Protocol, Self, runtime_checkable

import pyarrow as pa

from kg.stores.content_hash import graph_hash
from kg.stores.merge import (
    Changes,
    PutBatch,
    PutRules,
    PutTables,
    StoredRows,
    changes_of,
    deletion_of,
    retirement_of,
    withdrawal_of,
)
from kg.stores.query_limits import DEFAULT_LIMITS, DEFAULT_SECONDS, QueryLimits
from kg.stores.references import NEWEST_FIRST, Origin, SourceOrder
from kg.stores.tables import FACT_SCHEMA, PLAIN_STATEMENT_SCHEMA
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
    """How many items and statements a write added, changed and took back.

    ``changed_items`` counts those about which anything changed, and ``differing`` those among them
    of which two sources give different titles, descriptions or categories.
    """

    new_items: int
    new_statements: int
    changed_items: int = 0
    changed_statements: int = 0
    retracted: int = 0
    deleted: int = 0
    differing: int = 0

    @classmethod
    def of(cls, changes: Changes) -> PutReport:
        """Count changes."""
        return cls(
            len(changes.new_items),
            len(changes.new_statements),
            len(changes.touched),
            len(changes.updated_statements),
            len(changes.retracted),
            len(changes.deleted),
            len(changes.differing),
        )

    def plus(self, other: PutReport) -> PutReport:
        """Return the counts of both."""
        return PutReport(*(map(operator.add, astuple(self), astuple(other))))


@dataclass(frozen=True, slots=True)
class ChangeBatch:
    """What one write changed.

    Attributes:
        version: the store's version after it
        run: the run that made it, empty if that is not known
        at: its time in ISO 8601, empty if that is not known
        changes: the rows in JOURNAL_SCHEMA
    """

    version: int
    run: str
    at: str
    changes: pa.Table

    @classmethod
    def of(cls, version: int, changes: pa.Table, at: str = "") -> ChangeBatch:
        """Return what a write changed; ``at`` is its time if the rows do not have it."""
        first: dict[str, Any] = changes.slice(0, 1).to_pylist()[0] if changes.num_rows else {}
        return cls(version, first.get("run") or "", first.get("at") or at, changes)

    def dated(self) -> pa.Table:
        """Return the rows with the time of the write, which those of earlier versions lack."""
        if not self.changes["at"].null_count:
            return self.changes
        place = self.changes.schema.get_field_index("at")
        times = pa.repeat(pa.scalar(self.at, pa.string()), self.changes.num_rows)
        return self.changes.set_column(place, self.changes.schema.field("at"), times)


@dataclass(frozen=True, slots=True)
class QueryResult:
    """The answer to a query: column names, and rows of values that JSON can hold."""

    columns: list[str]
    rows: list[list[Any]]


class GraphStore(ABC):
    """A property graph of items and their statements; a context manager that closes itself.

    A statement that is put again keeps its identity: what the same source said of it before is
    replaced, and it shows the newest of several sources, but ``predicted`` never replaces another
    rank, and a put that differs in batch, row and time alone changes nothing. When an item is put
    again, the fields that are given win. Statements about an unknown item create it with nothing
    but its id.
    """

    url: str
    """The store's URL, which ``open_store`` takes."""

    order: SourceOrder = NEWEST_FIRST
    """Which source counts first where several describe an item."""

    followed: int = 0
    """How many writes of other homes were applied since this store was opened for writing."""

    def put(
        self,
        items: pa.Table | None,
        statements: pa.Table | None,
        *,
        replaces: str | None = None,
        run: str = "",
    ) -> PutReport:
        """Add or update a batch, all or nothing; once this returns, the batch is never lost.

        With ``replaces``, the name of a source, the batch is all that this source says of its
        items: what it said of them before, and does not say now, is taken back. ``run`` is the run
        that makes the change.
        """
        tables = PutTables.checked(items, statements)
        batch = PutBatch.of(tables)
        rules = PutRules(replaces, self.order)
        return self.change(
            batch.item_ids(), lambda stored: changes_of(batch, stored, rules), run=run
        )

    def retire(self, source: str, item_ids: Sequence[str], *, run: str = "") -> PutReport:
        """Take back all that a source said of some items, which it no longer has.

        An item that no other source has is deleted, with all statements about it.
        """
        ids = list(dict.fromkeys(item_ids))
        return self.change(ids, lambda stored: retirement_of(source, stored, self.order), run=run)

    def delete(self, item_ids: Sequence[str], *, run: str = "") -> PutReport:
        """Delete items with all statements about them; they stay in the history."""
        return self.change(list(dict.fromkeys(item_ids)), deletion_of, run=run)

    def withdraw(
        self, statements: Mapping[str, str], origin: Origin, *, run: str = ""
    ) -> PutReport:
        """Take back that an origin makes some statements, given as items by statement ids."""
        ids = list(dict.fromkeys(statements.values()))
        return self.change(
            ids, lambda stored: withdrawal_of(statements, origin, stored, self.order), run=run
        )

    @abstractmethod
    def retract(self, statement_ids: Sequence[str], *, run: str = "") -> int:
        """Remove statements, whoever makes them; return how many of them the store had."""

    @abstractmethod
    def append(self, changes: pa.Table) -> None:
        """Write changes in JOURNAL_SCHEMA, all or nothing, as they are."""

    @abstractmethod
    def changes(self, since: int = -1) -> Iterator[ChangeBatch]:
        """Yield what was written after a version, in order.

        A graph that was filled by an earlier version of Catalograph may lack the beginning.
        """

    @abstractmethod
    def rows_about(self, item_ids: Sequence[str]) -> StoredRows:
        """Return the rows of items, as far as the store has them, and of their statements."""

    @abstractmethod
    def change(
        self,
        item_ids: Sequence[str],
        changes: Callable[[StoredRows], Changes],
        *,
        run: str = "",
    ) -> PutReport:
        """Write what ``changes`` returns for the rows about some items, all or nothing.

        The function may be called more than once.
        """

    @abstractmethod
    def item(self, id: str) -> tuple[Item, list[Statement]] | None:
        """Return an item and its statements ordered by property and value, or None."""

    @abstractmethod
    def items(self) -> Iterator[pa.RecordBatch]:
        """Yield all items, ordered by id, in ITEM_SCHEMA."""

    @abstractmethod
    def scan(self, pattern: Pattern = EVERYTHING) -> Iterator[pa.RecordBatch]:
        """Yield the statements that match a pattern, ordered by id, in STATEMENT_SCHEMA."""

    def unordered_items(self) -> Iterator[pa.RecordBatch]:
        """Yield all items in any order, which may be faster."""
        return self.items()

    def categories(self) -> Iterator[pa.RecordBatch]:
        """Yield the id and the category of all items in any order."""
        return (batch.select(["id", "category"]) for batch in self.items())

    def facts(self) -> Iterator[pa.RecordBatch]:
        """Yield all statements in any order, in FACT_SCHEMA: without their provenance."""
        return (batch.select(FACT_SCHEMA.names) for batch in self.scan())

    def plain_statements(self, ranks: Sequence[Rank] | None) -> Iterator[pa.RecordBatch]:
        """Yield the statements of some ranks in any order, in PLAIN_STATEMENT_SCHEMA.

        None stands for all ranks. Without order and provenance it is much faster than a scan.
        """
        pattern = Pattern(ranks=None if ranks is None else tuple(ranks))
        return (batch.select(PLAIN_STATEMENT_SCHEMA.names) for batch in self.scan(pattern))

    @abstractmethod
    def triples(self, ranks: Sequence[Rank]) -> Iterator[pa.RecordBatch]:
        """Yield the statements of some ranks in any order, in TRIPLE_SCHEMA.

        Without order and provenance this is the fastest way to read very many of them.
        """

    @abstractmethod
    def sourced_triples(self, ranks: Sequence[Rank]) -> Iterator[pa.RecordBatch]:
        """Yield the statements of :meth:`triples` in SOURCED_TRIPLE_SCHEMA."""

    @abstractmethod
    def sources(self) -> list[str]:
        """Return the sources of items and statements in order; what is only predicted has none.

        It is quick where few statements have several sources.
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

    def is_empty(self) -> bool:
        """Return whether the store has no items; one that had some may say that it has."""
        return self.counts().items == 0

    @abstractmethod
    def revision(self) -> str:
        """Return a text that changes whenever the content does; it is quick to get.

        It is empty if the store does not know, because somebody else has filled it.
        """

    def version_at(self, revision: str) -> int | None:
        """Return the version of the history at an earlier revision; None if that is not known."""
        return None

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
