"""A store in a folder: a journal, which is the truth, and a graph, which is its projection."""

from __future__ import annotations

import random
import time
import warnings
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from kg.stores.failures import unavailable
from kg.stores.graph_files import GraphFiles
from kg.stores.graph_scan import Content, GraphScan
from kg.stores.journal import Batch, ChangeOrigin, Journal, changes_table, new_rows_table
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
from kg.stores.shared_journal import SharedJournal, opened_journal
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
COMMIT_TRIES = 40
"""How often a write is tried again because other homes have written to a shared journal first."""
PATIENT_TRIES = 2
"""After so many a home asks the others to wait."""
MAX_PAUSE_SECONDS = 2.0
"""The longest pause before such a try."""


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What a write appends to the journal, None if it changes nothing, and its report."""

    changes: pa.Table | None
    report: PutReport


class JournaledStore(GraphStore):
    """A folder with a graph, ``journal/`` and ``lock``; subclasses say what their graph is.

    A reader opens the graph that was published last, and needs no lock. A writer has the lock,
    works on a copy of that graph from its first change on, and publishes it when it is closed, and
    from time to time before that.

    The journal may be the copy of one that several homes share on an object store. Readers and
    writers then bring it up to date when they open the store. A write that comes second is worked
    out again for what the first has written, so that it counts as the later one.
    """

    scheme: ClassVar[str]

    def __init__(self, folder: Path, *, create: bool = True, read_only: bool = False) -> None:
        self.folder = folder
        self.url = f"{self.scheme}:{folder}"
        self.journal, self._shared = opened_journal(folder / "journal")
        self._has_followed = False
        """Whether this writer has fetched what others had added to a shared journal."""
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
        journal, shared = opened_journal(folder / "journal")
        return StoreFiles(
            folder,
            journal,
            files.published(),
            cls.open_scan,
            files.damaged_files,
            shared,
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
        return self._write(lambda: self._put(tables, ids, rules, run), ids)

    def _put(self, tables: PutTables, ids: Sequence[str], rules: PutRules, run: str) -> _Prepared:
        """Return what putting tables about some items changes."""
        if tables.are_plain():
            if self._opened.lacks_all(ids):
                return _new(tables.as_new(), run)
            tables = self._without_unchanged(tables, ids, rules)
        stored = self._graph.rows_about(tables.item_ids())
        if not stored.items and tables.are_plain():
            return _new(tables.as_new(), run)
        return _changed(changes_of(PutBatch.of(tables), stored, rules), run)

    def _without_unchanged(
        self, tables: PutTables, item_ids: Sequence[str], rules: PutRules
    ) -> PutTables:
        """Leave out the items of a large batch about which it says nothing new."""
        if tables.statements.num_rows < COMPARED_ROWS:
            return tables
        stored = self._graph.compared_about(item_ids)
        return tables if stored is None else without_unchanged(tables, stored, rules)

    def retract(self, statement_ids: Sequence[str], *, run: str = "") -> int:
        """Remove statements; return how many of them the store had."""
        wanted = list(dict.fromkeys(statement_ids))

        def retraction() -> _Prepared:
            ids = self._graph.existing_statements(wanted)
            return _changed(Changes(retracted=dict.fromkeys(ids)), run)

        return self._write(retraction).retracted

    def append(self, changes: pa.Table) -> None:
        """Append changes to the journal as they are, then apply them to the graph.

        Raises StoreError if another home has written about the same items meanwhile.
        """
        prepared = [_Prepared(changes, PutReport(0, 0))]

        def given() -> _Prepared:
            if not prepared:
                raise StoreError(
                    f"another home has written about the same items to {self._journal_url}: run "
                    "the command again"
                )
            return prepared.pop()

        self._write(given, _touched_items(changes))

    def changes(self, since: int = -1) -> Iterator[ChangeBatch]:
        """Yield the batches of the journal after a version, in order."""
        journal = self._followed
        for version, changes in journal.read(since):
            yield ChangeBatch.of(version, changes, journal.time_of(version))

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
        return self._write(lambda: _changed(changes(self._graph.rows_about(item_ids)), run))

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
        return self._followed.version < 0

    def revision(self) -> str:
        """Return a text that changes whenever the content does."""
        return self._followed.revision

    def version_at(self, revision: str) -> int | None:
        """Return the version of the journal at a revision."""
        return self._followed.version_at(revision)

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
        self._fetch_journal()
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

    # Following a shared journal

    @property
    def _followed(self) -> Journal:
        """The journal, for a writer with what others had added when it asked first."""
        if self._shared is not None and self._lock is not None and not self._has_followed:
            self._shared.follow()
            self._has_followed = True
        return self.journal

    @property
    def _journal_url(self) -> str:
        return str(self.journal.folder) if self._shared is None else self._shared.url

    def _newest_version(self, graph: Projection | None) -> int:
        """Return the newest version of the journal, for a reader that has opened a graph.

        A reader goes on with its graph if a shared journal cannot be asked.
        """
        newest = self.journal.version
        if self._shared is None or (graph is not None and self._shared.is_known_lately()):
            return newest
        try:
            return self._shared.newest()
        except StoreError as error:
            if graph is None:
                raise
            self._warn(f"reading version {graph.applied_version()}, as published ({error})")
            return newest

    def _fetch_journal(self) -> None:
        """Bring the copy of a shared journal up to date, and make it anew if it is damaged."""
        if self._shared is None:
            return
        aside = self._shared.fetch_anew()
        self._has_followed = True
        if aside is not None:
            self._warn(
                "the copy of the journal was damaged: it was fetched anew from "
                f"{self._shared.url}, and the damaged one was renamed to {aside}"
            )

    def _follow_others(self) -> set[str] | None:
        """Fetch and apply what others have added to a shared journal since this one was opened.

        Returns the items that it is about, None if it does not say of all of its rows.
        """
        assert self._shared is not None
        before = self.journal.version
        self._shared.follow()
        touched: set[str] | None = set()
        if self.journal.version == before:
            return touched
        graph = self._begin()
        with self._all_or_nothing():
            for version, changes in self.journal.read(before):
                check_room(self.folder, graph.room_for(changes))
                graph.apply(version, changes)
                self.followed += 1
                items = _touched_items(changes)
                touched = None if touched is None or items is None else touched | items
        self._has_unpublished = True
        return touched

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
        newest = self._newest_version(graph)
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
                if self._newest_version(None) < 0 and isinstance(error, StoreUnavailableError):
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
        newest = self._followed.version
        applied = self._open_published_or_none()
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

    def _write(
        self, prepare: Callable[[], _Prepared], items: Collection[str] | None = None
    ) -> PutReport:
        """Append what ``prepare`` returns, all or nothing.

        Where another home has written first, ``prepare`` is called again once the graph shows that,
        unless what it returned depends on ``items`` alone and nothing was written about these.
        """
        shared = self._shared if self._lock is not None else None
        if shared is None:
            prepared = prepare()
            if prepared.changes is not None:
                self._commit(prepared.changes, Batch.of(prepared.changes))
            return prepared.report
        shared.give_way()
        try:
            return self._write_first(shared, prepare, items)
        finally:
            shared.end_turn()

    def _write_first(
        self,
        shared: SharedJournal,
        prepare: Callable[[], _Prepared],
        items: Collection[str] | None,
    ) -> PutReport:
        """Append to a shared journal, again and again until no other home is first."""
        prepared = prepare()
        batch: Batch | None = None
        for attempt in range(COMMIT_TRIES):
            if prepared.changes is not None:
                batch = batch or Batch.of(prepared.changes)
                if self._commit(prepared.changes, batch):
                    return prepared.report
                time.sleep(random.uniform(0, min(MAX_PAUSE_SECONDS, 0.01 * 2**attempt)))
            if attempt >= PATIENT_TRIES:
                shared.ask_for_turn()
            before = self.journal.version
            touched = self._follow_others()
            if prepared.changes is None and self.journal.version == before:
                # It changes nothing in what there is now.
                return prepared.report
            if items is None or touched is None or not touched.isdisjoint(items):
                prepared = prepare()
                batch = None
        raise StoreUnavailableError(
            f"{COMMIT_TRIES} times in a row other homes have written to {shared.url} first: try "
            "again when they write less"
        )

    def _commit(self, changes: pa.Table, batch: Batch) -> bool:
        """Append a batch, and apply it; return False if another home has written first."""
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
            add = self.journal.add if self._shared is None else self._shared.add
            version = add(batch)
            if version is None:
                return False
            graph.apply(version, changes)
        self._has_unpublished = True
        self._publish_if_due(graph)
        return True

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


def _new(tables: PutTables, run: str) -> _Prepared:
    """Return what is written of items that the store has none of, and of statements about them."""
    report = PutReport(tables.items.num_rows, tables.statements.num_rows)
    if not tables.items.num_rows:
        return _Prepared(None, report)
    origin = ChangeOrigin.of(run)
    return _Prepared(new_rows_table(tables.items, tables.statements, origin), report)


def _changed(changes: Changes, run: str) -> _Prepared:
    """Return what is written of changes."""
    table = changes_table(changes, ChangeOrigin.of(run)) if changes else None
    return _Prepared(table, PutReport.of(changes))


def _touched_items(changes: pa.Table) -> set[str] | None:
    """Return the items that changes are about; None if a row does not say which."""
    items: pa.ChunkedArray = pc.coalesce(changes["id"], changes["item"])
    return None if items.null_count else set(items.unique().to_pylist())
