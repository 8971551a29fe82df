"""A store in a folder: a journal, which is the truth, and a graph, which is its projection."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from kg.stores.journal import Journal, JournalBatch, changes_table
from kg.stores.lock import StoreLock
from kg.stores.memory import MemoryStore
from kg.stores.merge import PutBatch, StoredRows, changes_of
from kg.stores.protocol import EVERYTHING, Counts, GraphStore, Pattern, PutReport, QueryResult
from kg.stores.tables import item_from_row, statements_from_rows
from schema.errors import StoreError
from schema.terms import Item, Rank, Statement


class Projection(ABC):
    """A graph that shows a journal up to some version; what it loses, the journal can restore."""

    @abstractmethod
    def applied_version(self) -> int:
        """Return the journal's version that the graph shows, or -1 if it shows none."""

    @abstractmethod
    def apply(self, version: int, changes: pa.Table) -> None:
        """Apply one batch of the journal; applying it twice has the same result as once."""

    @abstractmethod
    def rows_about(self, item_ids: Sequence[str]) -> StoredRows:
        """Return the rows of these items, as far as the graph has them, and their statements."""

    @abstractmethod
    def existing_statements(self, ids: Sequence[str]) -> list[str]:
        """Return those of the statement ids that the graph has."""

    @abstractmethod
    def items(self) -> Iterator[pa.RecordBatch]:
        """Yield all items, ordered by id."""

    @abstractmethod
    def scan(self, pattern: Pattern) -> Iterator[pa.RecordBatch]:
        """Yield the statements that match, ordered by id."""

    @abstractmethod
    def triples(self, ranks: Sequence[Rank]) -> Iterator[pa.RecordBatch]:
        """Yield the statements of some ranks."""

    @abstractmethod
    def query(self, text: str, params: dict[str, Any], timeout: float) -> QueryResult:
        """Run a read-only Cypher query; raises StoreError if the graph does not answer Cypher."""

    @abstractmethod
    def counts(self) -> Counts:
        """Return the sizes of the graph."""

    @abstractmethod
    def close(self) -> None:
        """Release the graph."""


class JournaledStore(GraphStore):
    """A folder with a graph, ``journal/`` and ``lock``; subclasses say what their graph is."""

    scheme: ClassVar[str]

    def __init__(self, folder: Path, *, create: bool = True, read_only: bool = False) -> None:
        self.folder = folder
        self.url = f"{self.scheme}:{folder}"
        if not folder.is_dir() and not create:
            raise StoreError(f"no graph at {folder}: run `catalograph ingest` first")
        folder.mkdir(parents=True, exist_ok=True)
        self.journal = Journal(folder / "journal")
        if read_only and self.graph_exists(folder) and self._open_shared():
            return
        # A reader, too, needs a graph that is up to date, so it first opens the store as a writer
        # if the graph is missing, torn or behind its journal.
        self._lock = StoreLock(folder / "lock", shared=False)
        try:
            self._graph = self.open_graph(folder)
            self._catch_up()
        except BaseException:
            self._lock.release()
            raise

    @staticmethod
    @abstractmethod
    def graph_exists(folder: Path) -> bool:
        """Return whether the folder has a graph."""

    @staticmethod
    @abstractmethod
    def open_graph(folder: Path, read_only: bool = False) -> Projection:
        """Open the folder's graph.

        A torn graph is replaced by an empty one; if it is opened only for reading, RuntimeError is
        raised instead.
        """

    @staticmethod
    @abstractmethod
    def delete_graph(folder: Path) -> None:
        """Delete the graph, but not the journal."""

    def _open_shared(self) -> bool:
        """Open beside other readers; return False if the graph is torn or behind its journal."""
        self._lock = StoreLock(self.folder / "lock", shared=True)
        try:
            self._graph = self.open_graph(self.folder, read_only=True)
            if self._graph.applied_version() == self.journal.version:
                return True
            self._graph.close()
        except RuntimeError:
            pass
        self._lock.release()
        return False

    def put(self, items: pa.Table | None, statements: pa.Table | None) -> PutReport:
        """Append what changes to the journal, then apply it to the graph."""
        batch = PutBatch.from_tables(items, statements)
        changes = changes_of(batch, self._graph.rows_about(batch.item_ids()))
        if changes.items or changes.statements:
            self._commit(changes_table(changes.items, changes.statements))
        return PutReport(len(changes.new_items), len(changes.new_statements))

    def retract(self, statement_ids: Sequence[str]) -> int:
        """Remove statements; return how many of them the store had."""
        ids = self._graph.existing_statements(list(dict.fromkeys(statement_ids)))
        if ids:
            self._commit(changes_table(retracted=ids))
        return len(ids)

    def item(self, id: str) -> tuple[Item, list[Statement]] | None:
        """Return an item and its statements, or None."""
        stored = self._graph.rows_about([id])
        if id not in stored.items:
            return None
        return item_from_row(stored.items[id]), statements_from_rows(stored.statements.values())

    def items(self) -> Iterator[pa.RecordBatch]:
        """Yield all items, ordered by id."""
        return self._graph.items()

    def scan(self, pattern: Pattern = EVERYTHING) -> Iterator[pa.RecordBatch]:
        """Yield the statements that match, ordered by id."""
        return self._graph.scan(pattern)

    def triples(self, ranks: Sequence[Rank]) -> Iterator[pa.RecordBatch]:
        """Yield the statements of some ranks."""
        return self._graph.triples(ranks)

    def query(
        self, text: str, params: dict[str, Any] | None = None, timeout: float = 30.0
    ) -> QueryResult:
        """Run a read-only Cypher query; raises StoreError if the graph does not answer Cypher."""
        return self._graph.query(text, params or {}, timeout)

    def counts(self) -> Counts:
        """Return the sizes of the graph."""
        return self._graph.counts()

    def verify(self) -> list[str]:
        """Return the problems found in the journal or the graph, one line each."""
        problems = self.journal.verify()
        if problems:
            return problems
        # Replayed by the reference store, and not by the graph's own code, whose faults would
        # repeat themselves.
        replayed = MemoryStore()
        for _, changes in self.journal.read():
            batch = JournalBatch.from_table(changes)
            replayed.put(batch.items, batch.statements)
            replayed.retract(batch.retracted)
        if replayed.content_hash() != self.content_hash():
            return [
                f"the graph in {self.folder} differs from its journal: run `catalograph rebuild`"
            ]
        return []

    def rebuild(self) -> None:
        """Rebuild the graph from the journal."""
        self._graph.close()
        # If this is cut off, the next one to open the store finishes it: the journal is still
        # complete.
        self.delete_graph(self.folder)
        self._graph = self.open_graph(self.folder)
        self._catch_up()

    def close(self) -> None:
        """Release the graph and the lock."""
        self._graph.close()
        self._lock.release()

    def _commit(self, changes: pa.Table) -> None:
        # The journal comes first: a crash between the two steps leaves a graph that is behind, and
        # the next one to open the store catches up.
        version = self.journal.append(changes)
        self._graph.apply(version, changes)

    def _catch_up(self) -> None:
        for version, changes in self.journal.read(since=self._graph.applied_version()):
            self._graph.apply(version, changes)
