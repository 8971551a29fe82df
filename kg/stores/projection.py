"""What a graph has to offer that shows a journal."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from kg.stores.merge import StoredRows
from kg.stores.protocol import EVERYTHING, Counts, Pattern, QueryResult
from kg.stores.query_limits import QueryLimits
from kg.stores.tables import FACT_SCHEMA, PLAIN_STATEMENT_SCHEMA
from kg.stores.unchanged import StoredTables
from schema.terms import Rank


class WholeReads(ABC):
    """What is read of a graph as a whole."""

    @abstractmethod
    def categories(self) -> Iterator[pa.RecordBatch]:
        """Yield the id and the category of all items in any order."""

    @abstractmethod
    def scan(self, pattern: Pattern) -> Iterator[pa.RecordBatch]:
        """Yield the statements that match, ordered by id."""

    @abstractmethod
    def facts(self) -> Iterator[pa.RecordBatch]:
        """Yield all statements in any order, in FACT_SCHEMA."""

    @abstractmethod
    def triples(self, ranks: Sequence[Rank]) -> Iterator[pa.RecordBatch]:
        """Yield the statements of some ranks."""

    @abstractmethod
    def sourced_triples(self, ranks: Sequence[Rank]) -> Iterator[pa.RecordBatch]:
        """Yield the statements of some ranks in SOURCED_TRIPLE_SCHEMA."""

    @abstractmethod
    def sources(self) -> list[str]:
        """Return the sources of items and statements in order; what is only predicted has none."""


class Projection(WholeReads):
    """A graph that shows a journal up to some version; what it loses, the journal can restore.

    Its database's errors are raised as StoreDamagedError if the graph is damaged, as
    StoreUnavailableError if the system refuses something for now, and else as StoreError.
    """

    path: Path

    @abstractmethod
    def applied_version(self) -> int:
        """Return the journal's version that the graph shows, or -1 if it shows none."""

    @abstractmethod
    def apply(self, version: int, changes: pa.Table) -> None:
        """Apply one batch of the journal; applying it twice has the same result as once.

        It may be put off until ``settle``, which comes before anything is read.
        """

    def settle(self) -> bool:
        """Apply the batches that were put off; return whether there were any."""
        return False

    def held_rows(self) -> WholeReads | None:
        """Return all rows of the graph if they are in memory, and begin to settle beside that."""
        return None

    def settling_seconds(self) -> float:
        """Return about how long ``settle`` would take."""
        return 0.0

    def lacks_all(self, item_ids: Sequence[str]) -> bool:
        """Return whether the graph has none of these items, and none that was put off.

        False if that takes as long to tell as to read their rows.
        """
        return False

    @abstractmethod
    def rows_about(self, item_ids: Sequence[str]) -> StoredRows:
        """Return the rows of these items, as far as the graph has them, and their statements."""

    def compared_about(self, item_ids: Sequence[str]) -> StoredTables | None:
        """Return what the graph has about these items in columns; None if rows are as fast."""
        return None

    @abstractmethod
    def existing_statements(self, ids: Sequence[str]) -> list[str]:
        """Return those of the statement ids that the graph has."""

    @abstractmethod
    def items(self) -> Iterator[pa.RecordBatch]:
        """Yield all items, ordered by id."""

    def unordered_items(self) -> Iterator[pa.RecordBatch]:
        """Yield all items in any order."""
        return self.items()

    def categories(self) -> Iterator[pa.RecordBatch]:
        """Yield the id and the category of all items in any order."""
        return (batch.select(["id", "category"]) for batch in self.items())

    def facts(self) -> Iterator[pa.RecordBatch]:
        """Yield all statements in any order, in FACT_SCHEMA."""
        return (batch.select(FACT_SCHEMA.names) for batch in self.scan(EVERYTHING))

    def plain_statements(self, ranks: Sequence[Rank] | None) -> Iterator[pa.RecordBatch]:
        """Yield the statements of some ranks in any order, in PLAIN_STATEMENT_SCHEMA."""
        pattern = Pattern(ranks=None if ranks is None else tuple(ranks))
        return (batch.select(PLAIN_STATEMENT_SCHEMA.names) for batch in self.scan(pattern))

    @abstractmethod
    def query(
        self, text: str, params: dict[str, Any], timeout: float, limits: QueryLimits
    ) -> QueryResult:
        """Run a read-only Cypher query; raises StoreError if the graph does not answer Cypher."""

    @abstractmethod
    def counts(self) -> Counts:
        """Return the sizes of the graph."""

    @abstractmethod
    def close(self) -> None:
        """Release the graph."""

    @abstractmethod
    def finish(self) -> None:
        """Write all changes into the graph's files, and release it."""

    @abstractmethod
    def flush(self) -> None:
        """Write all changes into the graph's files."""

    @abstractmethod
    def save_copy(self, target: Path) -> None:
        """Copy the graph's files, into which all changes have been written, to a path."""

    @abstractmethod
    def abandon(self) -> None:
        """Give up a graph that failed to be written, and the room that it takes on the disk."""

    @abstractmethod
    def room_for(self, changes: pa.Table) -> int:
        """Return about how many bytes of disk a batch needs while it is applied."""
