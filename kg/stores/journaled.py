"""A store in a folder: a journal, which is the truth, and a graph, which is its projection."""

from __future__ import annotations

import time
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar

import pyarrow as pa

from kg.stores.failures import unavailable
from kg.stores.graph_files import GraphFiles
from kg.stores.graph_scan import Content, GraphScan
from kg.stores.journal import ChangeOrigin, Journal, changes_table, new_rows_table
from kg.stores.lock import WAIT_SECONDS, StoreLock
from kg.stores.merge import Changes, PutBatch, PutRules, PutTables, StoredRows, changes_of
from kg.stores.projection import Projection, WholeReads
from kg.stores.protocol import (
    EVERYTHING,
    ChangeBatch,
    Counts,
    GraphStore,
    Pattern,
    PutReport,
    QueryResult,
)
from kg.stores.query_limits import DEFAULT_LIMITS, DEFAULT_SECONDS, QueryLimits
from kg.stores.replay import Replay
from kg.stores.room import check_room
from kg.stores.scan_process import ScanProcess
from kg.stores.scan_tasks import Count
from kg.stores.tables import item_from_row, statements_from_rows
from kg.stores.unchanged import without_unchanged
from kg.stores.verification import StoreFiles, verify_store
from schema.errors import (
    CatalographWarning,
    GraphNotFoundError,
    StoreDamagedError,
    StoreError,
    StoreUnavailableError,
)
from schema.terms import Item, Rank, Statement

PUBLISH_SECONDS = 2.0
"""The least time between two publications of a graph that is being written."""
PUBLISH_RATIO = 50
"""A publication may take one part in so many of the time since the one before."""
COMPARED_ROWS = 500
"""In a batch of fewer statements no items are looked for that have not changed."""


class JournaledStore(GraphStore):
    """A folder with a graph, ``journal/`` and ``lock``; subclasses say what their graph is.

    A reader opens the graph that was published last, and needs no lock. A writer has the lock,
    works on a copy of that graph from its first change on, and publishes it when it is closed, and
    from time to time before that.
    """

    scheme: ClassVar[str]

    def __init__(self, folder: Path, *, create: bool = True, read_only: bool = False) -> None:
        self.folder = folder
        self.url = f"{self.scheme}:{folder}"
        self.journal = Journal(folder / "journal")
        self._files = self.graph_files(folder)
        self._read_only = read_only
        self._lock: StoreLock | None = None
        self._projection: Projection | None = None
        self._is_working = False
        """Whether the projection is the working copy."""
        self._has_unpublished = False
        self._has_failed = False
        self._next_publication = 0.0
        if not folder.is_dir() and not create:
            raise self._no_graph()
        if read_only:
            self._projection = self._up_to_date_graph()
        else:
            # The graph itself is opened when it is needed: `rebuild` can do without.
            self._lock = StoreLock(self._lock_path)

    @staticmethod
    @abstractmethod
    def graph_files(folder: Path) -> GraphFiles:
        """Return the files of the folder's graph."""

    @staticmethod
    @abstractmethod
    def open_graph(path: Path, read_only: bool = False) -> Projection:
        """Open a graph; opened for writing, it is made if there is none."""

    @staticmethod
    def is_unfinished(path: Path) -> bool:
        """Return whether a published graph has changes beside it, from a writer in place.

        Today's writers have a copy of their own, but there were others before.
        """
        return False

    @staticmethod
    @abstractmethod
    def open_scan(path: Path) -> GraphScan:
        """Open a graph to be read from end to end, in a process of its own."""

    @classmethod
    def store_files(cls, folder: Path) -> StoreFiles:
        """Return what verifying and salvaging the store in a folder need, without opening it."""
        files = cls.graph_files(folder)
        return StoreFiles(
            folder,
            Journal(folder / "journal"),
            files.published(),
            cls.open_scan,
            files.damaged_files,
        )

    def put(
        self,
        items: pa.Table | None,
        statements: pa.Table | None,
        *,
        replaces: str | None = None,
        run: str = "",
    ) -> PutReport:
        """Append what changes to the journal, then apply it to the graph."""
        tables = PutTables.checked(items, statements)
        rules = PutRules(replaces, self.order)
        ids = tables.item_ids()
        if tables.are_plain():
            if self._opened.lacks_all(ids):
                return self._put_new(tables.as_new(), run)
            tables = self._without_unchanged(tables, ids, rules)
        stored = self._graph.rows_about(tables.item_ids())
        if not stored.items and tables.are_plain():
            return self._put_new(tables.as_new(), run)
        return self._write(changes_of(PutBatch.of(tables), stored, rules), run)

    def _without_unchanged(
        self, tables: PutTables, item_ids: Sequence[str], rules: PutRules
    ) -> PutTables:
        """Leave out the items of a large batch about which it says nothing new."""
        if tables.statements.num_rows < COMPARED_ROWS:
            return tables
        stored = self._graph.compared_about(item_ids)
        return tables if stored is None else without_unchanged(tables, stored, rules)

    def _put_new(self, tables: PutTables, run: str) -> PutReport:
        """Write items that the store has none of, and statements about them."""
        if tables.items.num_rows:
            origin = ChangeOrigin.of(run)
            self._commit(new_rows_table(tables.items, tables.statements, origin))
        return PutReport(tables.items.num_rows, tables.statements.num_rows)

    def retract(self, statement_ids: Sequence[str], *, run: str = "") -> int:
        """Remove statements; return how many of them the store had."""
        ids = self._graph.existing_statements(list(dict.fromkeys(statement_ids)))
        return self._write(Changes(retracted=dict.fromkeys(ids)), run).retracted

    def append(self, changes: pa.Table) -> None:
        """Append changes to the journal as they are, then apply them to the graph."""
        self._commit(changes)

    def changes(self, since: int = -1) -> Iterator[ChangeBatch]:
        """Yield the batches of the journal after a version, in order."""
        for version, changes in self.journal.read(since):
            yield ChangeBatch.of(version, changes, self.journal.time_of(version))

    def rows_about(self, item_ids: Sequence[str]) -> StoredRows:
        """Return the rows of items, as far as there are any, and of their statements."""
        return self._graph.rows_about(item_ids)

    def change(
        self,
        item_ids: Sequence[str],
        changes: Callable[[StoredRows], Changes],
        *,
        run: str = "",
    ) -> PutReport:
        """Write what ``changes`` returns for the rows about some items."""
        return self._write(changes(self._graph.rows_about(item_ids)), run)

    def _write(self, changes: Changes, run: str) -> PutReport:
        if changes:
            self._commit(changes_table(changes, ChangeOrigin.of(run)))
        return PutReport.of(changes)

    def item(self, id: str) -> tuple[Item, list[Statement]] | None:
        """Return an item and its statements, or None."""
        stored = self._graph.rows_about([id])
        if id not in stored.items:
            return None
        return item_from_row(stored.items[id]), statements_from_rows(stored.statements.values())

    def items(self) -> Iterator[pa.RecordBatch]:
        """Yield all items, ordered by id."""
        return self._graph.items()

    def unordered_items(self) -> Iterator[pa.RecordBatch]:
        """Yield all items in any order, which may be faster."""
        return self._graph.unordered_items()

    def categories(self) -> Iterator[pa.RecordBatch]:
        """Yield the id and the category of all items in any order."""
        return self._whole.categories()

    def scan(self, pattern: Pattern = EVERYTHING) -> Iterator[pa.RecordBatch]:
        """Yield the statements that match, ordered by id."""
        return self._whole.scan(pattern)

    def facts(self) -> Iterator[pa.RecordBatch]:
        """Yield all statements in any order, in FACT_SCHEMA."""
        return self._whole.facts()

    def plain_statements(self, ranks: Sequence[Rank] | None) -> Iterator[pa.RecordBatch]:
        """Yield the statements of some ranks in any order, in PLAIN_STATEMENT_SCHEMA."""
        return self._graph.plain_statements(ranks)

    def triples(self, ranks: Sequence[Rank]) -> Iterator[pa.RecordBatch]:
        """Yield the statements of some ranks."""
        return self._whole.triples(ranks)

    def sourced_triples(self, ranks: Sequence[Rank]) -> Iterator[pa.RecordBatch]:
        """Yield the statements of some ranks with what decides between sources."""
        return self._whole.sourced_triples(ranks)

    def sources(self) -> list[str]:
        """Return the sources of items and statements in order; what is only predicted has none."""
        return self._whole.sources()

    def query(
        self,
        text: str,
        params: dict[str, Any] | None = None,
        timeout: float = DEFAULT_SECONDS,
        limits: QueryLimits = DEFAULT_LIMITS,
    ) -> QueryResult:
        """Run a read-only Cypher query; raises StoreError if the graph does not answer Cypher."""
        return self._graph.query(text, params or {}, timeout, limits)

    def counts(self) -> Counts:
        """Return the sizes of the graph."""
        return self._graph.counts()

    def is_empty(self) -> bool:
        """Return whether nothing was ever written, which is quicker than to count."""
        return self.journal.version < 0

    def revision(self) -> str:
        """Return a text that changes whenever the content does."""
        return self.journal.revision

    def version_at(self, revision: str) -> int | None:
        """Return the version of the journal at a revision."""
        return self.journal.version_at(revision)

    def verify(self) -> list[str]:
        """Return the problems found in the journal or the graph, one line each."""
        if self._is_working and self._has_unpublished:
            self._publish()
        return verify_store(self.store_files(self.folder)).problems

    def rebuild(self) -> None:
        """Make the graph anew from its journal, which is checked first.

        The old graph stays until the new one is complete. Raises StoreDamagedError, and changes
        nothing, if the journal is damaged or lacks what the graph shows.
        """
        self._check_writable()
        self._drop_projection()
        self._files.remove_leftovers()
        problems = self.journal.verify()
        if problems:
            more = f", and {len(problems) - 1} more problems" if len(problems) > 1 else ""
            raise StoreDamagedError(f"nothing was rebuilt: {problems[0]}{more}")
        is_readable = self._check_journal_is_whole()

        graph = self._projection = self.open_graph(self._files.working)
        self._is_working = True
        with self._all_or_nothing(), Replay(only_count=True) as replay:
            for version, changes in self.journal.read():
                check_room(self.folder, graph.room_for(changes))
                graph.apply(version, changes)
                replay.add(changes)
            graph.settle()
            counts = graph.counts()
            items = replay.total(Content.ITEMS).count
            statements = replay.total(Content.STATEMENTS).count
            if (counts.items, counts.statements) != (items, statements):
                raise StoreDamagedError(
                    f"nothing was rebuilt: the new graph has {counts.items:,} items and "
                    f"{counts.statements:,} statements, its journal {items:,} and {statements:,}; "
                    "try again, and report it if it happens again"
                )
            graph.finish()
            published = self._files.published()
            if published is not None and not is_readable:
                # It may show what the journal has lost.
                aside = self._files.set_aside(published)
                self._warn(f"the old graph could not be read and was renamed to {aside}")
            self._files.publish(self._files.working)
        self._forget_projection()

    def close(self) -> None:
        """Publish what was written, and release the graph and the lock."""
        try:
            if self._is_working and self._has_unpublished and not self._has_failed:
                self._publish()
        finally:
            self._release()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except StoreError:
            # What went wrong first says more. The next to open the store catches up.
            if error is None:
                raise

    # Opening

    @property
    def _lock_path(self) -> Path:
        return self.folder / "lock"

    @property
    def _graph(self) -> Projection:
        """The graph that ``_opened`` is, with all that was applied to it in place."""
        graph = self._opened
        if self._is_working:
            with self._all_or_nothing():
                graph.settle()
        return graph

    @property
    def _whole(self) -> WholeReads:
        """What the graph has, from memory if it is there while the graph is loaded."""
        graph = self._opened
        if self._is_working:
            with self._all_or_nothing():
                return graph.held_rows() or self._graph
        return graph

    @property
    def _opened(self) -> Projection:
        """The published graph, or a writer's copy from its first change on."""
        if self._has_failed:
            raise StoreError(f"an earlier write to {self.folder} failed: open it again")
        if self._projection is None:
            self._open_for_writing()
        assert self._projection is not None
        return self._projection

    def _up_to_date_graph(self) -> Projection:
        """Open the published graph for reading; bring it up to date first, if that is possible."""
        graph = self._published_graph()
        # The graph's version before the journal's: a writer may add to both in between.
        applied = -1 if graph is None else graph.applied_version()
        newest = self.journal.version
        if graph is None or applied < newest or self.is_unfinished(graph.path):
            return self._catch_up_as_writer(graph)
        if applied > newest:
            self._warn(
                f"the graph shows version {applied} of its journal, which ends at version "
                f"{newest}: restore the journal from a copy, or run `catalograph salvage`"
            )
        return graph

    def _catch_up_as_writer(self, graph: Projection | None) -> Projection:
        """Bring the graph up to date and return it; return ``graph`` if that is not possible."""
        try:
            # Without a graph there is nothing to read, so a writer at work is waited for.
            self._lock = StoreLock(self._lock_path, WAIT_SECONDS if graph is None else 0)
            if graph is not None:
                graph.close()
                graph = None
            self._open_for_writing()
            if self._is_working:
                self._publish()
        except StoreError as error:
            graph = graph or self._published_graph()
            if graph is None:
                if self.journal.version < 0 and isinstance(error, StoreUnavailableError):
                    raise self._no_graph() from None
                raise
            applied = graph.applied_version()
            newest = self.journal.version
            self._warn(f"reading version {applied}, as published, of {newest} ({error})")
            return graph
        finally:
            self._release()
        graph = self._published_graph()
        if graph is None:
            raise self._no_graph()
        return graph

    def _published_graph(self) -> Projection | None:
        """Open the published graph for reading; return None if there is none."""
        while True:
            path = self._files.published()
            if path is None:
                return None
            try:
                return self.open_graph(path, read_only=True)
            except (StoreError, OSError):
                # A writer may have published another one meanwhile, and removed this one.
                if self._files.published() == path:
                    raise

    def _open_for_writing(self) -> None:
        """Open the graph as the holder of the lock, and bring it up to date."""
        self._files.remove_leftovers()
        applied = self._open_published_or_none()
        newest = self.journal.version
        if applied > newest:
            raise StoreDamagedError(
                f"{self.journal.folder} ends at version {newest}, but the graph shows version "
                f"{applied}: restore the journal from a copy, or run `catalograph salvage`"
            )
        with suppress(OSError):  # a full disk: then the next writer does it
            self.journal.log.update_head()
        if self._projection is None or applied < newest:
            graph = self._begin()
            with self._all_or_nothing():
                for version, changes in self.journal.read(since=applied):
                    check_room(self.folder, graph.room_for(changes))
                    graph.apply(version, changes)
            self._has_unpublished = True

    def _open_published_or_none(self) -> int:
        """Open the published graph, or none if all are damaged; return the version it shows."""
        while True:
            try:
                self._finish_published()
                self._projection = self._published_graph()
                return -1 if self._projection is None else self._projection.applied_version()
            except StoreDamagedError as error:
                self._drop_projection()
                self._set_aside(error)

    def _finish_published(self) -> None:
        """Let the database finish what a writer in place has begun."""
        path = self._files.published()
        if path is not None and self.is_unfinished(path):
            check_room(self.folder, path.stat().st_size)
            self.open_graph(path).finish()

    def _set_aside(self, error: StoreDamagedError) -> None:
        """Rename a damaged graph if the journal can replace it; raise ``error`` otherwise."""
        path = self._files.published()
        if path is None or self._read_only or self.journal.version < 0 or self.journal.verify():
            raise error
        aside = self._files.set_aside(path)
        self._warn(f"the graph was renamed to {aside} and is made anew from the journal ({error})")

    def _check_journal_is_whole(self) -> bool:
        """Raise StoreDamagedError if the graph shows what the journal lacks.

        Returns whether the graph could be read, so that this is certain.
        """
        newest = self.journal.version
        path = self._files.published()
        if path is None:
            return True
        is_readable = True
        try:
            # In a process of its own: damage may end the one that reads it.
            with ScanProcess(self.open_scan, path, Count()) as scan:
                applied = scan.version()
                has_more = applied > newest or (newest < 0 and scan.result().items > 0)
        except StoreDamagedError:
            is_readable = False
            applied = -1
            has_more = newest < 0
        if has_more:
            ends = f"ends at version {newest}" if newest >= 0 else "is empty"
            shows = f"version {applied}" if applied >= 0 else "more"
            raise StoreDamagedError(
                f"nothing was rebuilt: {self.journal.folder} {ends}, but the graph beside it shows "
                f"{shows}; restore the journal from a copy, or run `catalograph salvage`"
            )
        return is_readable

    def _no_graph(self) -> StoreError:
        return GraphNotFoundError(f"no graph at {self.folder}: run `catalograph ingest` first")

    def _warn(self, message: str) -> None:
        warnings.warn(f"{self.folder}: {message}", CatalographWarning, stacklevel=3)

    # Writing

    def _check_writable(self) -> None:
        if self._lock is None:
            raise StoreError(f"{self.folder} is open for reading: open it for writing")

    def _commit(self, changes: pa.Table) -> None:
        self._check_writable()
        # Parquet compresses, so that in the journal the batch takes less than in memory.
        needed = changes.nbytes + self._opened.room_for(changes)
        if not self._is_working:
            needed += self._files.bytes_to_copy(self._opened.path)
        check_room(self.folder, needed)
        graph = self._begin()
        with self._all_or_nothing():
            # The journal comes first: a crash between the two steps leaves a graph that is behind,
            # and the next one to open the store catches up.
            version = self.journal.append(changes)
            graph.apply(version, changes)
        self._has_unpublished = True
        self._publish_if_due(graph)

    def _begin(self) -> Projection:
        """Return the working copy of the graph, which is made at the first change."""
        if self._projection is not None and self._is_working:
            return self._projection
        began = time.monotonic()
        self._drop_projection()
        graph = self._projection = self.open_graph(self._files.copy_to_work_on())
        self._is_working = True
        self._plan_publication(began)
        return graph

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """Give up the working copy if the block fails: it may hold a part of a batch."""
        try:
            yield
        except BaseException:
            self._has_failed = True
            if self._projection is not None:
                self._projection.abandon()
                self._projection = None
            raise

    def _publish(self) -> None:
        """Publish the working copy, which takes no time, and release it."""
        graph = self._begin()
        with self._all_or_nothing():
            graph.finish()
            self._files.publish(self._files.working)
        self._forget_projection()

    def _publish_if_due(self, graph: Projection) -> None:
        """Publish a copy of the working copy, if that takes little of the time since the last one.

        A writer that is soon done publishes only when it is closed.
        """
        began = time.monotonic()
        # What was put off takes longer now than later together with what comes until then.
        if began < self._next_publication + PUBLISH_RATIO * graph.settling_seconds():
            return
        with self._all_or_nothing():
            graph.flush()
        try:
            with unavailable(self.folder):
                graph.save_copy(self._files.finished)
            self._files.publish(self._files.finished)
            self._has_unpublished = False
        except StoreUnavailableError:
            # Without room for a copy, the readers wait until the writer is done.
            self._files.remove(self._files.finished)
        self._plan_publication(began)

    def _plan_publication(self, began: float) -> None:
        """Set the time of the next publication, when a copy has taken the time since ``began``."""
        now = time.monotonic()
        self._next_publication = now + max(PUBLISH_SECONDS, PUBLISH_RATIO * (now - began))

    def _drop_projection(self) -> None:
        """Release the graph; what a working copy has that was not published is lost."""
        if self._projection is not None:
            self._projection.close()
        self._forget_projection()

    def _forget_projection(self) -> None:
        self._projection = None
        self._is_working = False
        self._has_unpublished = False
        self._has_failed = False

    def _release(self) -> None:
        """Release the graph and the lock."""
        try:
            self._drop_projection()
        finally:
            if self._lock is not None:
                self._files.remove_leftovers()
                self._lock.release()
                self._lock = None
