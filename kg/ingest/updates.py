"""Bring what a store has from a source up to date with what the source says now.

What a source says of an item replaces what it said before, so an item has to be put as a whole.
Most sources have one row for each item. The items of the others may lie in pieces all over them,
and are gathered on the disk first.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import pyarrow as pa
import pyarrow.compute as pc

from kg.ingest.seen import SeenRows
from kg.source_conflicts import ConflictCounts, conflicts_of, is_newly_stated
from kg.stores.failures import temporary_files
from kg.stores.merge import Changes, PutBatch, PutRules, StoredRows, changes_of, retirement_of
from kg.stores.protocol import GraphStore, Pattern, PutReport
from kg.stores.references import ITEM_FIELDS, Origin, item_references, statement_references
from kg.stores.sorting import sorted_batches
from kg.stores.tables import ITEM_SCHEMA, STATEMENT_SCHEMA, Row, chunks
from schema.ontology import Ontology
from schema.terms import DECIDED_RANKS, Rank

GATHERED_ROWS = 50_000
"""Statements that are put together, once their items were gathered."""
RETIRED_AT_ONCE = 10_000
"""Items that are retired together."""
EXAMPLES = 3
"""Examples of each kind of change that a dry run shows."""
_MAX_PARAMETERS = 900
_PLACE = pa.field("place", pa.int64())


@dataclass
class StoreSink:
    """Puts what sources say into a store.

    A store that was empty has nothing to replace.
    """

    store: GraphStore
    run: str
    replaces: bool
    report: PutReport = field(default_factory=lambda: PutReport(0, 0))

    def put(self, items: pa.Table, statements: pa.Table, source: str | None) -> None:
        """Put items, and all statements about them that a source makes.

        Without a source nothing is replaced.
        """
        replaced = source if self.replaces else None
        made = self.store.put(items, statements, replaces=replaced, run=self.run)
        self.report = self.report.plus(made)

    def retire(self, source: str, item_ids: Sequence[str]) -> None:
        """Take back what a source said of items that it no longer has."""
        for ids in chunks(item_ids, RETIRED_AT_ONCE):
            self.report = self.report.plus(self.store.retire(source, ids, run=self.run))


@dataclass
class PropertyChanges:
    """How many values of a property a source adds, changes and takes back, with examples."""

    new: int = 0
    changed: int = 0
    retracted: int = 0
    examples: list[dict[str, Any]] = field(default_factory=list)


class Overlay:
    """The rows that a dry run would have written so far, kept on the disk.

    Of a run with several sources the later ones meet what the earlier ones would have written.
    """

    def __init__(self) -> None:
        # An empty name is a database on disk that is deleted when it is closed.
        self._database = sqlite3.connect("")
        self._database.execute("CREATE TABLE items (id TEXT PRIMARY KEY, item TEXT, row TEXT)")
        self._database.execute("CREATE TABLE statements (id TEXT PRIMARY KEY, item TEXT, row TEXT)")
        self._database.execute("CREATE INDEX by_item ON statements (item)")

    def over(self, stored: StoredRows, item_ids: Sequence[str]) -> StoredRows:
        """Return the rows about some items as they would be by now."""
        items = dict(stored.items)
        statements = dict(stored.statements)
        for ids in chunks(item_ids, _MAX_PARAMETERS):
            marks = ",".join("?" * len(ids))
            for name, rows in (("items", items), ("statements", statements)):
                query = f"SELECT id, row FROM {name} WHERE item IN ({marks})"
                for id, text in self._database.execute(query, list(ids)):
                    if text is None:
                        rows.pop(id, None)
                    else:
                        rows[id] = json.loads(text)
        return StoredRows(items, statements)

    def add(self, changes: Changes, stored: StoredRows) -> None:
        """Note what would be written over the rows ``stored``."""
        items: dict[str, Row | None] = {row["id"]: row for row in changes.items}
        items |= dict.fromkeys(changes.deleted)
        self._put("items", [(id, id, row) for id, row in items.items()])
        facts = [(row["id"], row["item"], row) for row in changes.statements]
        gone = [(id, stored.statements[id]["item"], None) for id in changes.retracted]
        self._put("statements", [*facts, *gone])

    def _put(self, table: str, rows: Sequence[tuple[str, str, Row | None]]) -> None:
        texts = ((id, item, None if row is None else json.dumps(row)) for id, item, row in rows)
        self._database.executemany(f"INSERT OR REPLACE INTO {table} VALUES (?, ?, ?)", texts)


@dataclass
class DryRunSink:
    """Finds out what putting into a store would change, and changes nothing.

    Attributes:
        ontology: says of which properties an item has one value
        report: the counts that the put would return
        conflicts: the values that would differ from those of another source
        properties: by field or property, what would change
        overlay: what it would have written so far, if that can matter to what comes later
    """

    store: GraphStore
    ontology: Ontology | None = None
    overlay: Overlay | None = None
    report: PutReport = field(default_factory=lambda: PutReport(0, 0))
    conflicts: ConflictCounts = field(default_factory=ConflictCounts)
    properties: dict[str, PropertyChanges] = field(default_factory=dict)
    replaces: ClassVar[bool] = True

    def put(self, items: pa.Table, statements: pa.Table, source: str | None) -> None:
        """Look at items, and all statements about them that a source makes."""
        batch = PutBatch.from_tables(items, statements)
        stored = self._rows_about(batch.item_ids())
        self._see(changes_of(batch, stored, PutRules(source, self.store.order)), stored)

    def retire(self, source: str, item_ids: Sequence[str]) -> None:
        """Look at items that a source no longer has."""
        for ids in chunks(item_ids, RETIRED_AT_ONCE):
            stored = self._rows_about(ids)
            self._see(retirement_of(source, stored, self.store.order), stored)

    def _rows_about(self, ids: Sequence[str]) -> StoredRows:
        stored = self.store.rows_about(ids)
        return stored if self.overlay is None else self.overlay.over(stored, ids)

    def _see(self, changes: Changes, stored: StoredRows) -> None:
        if self.overlay is not None:
            self.overlay.add(changes, stored)
        self.report = self.report.plus(PutReport.of(changes))
        for row in changes.updated_items:
            old = stored.items[row["id"]]
            for name in ITEM_FIELDS:
                if (row[name] or None) != (old[name] or None):
                    self._note(row["id"], name, old[name] or None, row[name] or None)
        taken_back: dict[tuple[str, str], list[str]] = {}
        for id in changes.retracted:
            row = stored.statements[id]
            taken_back.setdefault((row["item"], row["property"]), []).append(row["value"])
        for row in changes.new_statements:
            if row["item"] not in stored.items:
                self.properties.setdefault(row["property"], PropertyChanges()).new += 1
                continue
            before = taken_back.get((row["item"], row["property"]))
            old_value = before.pop() if before else None
            self._note(row["item"], row["property"], old_value, row["value"])
        for (item, name), values in taken_back.items():
            for value in values:
                self._note(item, name, value, None)
        if self.ontology is not None:
            self._find_conflicts(changes, stored, self.ontology)
        for row in changes.statements:
            known = stored.statements.get(row["id"])
            if row["rank"] == Rank.REJECTED and known is not None and is_newly_stated(row, known):
                self.conflicts.add_rejected(row)

    def _find_conflicts(self, changes: Changes, stored: StoredRows, ontology: Ontology) -> None:
        """Count the conflicts that values which are written make."""
        written = {
            (row["item"], row["property"])
            for row in changes.statements
            if row["item"] in stored.items
        }
        if not written:
            return
        items = {**stored.items, **{row["id"]: row for row in changes.items}}
        after = {**stored.statements, **{row["id"]: row for row in changes.statements}}
        statements: dict[str, list[Row]] = {}
        for id in after.keys() - set(changes.retracted):
            row = after[id]
            if (row["item"], row["property"]) in written:
                statements.setdefault(row["item"], []).append(row)
        for item in sorted(statements):
            for found in conflicts_of(items[item], statements[item], ontology, self.store.order):
                if found.losing:
                    self.conflicts.add(found)

    def _note(self, item: str, name: str, before: Any, after: Any) -> None:
        counts = self.properties.setdefault(name, PropertyChanges())
        if before is None:
            counts.new += 1
        elif after is None:
            counts.retracted += 1
        else:
            counts.changed += 1
        if len(counts.examples) < EXAMPLES:
            counts.examples.append({"item": item, "before": before, "after": after})


class Gatherer:
    """Gathers on the disk what a source says of its items in several places.

    Use it in a ``with`` statement.
    """

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="catalograph-")
        self._number = 0
        self._writers: dict[str, Any] = {}
        self._place = 0
        self.rejected_ids: set[str] = set()
        return self

    def __exit__(self, *_: object) -> None:
        self._close()
        self._folder.cleanup()

    def _close(self) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers = {}

    def add(self, items: pa.Table, statements: pa.Table, rejected_ids: Sequence[str] = ()) -> None:
        """Keep a part of what a source says, and the ids of rejected rows."""
        self.rejected_ids.update(rejected_ids)
        places = pa.array(range(self._place, self._place + items.num_rows), pa.int64())
        self._place += items.num_rows
        with temporary_files():
            self._write("items", items.append_column(_PLACE, places))
            self._write("statements", statements)

    def is_whole(self, ids: pa.ChunkedArray) -> pa.ChunkedArray:
        """Tell of which items [N] no row was rejected."""
        return pc.invert(pc.is_in(ids, value_set=pa.array(list(self.rejected_ids), pa.string())))

    def gathered(self) -> Iterator[tuple[pa.Table, pa.Table]]:
        """Yield all items in order of their ids, each in one part together with its statements."""
        self._close()
        items = sorted_batches(self._read("items"), ITEM_SCHEMA.append(_PLACE), by=("id", "place"))
        statements = sorted_batches(self._read("statements"), STATEMENT_SCHEMA, by=("item", "id"))
        yield from gathered(items, statements)

    def _write(self, name: str, table: pa.Table) -> None:
        if name not in self._writers:
            path = Path(self._folder.name) / name
            self._writers[name] = pa.ipc.new_file(path, table.schema)
        self._writers[name].write_table(table)

    def _read(self, name: str) -> Iterator[pa.RecordBatch]:
        path = Path(self._folder.name) / name
        if path.exists():
            with pa.ipc.open_file(path) as file:
                for number in range(file.num_record_batches):
                    yield file.get_batch(number)


def gathered(
    items: Iterator[pa.RecordBatch], statements: Iterator[pa.RecordBatch]
) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Yield items with their statements in parts; both come ordered by the item's id.

    Of several rows of an item the last one counts; fields that it does not give are those of the
    rows before, as when one is put after the other.
    """
    waiting_items = _Waiting(items, ITEM_SCHEMA.append(_PLACE), "id")
    waiting_statements = _Waiting(statements, STATEMENT_SCHEMA, "item")
    while True:
        waiting_items.fill(GATHERED_ROWS)
        waiting_statements.fill(GATHERED_ROWS)
        # Of the last item of either there may be more to come.
        ends = [each.last for each in (waiting_items, waiting_statements) if each.last is not None]
        end = min(ends) if ends else None
        part = waiting_items.take(end)
        facts = waiting_statements.take(end)
        if part.num_rows or facts.num_rows:
            yield _joined(part.drop_columns([_PLACE.name])), facts
        elif end is None:
            return
        else:
            # One item fills all that was read.
            waiting_items.fill(waiting_items.rows + GATHERED_ROWS)
            waiting_statements.fill(waiting_statements.rows + GATHERED_ROWS)


def _joined(items: pa.Table) -> pa.Table:
    """Return items [N], ordered by id, with one row each."""
    if items.num_rows < 2 or not pc.any(_is_repeated(items)).as_py():
        return items
    rows: dict[str, Row] = {}
    for row in items.to_pylist():
        before = rows.get(row["id"], {})
        fields = {name: row[name] or before.get(name) for name in ITEM_FIELDS}
        rows[row["id"]] = {**row, **fields}
    return pa.Table.from_pylist(list(rows.values()), items.schema)


def _is_repeated(items: pa.Table) -> pa.ChunkedArray:
    """Return which items [N - 1] have the id of the one before."""
    ids = items["id"].combine_chunks()
    return pc.equal(ids[1:], ids[:-1])


class _Waiting:
    """The rows of a stream that were read and not taken yet, ordered by an item's id."""

    def __init__(self, batches: Iterator[pa.RecordBatch], schema: pa.Schema, key: str) -> None:
        self._batches = batches
        self._key = key
        self._table = schema.empty_table()
        self._is_done = False

    @property
    def rows(self) -> int:
        """The number of rows that wait."""
        return int(self._table.num_rows)

    @property
    def last(self) -> str | None:
        """The id of the last item that was read, None if there are no more."""
        if self._is_done or not self._table.num_rows:
            return None
        last: str = self._table[self._key][-1].as_py()
        return last

    def fill(self, rows: int) -> None:
        """Read on until there are more than so many rows, or no more."""
        while not self._is_done and self._table.num_rows <= rows:
            batch = next(self._batches, None)
            if batch is None:
                self._is_done = True
                return
            table = pa.Table.from_batches([batch]).cast(self._table.schema)
            self._table = pa.concat_tables([self._table, table])

    def take(self, end: str | None) -> pa.Table:
        """Take the rows of the items before ``end``, or all."""
        if end is None:
            taken = self._table
            self._table = taken.slice(0, 0)
            return taken
        count = pc.sum(pc.less(self._table[self._key], end)).as_py() or 0
        taken = self._table.slice(0, count)
        self._table = self._table.slice(count)
        return taken


def count_items(store: GraphStore, source: str) -> int:
    """Return how many items a store has from a source; see :func:`missing_items`."""
    return len(missing_items(store, source, SeenRows()))


def missing_items(store: GraphStore, source: str, seen: SeenRows) -> list[str]:
    """Return the items that a store has from a source, and that were not seen in it, in order.

    Of the items that earlier versions stored no source is known: they are from those that make
    statements about them.
    """
    missing: list[str] = []
    unsourced: list[str] = []
    for batch in store.unordered_items():
        ids = _described_by(batch, source)
        found = seen.find(ids)
        missing += [id for id in ids if id not in found]
        has_no_source = pc.equal(pc.fill_null(batch["source"], ""), "")
        bare = batch.filter(pc.and_(has_no_source, batch["references"].is_null()))
        others = bare["id"].to_pylist()
        found = seen.find(others)
        unsourced += [id for id in others if id not in found]
    if unsourced:
        missing += _stated_by(store, source, unsourced)
    return sorted(missing)


def _stated_by(store: GraphStore, source: str, item_ids: Sequence[str]) -> list[str]:
    """Return those of some items about which a source makes statements."""
    wanted = pa.array(item_ids, pa.string())
    origin = Origin(source)
    found: dict[str, None] = {}
    # What a reviewer has decided is shown in the place of what a source asserts.
    for batch in store.scan(Pattern(ranks=(Rank.ASSERTED, *DECIDED_RANKS))):
        about = batch.filter(pc.is_in(batch["item"], value_set=wanted))
        for row in about.to_pylist():
            if any(
                each["rank"] == Rank.ASSERTED and Origin.of(each) == origin
                for each in statement_references(row)
            ):
                found[row["item"]] = None
    return list(found)


def _described_by(batch: pa.RecordBatch, source: str) -> list[str]:
    """Return the ids of those items that a source describes."""
    has_several = batch["references"].is_valid()
    is_own = pc.fill_null(pc.equal(batch["source"], source), False)
    alone = batch.filter(pc.and_(is_own, pc.invert(has_several)))
    ids: list[str] = alone["id"].to_pylist()
    origin = Origin(source)
    for row in batch.filter(has_several).to_pylist():
        if any(Origin.of(each) == origin for each in item_references(row)):
            ids.append(row["id"])
    return ids
