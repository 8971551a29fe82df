"""What became of items and statements: their history, earlier states, and runs undone.

All of it is worked out from a store's changes, the rows that each write left behind
(:meth:`kg.stores.protocol.GraphStore.changes`), so that it is the same in every store.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from kg.stores.journal import JournalBatch, Operation
from kg.stores.memory import MemoryStore
from kg.stores.merge import Changes, StoredRows
from kg.stores.open import open_store
from kg.stores.protocol import ChangeBatch, GraphStore, PutReport
from kg.stores.references import (
    ITEM_FIELDS,
    NEWEST_FIRST,
    Origin,
    Reference,
    SourceOrder,
    item_references,
    item_row,
    statement_references,
    statement_row,
    without,
)
from kg.stores.tables import Row, chunks
from schema.errors import UsageError
from schema.progress import ProgressCallback, no_progress

ROWS_AT_ONCE = 100_000
"""Items and statements that are undone together; each takes about 2 KB of memory."""
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass
class RunSummary:
    """A run that changed a store, and how many items and statements it put and removed.

    ``at`` is when it began, and ``last`` the store's version after its last write.
    """

    run: str
    at: str
    last: int
    items: int = 0
    statements: int = 0
    retracted: int = 0
    deleted: int = 0


def runs_of(store: GraphStore) -> list[RunSummary]:
    """Return all runs that changed a store, oldest first."""
    found: dict[str, RunSummary] = {}
    add_runs(found, store)
    return list(found.values())


def add_runs(found: dict[str, RunSummary], store: GraphStore) -> None:
    """Add the runs that changed a store since those that are known, by their names."""
    last = max((each.last for each in found.values()), default=-1)
    for batch in store.changes(last):
        summary = found.setdefault(batch.run, RunSummary(batch.run, batch.at, batch.version))
        summary.last = batch.version
        counts = {
            each["values"]: each["counts"]
            for each in batch.changes["operation"].value_counts().to_pylist()
        }
        summary.items += counts.get(Operation.ITEM, 0)
        summary.statements += counts.get(Operation.STATEMENT, 0)
        summary.retracted += counts.get(Operation.RETRACT, 0)
        summary.deleted += counts.get(Operation.DELETE, 0)


def version_as_of(store: GraphStore, moment: str) -> int:
    """Return the last version up to a moment: a run, or a time in ISO 8601.

    A run counts up to its end, and so does a date; a time without a zone is in UTC. Raises
    UsageError if the text names neither, and if nothing was written until then.
    """
    end = _end_of(moment)
    found = -1
    for batch in store.changes():
        is_before = end is not None and batch.at and datetime.fromisoformat(batch.at) <= end
        if batch.run == moment or is_before:
            found = batch.version
    if found >= 0:
        return found
    if end is None:
        raise UsageError(
            f"{moment!r} is neither a run of {store.url} nor a time such as 2026-01-31: "
            "`catalograph history` lists the runs"
        )
    raise UsageError(
        f"{store.url} had nothing as of {moment}: `catalograph history` lists its runs"
    )


def _end_of(moment: str) -> datetime | None:
    """Return the end of a date, or a time; None if the text is neither."""
    try:
        time = datetime.fromisoformat(moment)
    except ValueError:
        return None
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    if _DATE.fullmatch(moment):
        return time + timedelta(days=1) - timedelta(microseconds=1)
    return time


def _until(store: GraphStore, version: int) -> Iterator[ChangeBatch]:
    for batch in store.changes():
        if batch.version > version:
            return
        yield batch


@contextmanager
def as_of(
    store: GraphStore, moment: str, progress: ProgressCallback = no_progress
) -> Iterator[GraphStore]:
    """Open a store as it was at a moment, see :func:`version_as_of`; it is deleted afterwards."""
    version = version_as_of(store, moment)
    with tempfile.TemporaryDirectory(prefix="catalograph-") as folder:
        url = f"ladybug:{folder}/graph"
        with open_store(url) as target:
            for batch in _until(store, version):
                target.append(batch.changes)
                progress(batch.version + 1, version + 1)
        with open_store(url, create=False, read_only=True) as target:
            target.order = store.order
            yield target


@contextmanager
def item_as_of(store: GraphStore, id: str, moment: str) -> Iterator[GraphStore]:
    """Open a store that has one item alone, as it was at a moment."""
    version = version_as_of(store, moment)
    with MemoryStore() as target:
        for batch in _changes_of_item(_until(store, version), id):
            target.append(batch.changes)
        yield target


def _changes_of_item(batches: Iterator[ChangeBatch], id: str) -> Iterator[ChangeBatch]:
    """Yield what of each batch is about one item."""
    # What is retracted is named by its id alone.
    statement_ids: list[str] = []
    for batch in batches:
        changes = batch.changes
        is_about = pc.or_kleene(pc.equal(changes["id"], id), pc.equal(changes["item"], id))
        is_about = pc.fill_null(is_about, False)
        statements = changes["statement"]
        if statement_ids:
            known = pa.array(statement_ids, pa.string())
            is_about = pc.or_(is_about, pc.is_in(statements, value_set=known))
        found = changes.filter(is_about)
        if found.num_rows:
            statement_ids += found["statement"].drop_null().unique().to_pylist()
            yield ChangeBatch(batch.version, batch.run, batch.at, found)


@dataclass(frozen=True, slots=True)
class ItemChange:
    """A change of an item.

    Attributes:
        version: the store's version after it
        run: the run that made it
        at: its time in ISO 8601
        source: the source that says what there is now, or said what there was before
        what: the field (title, description, category, images) or the property
        language: the tag of a text in another language
        before: what there was before, None if there was nothing
        after: what there is now, None if it was taken back
        rank: the rank of the statement after it, or before it if it was taken back
    """

    version: int
    run: str
    at: str
    source: str
    what: str
    language: str | None = None
    before: str | list[str] | None = None
    after: str | list[str] | None = None
    rank: str | None = None


def history_of(store: GraphStore, id: str) -> list[ItemChange]:
    """Return the changes of an item, oldest first; empty if the store never had it."""
    found: list[ItemChange] = []
    fields: Row = {"source": "", **dict.fromkeys(ITEM_FIELDS)}
    statements: dict[str, Row] = {}
    for batch in _changes_of_item(store.changes(), id):
        rows = JournalBatch.from_table(batch.changes)
        where = (batch.version, batch.run, batch.at)
        for row in [*rows.items.to_pylist(), *({} for _ in rows.deleted)]:
            for name in ITEM_FIELDS:
                before = fields[name] or None
                after = row.get(name) or None
                if before != after:
                    source = row.get("source") or fields["source"] or ""
                    found.append(ItemChange(*where, source, name, before=before, after=after))
            fields = {"source": "", **dict.fromkeys(ITEM_FIELDS), **row}
        taken_back = [statements.pop(key) for key in rows.retracted if key in statements]
        put = rows.statements.to_pylist()
        found += _statement_changes(where, taken_back, put, statements)
        statements |= {row["id"]: row for row in put}
    return found


def _statement_changes(
    where: tuple[int, str, str],
    taken_back: Sequence[Row],
    put: Sequence[Row],
    before: dict[str, Row],
) -> Iterator[ItemChange]:
    """Yield the changes of an item's statements in one version.

    Where one value of a property takes the place of another it is one change.
    """

    def is_alone(row: Row, rows: Sequence[Row]) -> bool:
        return sum(_key(row) == _key(each) for each in rows) == 1

    new = [row for row in put if row["id"] not in before]
    replaced = {
        _key(row): row["value"]
        for row in taken_back
        if is_alone(row, taken_back) and is_alone(row, new)
    }
    for row in taken_back:
        if _key(row) not in replaced:
            yield _statement_change(where, row, before=row["value"])
    for row in put:
        known = before.get(row["id"])
        if known is None:
            yield _statement_change(where, row, before=replaced.get(_key(row)), after=row["value"])
        elif known["rank"] != row["rank"] or known["source"] != row["source"]:
            yield _statement_change(where, row, before=row["value"], after=row["value"])


def _key(row: Row) -> tuple[str, str | None]:
    return row["property"], row["language"]


def _statement_change(
    where: tuple[int, str, str], row: Row, before: str | None = None, after: str | None = None
) -> ItemChange:
    return ItemChange(
        *where,
        source=row["source"] or "",
        what=row["property"],
        language=row["language"],
        before=before,
        after=after,
        rank=row["rank"],
    )


def undo(
    store: GraphStore, run: str, by: str, progress: ProgressCallback = no_progress
) -> PutReport:
    """Take back what a run changed, as the run ``by``, which can be undone in its turn.

    What no later run has touched is as it was before. Where a later one has, what this one wrote
    for its own sources is taken back, and the rest stays. One that is cut off can be repeated.
    Raises UsageError if there is no such run.
    """
    item_ids, statement_ids = _touched(store, run)
    if not item_ids and not statement_ids:
        raise UsageError(f"no run {run!r} in {store.url}: `catalograph history` lists the runs")
    report = PutReport(0, 0)
    deleted: list[str] = []
    # Items are put before all statements, and deleted after them: a statement needs its item.
    parts: list[tuple[Sequence[str], Sequence[str]]] = [(item_ids, statement_ids)]
    if len(item_ids) + len(statement_ids) > ROWS_AT_ONCE:
        parts = [
            *((some, []) for some in chunks(item_ids, ROWS_AT_ONCE)),
            *(([], some) for some in chunks(statement_ids, ROWS_AT_ONCE)),
        ]
    for number, (items, statements) in enumerate(parts, start=1):
        part = _UndonePart(store, run, items, statements)
        deleted += part.deleted
        is_last = number == len(parts)
        made = store.change(deleted if is_last else [], part.changes, run=by)
        report = report.plus(made)
        progress(number, len(parts))
    return report


class _UndonePart:
    """What undoing a run changes of some items and statements.

    It is worked out from the store's history, and again where another home has added to that.
    """

    def __init__(
        self,
        store: GraphStore,
        run: str,
        item_ids: Collection[str],
        statement_ids: Collection[str],
    ) -> None:
        self._store = store
        self._run = run
        self._item_ids = item_ids
        self._statement_ids = statement_ids
        self._followed = store.followed
        self._changes = undoing(store, run, item_ids, statement_ids)
        self.deleted = list(self._changes.deleted)
        """The items that nobody describes without the run."""

    def changes(self, stored: StoredRows) -> Changes:
        """Return the changes, with the deletion of the items of ``stored``."""
        if self._store.followed != self._followed:
            self._followed = self._store.followed
            self._changes = undoing(self._store, self._run, self._item_ids, self._statement_ids)
        if self._store.followed:
            # Others may have described an item since it was found to be one to delete.
            still = set(undoing(self._store, self._run, list(stored.items), []).deleted)
            stored = replace(stored, items={id: stored.items[id] for id in still & {*stored.items}})
        return _with_deletions(replace(self._changes, deleted=[]), stored)


def _touched(store: GraphStore, run: str) -> tuple[list[str], list[str]]:
    """Return the ids of the items and of the statements that a run changed."""
    items: dict[str, None] = {}
    statements: dict[str, None] = {}
    for batch in store.changes():
        if batch.run == run:
            items |= dict.fromkeys(batch.changes["id"].drop_null().to_pylist())
            statements |= dict.fromkeys(batch.changes["statement"].drop_null().to_pylist())
    return list(items), list(statements)


@dataclass
class _Versions:
    """A row before a run, after it, and now; None where there was none."""

    before: Row | None = None
    after: Row | None = None
    now: Row | None = None


class _Around:
    """The rows of some items or statements around a run, by id."""

    def __init__(self, ids: Collection[str]) -> None:
        self.rows = {id: _Versions() for id in ids}
        self.wanted = pa.array(ids, pa.string())
        self._changed: set[str] = set()

    def see(self, id: str, row: Row | None, is_of_run: bool) -> None:
        """Note what a write has left of a row."""
        versions = self.rows[id]
        if is_of_run:
            versions.after = row
            self._changed.add(id)
        elif id not in self._changed:
            versions.before = row
        versions.now = row


def undoing(
    store: GraphStore, run: str, item_ids: Collection[str], statement_ids: Collection[str]
) -> Changes:
    """Return what undoing a run changes of some items and statements, given by their ids."""
    items = _Around(item_ids)
    statements = _Around(statement_ids)
    for batch in store.changes():
        is_of_run = batch.run == run
        for rows, name in ((items, "id"), (statements, "statement")):
            is_wanted = pc.is_in(batch.changes[name], value_set=rows.wanted)
            part = JournalBatch.from_table(batch.changes.filter(is_wanted))
            for row in (part.items if rows is items else part.statements).to_pylist():
                rows.see(row["id"], row, is_of_run)
            for id in part.deleted if rows is items else part.retracted:
                rows.see(id, None, is_of_run)

    changes = Changes()
    for id, versions in items.rows.items():
        row = _item_without(id, versions, store.order)
        if row is None:
            changes.deleted.extend([id] if versions.now is not None else [])
        elif row != versions.now:
            (changes.new_items if versions.now is None else changes.updated_items).append(row)
            changes.touched.add(id)
    for id, versions in statements.rows.items():
        row = _statement_without(versions, store.order)
        if row == versions.now:
            continue
        known = row or versions.now
        changes.touched.update([] if known is None else [known["item"]])
        if row is None:
            changes.retracted[id] = None if known is None else known["item"]
        else:
            is_new = versions.now is None
            (changes.new_statements if is_new else changes.updated_statements).append(row)
    new = {row["id"] for row in changes.new_items}
    changes.touched.difference_update(new, changes.deleted)
    return changes


def _item_without(id: str, versions: _Versions, order: SourceOrder) -> Row | None:
    """Return an item's row without what a run changed, or None if there is none."""
    if versions.now == versions.after:
        return versions.before
    if versions.now is None:
        return None
    before, after, now = (
        [] if row is None else item_references(row)
        for row in (versions.before, versions.after, versions.now)
    )
    return item_row(id, _references_without(before, after, now), order)


def _statement_without(versions: _Versions, order: SourceOrder) -> Row | None:
    """Return a statement's row without what a run changed, or None if there is none."""
    if versions.now == versions.after:
        return versions.before
    if versions.now is None:
        return None
    before, after, now = (
        [] if row is None else statement_references(row)
        for row in (versions.before, versions.after, versions.now)
    )
    references = _references_without(before, after, now)
    return statement_row(versions.now, references, order) if references else None


def _references_without(
    before: Sequence[Reference], after: Sequence[Reference], now: Sequence[Reference]
) -> list[Reference]:
    """Return the references that there are now, those as before that a run changed last."""
    earlier, later, current = (
        {Origin.of(each): each for each in references} for references in (before, after, now)
    )
    found = list(now)
    for origin in {**earlier, **later}:
        is_of_run = earlier.get(origin) != later.get(origin)
        if not is_of_run or current.get(origin) != later.get(origin):
            continue
        found = without(found, origin)
        if origin in earlier:
            # In its place among those that arrived earlier and later: the newest is shown.
            time = earlier[origin]["time"] or ""
            place = sum((each["time"] or "") <= time for each in found)
            found.insert(place, earlier[origin])
    return found


def _with_deletions(changes: Changes, stored: StoredRows) -> Changes:
    """Return changes that also delete the items of ``stored``.

    Those about which statements are left stay with nothing but their ids.
    """
    retracted = set(changes.retracted)
    stated = {row["item"] for row in stored.statements.values() if row["id"] not in retracted}
    stated |= {row["item"] for row in changes.statements}
    bare = [item_row(id, [], NEWEST_FIRST) for id in stored.items if id in stated]
    return replace(
        changes,
        updated_items=[*changes.updated_items, *bare],
        deleted=[id for id in stored.items if id not in stated],
    )
