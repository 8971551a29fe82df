"""A store in a folder: a journal, which is the truth, and a graph that is its projection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Protocol, Self

import pyarrow as pa

from kg.stores.journal import Journal, changes_table, parts_of
from kg.stores.lock import StoreLock
from kg.stores.merge import Row, changes_of, graph_hash
from kg.stores.protocol import Counts, Pattern, PutReport, QueryResult
from kg.stores.tables import item_of, rows_to_put
from schema.errors import StoreError
from schema.terms import Item, Rank, Statement


class Projection(Protocol):
    """A graph that shows a journal up to a version; what it lost, the journal gives again."""

    def applied(self) -> int:
        """The journal's version that the graph shows, -1 for none."""
        ...

    def apply(self, version: int, changes: pa.Table) -> None:
        """Bring one batch into the graph; doing it twice is doing it once."""
        ...

    def known(self, names: list[str]) -> tuple[dict[str, Row], dict[str, Row]]:
        """Those of the named items that are there, and their statements, both by id."""
        ...

    def present(self, ids: list[str]) -> list[str]:
        """Those of the statements ``ids`` that are there."""
        ...

    def items(self) -> Iterator[pa.RecordBatch]:
        """All items, ordered by id."""
        ...

    def scan(self, pattern: Pattern) -> Iterator[pa.RecordBatch]:
        """Statements that match, ordered by id."""
        ...

    def triples(self, ranks: Sequence[Rank]) -> Iterator[pa.RecordBatch]:
        """Statements of some ranks."""
        ...

    def query(self, text: str, params: dict[str, Any], timeout: float) -> QueryResult:
        """A read-only query in the graph's own language."""
        ...

    def counts(self) -> Counts:
        """Sizes of the graph."""
        ...

    def close(self) -> None:
        """Release the graph."""
        ...


class JournaledStore:
    """A folder with a graph, ``journal/`` and ``lock``; a kind of it says what its graph is."""

    scheme: ClassVar[str]

    def __init__(self, folder: Path, *, create: bool = True, read_only: bool = False) -> None:
        self.folder = folder
        self.url = f"{self.scheme}:{folder}"
        if not folder.is_dir() and not create:
            raise StoreError(f"no graph at {folder}: run `catalograph ingest` first")
        folder.mkdir(parents=True, exist_ok=True)
        self.journal = Journal(folder / "journal")
        if read_only and self.there(folder) and self._open_shared():
            return
        # A graph that lags behind its journal is brought up to date first, for a reader too.
        self._lock = StoreLock(folder / "lock", shared=False)
        try:
            self._graph = self.open_graph(folder)
            self._catch_up()
        except BaseException:
            self._lock.release()
            raise

    @staticmethod
    def there(folder: Path) -> bool:
        """Whether the folder has a graph."""
        raise NotImplementedError

    @staticmethod
    def open_graph(folder: Path, read_only: bool = False) -> Projection:
        """The folder's graph; a torn one is made anew, or raises RuntimeError where it is only read."""
        raise NotImplementedError

    @staticmethod
    def wipe(folder: Path) -> None:
        """Delete the graph; the journal stays."""
        raise NotImplementedError

    def _open_shared(self) -> bool:
        """Open beside other readers; False where the graph is torn or lags behind its journal."""
        self._lock = StoreLock(self.folder / "lock", shared=True)
        try:
            self._graph = self.open_graph(self.folder, read_only=True)
            if self._graph.applied() == self.journal.version:
                return True
            self._graph.close()
        except RuntimeError:
            pass
        self._lock.release()
        return False

    def put(self, items: pa.Table | None, statements: pa.Table | None) -> PutReport:
        """Journal what changes, then bring the graph up to it."""
        given, rows = rows_to_put(items, statements)
        known_items, known_facts = self._graph.known(
            list(dict.fromkeys([*given, *(row["item"] for row in rows)]))
        )
        changed = changes_of(given, rows, known_items, known_facts)
        if changed.items or changed.statements:
            self._commit(changes_table(changed.items, changed.statements, []))
        return PutReport(len(changed.new_items), len(changed.new_statements))

    def retract(self, statement_ids: Sequence[str]) -> int:
        """Take statements out; how many were there."""
        found = self._graph.present(list(dict.fromkeys(statement_ids)))
        if found:
            self._commit(changes_table([], [], found))
        return len(found)

    def item(self, id: str) -> tuple[Item, list[Statement]] | None:
        """An item with its statements, or None."""
        items, facts = self._graph.known([id])
        return item_of(items[id], facts.values()) if id in items else None

    def items(self) -> Iterator[pa.RecordBatch]:
        """All items, ordered by id."""
        return self._graph.items()

    def scan(self, pattern: Pattern = Pattern()) -> Iterator[pa.RecordBatch]:  # noqa: B008 - immutable
        """Statements that match, ordered by id."""
        return self._graph.scan(pattern)

    def triples(self, ranks: Sequence[Rank]) -> Iterator[pa.RecordBatch]:
        """Statements of some ranks."""
        return self._graph.triples(ranks)

    def query(
        self, text: str, params: dict[str, Any] | None = None, timeout: float = 30.0
    ) -> QueryResult:
        """A read-only query in the graph's own language."""
        return self._graph.query(text, params or {}, timeout)

    def counts(self) -> Counts:
        """Sizes of the graph."""
        return self._graph.counts()

    def content_hash(self) -> str:
        """A hash of the graph's content."""
        return graph_hash(self.items(), self.scan())

    def verify(self) -> list[str]:
        """What is wrong with journal or graph, a line a problem."""
        problems = self.journal.verify()
        if problems:
            return problems
        from kg.stores.memory import MemoryStore

        truth = MemoryStore()
        for _, changes in self.journal.read():
            items, facts, retracted = parts_of(changes)
            truth.put(items, facts)
            truth.retract(retracted)
        if truth.content_hash() != self.content_hash():
            return [
                f"the graph in {self.folder} differs from its journal: run `catalograph rebuild`"
            ]
        return []

    def rebuild(self) -> Counts:
        """Make the graph anew from the journal."""
        self._graph.close()
        self.wipe(self.folder)
        self._graph = self.open_graph(self.folder)
        self._catch_up()
        return self.counts()

    def close(self) -> None:
        """Release graph and lock."""
        self._graph.close()
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _commit(self, changes: pa.Table) -> None:
        self._graph.apply(self.journal.append(changes), changes)

    def _catch_up(self) -> None:
        for version, changes in self.journal.read(self._graph.applied()):
            self._graph.apply(version, changes)
