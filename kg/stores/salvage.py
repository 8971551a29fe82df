"""Rescue what the journal and the graph of a damaged store still hold, into another store.

The journal is the truth as far as it is whole. Where versions of it are lost, the graph may show
what they wrote, and then its newer rows count. A statement of the graph counts only if its id is
that of its item, property and value, which no flipped byte leaves intact.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from kg.stores.fingerprints import Fingerprints
from kg.stores.graph_remains import GraphRemains, graph_remains
from kg.stores.graph_scan import Content
from kg.stores.journal import JournalBatch
from kg.stores.journal_remains import JournalRemains, journal_remains, read_batches
from kg.stores.protocol import GraphStore
from kg.stores.row_differences import raw_rows
from kg.stores.row_partitions import RowPartitions
from kg.stores.scan_process import Limits
from kg.stores.tables import ITEM_SCHEMA, STATEMENT_SCHEMA, Row
from kg.stores.verification import StoreFiles
from schema.progress import ProgressCallback, no_progress
from schema.terms import Rank, statement_id

PUT_ROWS = 50_000


class Origin(StrEnum):
    """Where a row was found."""

    JOURNAL = "journal"
    REMOVED = "removed"
    GRAPH = "graph"


@dataclass
class Rescued:
    """How many items or statements were rescued, and from where.

    ``differing`` were in both and not the same: ``differing_journal`` of them were taken from the
    journal, the others from the graph. ``uncertain`` are those that a lost version may have
    removed. ``damaged`` are those of which the graph has a damaged row and the journal none, and
    ``unknown`` those of which the journal, which is whole, has none. Neither were rescued.
    """

    both: int = 0
    journal: int = 0
    graph: int = 0
    differing_journal: int = 0
    differing_graph: int = 0
    uncertain: int = 0
    damaged: int = 0
    unknown: int = 0

    @property
    def total(self) -> int:
        """All that were rescued."""
        return self.both + self.journal + self.graph + self.differing_journal + self.differing_graph


@dataclass
class StoreSalvage:
    """What was rescued of a store, what was lost, and remarks, one line each."""

    items: Rescued = field(default_factory=Rescued)
    statements: Rescued = field(default_factory=Rescued)
    lost: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def salvage_store(
    files: StoreFiles,
    target: GraphStore,
    *,
    limits: Limits | None = None,
    progress: ProgressCallback = no_progress,
) -> StoreSalvage:
    """Rescue what a store still holds into ``target``; the store itself is only read.

    Putting a row twice changes nothing, so that a salvage that was cut off can be repeated.
    """
    with tempfile.TemporaryDirectory(prefix="catalograph-") as folder:
        return _StoreSalvage(files, target, Path(folder), limits or Limits(), progress).run()


class _StoreSalvage:
    """One salvage of a store."""

    def __init__(
        self,
        files: StoreFiles,
        target: GraphStore,
        folder: Path,
        limits: Limits,
        progress: ProgressCallback,
    ) -> None:
        self.files = files
        self.target = target
        self.folder = folder
        self.limits = limits
        self.progress = progress
        self.report = StoreSalvage()
        self.rows_done = 0
        self.rows_to_do = 0

    def run(self) -> StoreSalvage:
        """Read what is left, decide row by row, and write it."""
        journal = journal_remains(self.files.journal)
        log = self.files.journal.log.check()
        # Every row is read from the journal and from the graph, and written; statements of the
        # graph are read twice.
        self.rows_to_do = 4 * sum(entry.rows or 0 for entry in log.entries.values())
        graph = self._graph_remains()
        choice = self._choice(journal, graph)
        self.report.notes += journal.notes
        with ExitStack() as stack:
            items = stack.enter_context(RowPartitions(ITEM_SCHEMA))
            statements = stack.enter_context(RowPartitions(STATEMENT_SCHEMA))
            prints = stack.enter_context(Fingerprints())
            for changes in read_batches(self.files.journal, journal):
                batch = JournalBatch.from_table(changes)
                items.add(batch.items, prints.items(batch.items), Origin.JOURNAL)
                statements.add(
                    batch.statements, prints.statements(batch.statements), Origin.JOURNAL
                )
                retracted = _only_ids(batch.retracted, STATEMENT_SCHEMA)
                statements.add(retracted, prints.statements(retracted), Origin.REMOVED)
                deleted = _only_ids(batch.deleted, ITEM_SCHEMA)
                items.add(deleted, prints.items(deleted), Origin.REMOVED)
                self._count(changes.num_rows)
            for table in graph.tables(Content.ITEMS):
                items.add(table, prints.items(table), Origin.GRAPH)
            for content in (Content.STATEMENTS, Content.SECOND_COPY):
                for table in graph.tables(content):
                    statements.add(table, prints.statements(table), Origin.GRAPH)
            self._put(choice.items(items, self.report.items), ITEM_SCHEMA)
            self._put(choice.statements(statements, self.report.statements), STATEMENT_SCHEMA)
        for name, rescued in (
            ("items", self.report.items),
            ("statements", self.report.statements),
        ):
            if rescued.damaged:
                self.report.lost.append(f"{rescued.damaged:,} damaged {name} of the graph")
        return self.report

    def _graph_remains(self) -> GraphRemains:
        if self.files.graph is None:
            return GraphRemains(unreadable="there is none")
        return graph_remains(
            self.files.open_scan,
            self.files.graph,
            self.folder,
            limits=self.limits,
            progress=self._count,
        )

    def _choice(self, journal: JournalRemains, graph: GraphRemains) -> Choice:
        """Report what is lost of the journal and the graph; return how rows are chosen."""
        shown = -1 if graph.version is None else graph.version
        for batch in journal.lost:
            if batch.version <= shown and graph.is_whole:
                self.report.notes.append(
                    f"{batch.in_words()}; what it wrote was taken from the graph"
                )
            else:
                self.report.lost.append(batch.in_words())
        missing = shown - journal.last_version
        if missing > 0:
            line = f"versions {journal.last_version + 1} to {shown} of the journal have no trace"
            if graph.is_whole:
                self.report.notes.append(f"{line}; what they wrote was taken from the graph")
            else:
                self.report.lost.append(line)
        is_newer = missing > 0 or any(batch.version <= shown for batch in journal.lost)
        journal_is_whole = not journal.lost and missing <= 0

        damage = [
            f"{part.content} {part.start:,} to {part.stop:,} of the graph cannot be read ({reason})"
            for part, reason in graph.lost.items()
        ]
        if graph.unreadable:
            damage.append(f"the graph cannot be read ({graph.unreadable})")
        (self.report.notes if journal_is_whole else self.report.lost).extend(damage)
        return Choice(is_newer=is_newer, graph_is_whole=graph.is_whole)

    def _put(self, rows: Iterator[Row], schema: pa.Schema) -> None:
        while batch := list(islice(rows, PUT_ROWS)):
            table = pa.Table.from_pylist(batch, schema=schema)
            if schema is ITEM_SCHEMA:
                self.target.put(table, None)
            else:
                self.target.put(None, table)
            self._count(len(batch))

    def _count(self, rows: int) -> None:
        self.rows_done = min(self.rows_done + rows, self.rows_to_do)
        self.progress(self.rows_done, self.rows_to_do)


@dataclass(frozen=True)
class Choice:
    """Chooses among the rows of an id.

    ``is_newer`` tells whether the graph shows versions that the journal has lost.
    """

    is_newer: bool
    graph_is_whole: bool

    def items(self, partitions: RowPartitions, rescued: Rescued) -> Iterator[Row]:
        """Yield the items to rescue, and count them."""
        for versions in _by_id(partitions):
            chosen = self._item(versions, rescued)
            if chosen is not None:
                yield chosen

    def statements(self, partitions: RowPartitions, rescued: Rescued) -> Iterator[Row]:
        """Yield the statements to rescue, and count them."""
        for versions in _by_id(partitions):
            chosen = self._statement(versions, rescued)
            if chosen is not None:
                yield chosen

    def _item(self, versions: Versions, rescued: Rescued) -> Row | None:
        sound = [row for row in versions.graph if _is_text(row)]
        return self._choose(versions, sound, rescued, _is_one_byte_apart)

    def _statement(self, versions: Versions, rescued: Rescued) -> Row | None:
        sound = [row for row in versions.graph if _is_sound(row)]
        return self._choose(versions, sound, rescued, _is_of_same_write)

    def _choose(
        self,
        versions: Versions,
        sound: Sequence[Row],
        rescued: Rescued,
        is_damage: Callable[[Row, Row], bool],
    ) -> Row | None:
        """Choose between the journal's newest row and the sound ones of the graph."""
        journal = versions.journal
        if versions.is_removed:
            # A lost version may have put again what an earlier one removed.
            if self.is_newer and sound:
                rescued.graph += 1
                rescued.uncertain += 1
                return sound[0]
            return None
        if journal is None:
            if sound and self.is_newer:
                rescued.graph += 1
                return sound[0]
            rescued.unknown += bool(sound)
            rescued.damaged += not sound
            return None
        if any(_meaning(row) == _meaning(journal) for row in versions.graph):
            rescued.both += 1
            return journal
        if not versions.graph:
            rescued.journal += 1
            # Or the graph has lost it, which cannot be told apart.
            rescued.uncertain += self.is_newer and self.graph_is_whole
            return journal
        if self.is_newer and sound and not is_damage(journal, sound[0]):
            rescued.differing_graph += 1
            return sound[0]
        rescued.differing_journal += 1
        return journal


@dataclass
class Versions:
    """The rows of an id: the journal's newest one, and those of the graph."""

    journal: Row | None = None
    is_removed: bool = False
    graph: list[Row] = field(default_factory=list)


def _by_id(partitions: RowPartitions) -> Iterator[Versions]:
    """Yield the rows of each id."""
    for table in partitions.parts():
        by_id: dict[str, Versions] = {}
        for row in readable_rows(table):
            origin = row.pop("origin")
            versions = by_id.setdefault(row["id"], Versions())
            if origin == Origin.GRAPH:
                versions.graph.append(row)
            else:
                versions.is_removed = origin == Origin.REMOVED
                versions.journal = None if versions.is_removed else row
        yield from by_id.values()


def readable_rows(table: pa.Table) -> list[Row]:
    """Return rows; bytes that are no UTF-8 become lone surrogates, which no sound text has."""
    try:
        rows: list[Row] = table.to_pylist()
    except UnicodeDecodeError:
        rows = [{name: _decoded(value) for name, value in raw.items()} for raw in raw_rows(table)]
    return rows


def _decoded(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="surrogateescape")
    if isinstance(value, list):
        return [_decoded(each) for each in value]
    return value


def _only_ids(ids: Sequence[str], schema: pa.Schema) -> pa.Table:
    columns: list[pa.Array] = [
        pa.array(ids, pa.string()) if kind.name == "id" else pa.nulls(len(ids), kind.type)
        for kind in schema
    ]
    return pa.table(columns, schema=schema)


def _meaning(row: Row) -> Row:
    """Return a row in the form that all stores have in common: nothing is None."""
    return {name: None if value in ("", []) else value for name, value in row.items()}


def _is_text(row: Row) -> bool:
    """Return whether all texts of a row are UTF-8, and it has an id."""
    texts = [value for value in row.values() if isinstance(value, str)]
    try:
        "".join([*texts, *(row.get("images") or [])]).encode()
    except (UnicodeEncodeError, TypeError):
        return False
    return bool(row["id"])


def _is_sound(row: Row) -> bool:
    """Return whether a statement's id is that of its fields, and its rank is one."""
    names = ("item", "property", "value")
    if not _is_text(row) or any(row[name] is None for name in names):
        return False
    ranks = {str(rank) for rank in Rank}
    id = statement_id(row["item"], row["property"], row["value"], row["language"])
    return row["rank"] in ranks and row["id"] == id


def _is_of_same_write(journal: Row, graph: Row) -> bool:
    """Return whether two statements come from the same write, so that one is damaged."""
    return all(_meaning(journal)[name] == _meaning(graph)[name] for name in ("batch", "time"))


def _is_one_byte_apart(journal: Row, graph: Row) -> bool:
    """Return whether two items differ in one byte, which is rather damage than a newer version."""
    before = repr(_meaning(journal)).encode()
    after = repr(_meaning(graph)).encode()
    if len(before) != len(after):
        return False
    return sum(one != other for one, other in zip(before, after, strict=True)) == 1
