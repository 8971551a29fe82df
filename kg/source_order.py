"""The sources of a catalogue, and which of them counts first where they differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from kg.home import SOURCE_ORDER, Home
from kg.home_ontology import is_current, refresh_ontology
from kg.ingest.inheritance import inherit
from kg.ingest.run_id import new_run_id
from kg.stores.merge import Changes, StoredRows
from kg.stores.protocol import GraphStore
from kg.stores.references import (
    SourceOrder,
    item_references,
    item_row,
    statement_references,
    statement_row,
)
from kg.stores.tables import Row, chunks
from schema.errors import UsageError
from schema.terms import now

ROWS_AT_ONCE = 20_000
"""Rows that are written together when the order of the sources changes."""


@dataclass
class SourceCounts:
    """A source: how many items it describes, how many statements it makes, and when it last did."""

    source: str
    items: int = 0
    statements: int = 0
    newest: str = ""


def source_counts(store: GraphStore) -> list[SourceCounts]:
    """Return the sources of a store, those with the most items first."""
    found: dict[str, SourceCounts] = {}
    for batch in store.items():
        for name, time, count in _counted(batch):
            counts = found.setdefault(name, SourceCounts(name))
            counts.items += count
            counts.newest = max(counts.newest, time)
    for batch in store.scan():
        for name, time, count in _counted(batch):
            counts = found.setdefault(name, SourceCounts(name))
            counts.statements += count
            counts.newest = max(counts.newest, time)
    return sorted(found.values(), key=lambda each: (-each.items, -each.statements, each.source))


def _counted(batch: pa.RecordBatch) -> Iterator[tuple[str, str, int]]:
    """Yield source, newest time and number of the references of a batch of rows."""
    has_several = batch["references"].is_valid()
    alone = pa.table(batch.filter(pc.invert(has_several)).select(["source", "time"]))
    for row in alone.group_by("source").aggregate([("time", "max"), ([], "count_all")]).to_pylist():
        if row["source"]:
            yield row["source"], row["time_max"] or "", row["count_all"]
    is_item = "images" in batch.schema.names
    for row in batch.filter(has_several).to_pylist():
        references = item_references(row) if is_item else statement_references(row)
        for reference in references:
            if reference["source"]:
                yield reference["source"], reference["time"] or "", 1


def set_source_order(home: Home, names: Sequence[str]) -> int:
    """Declare which sources count first; return how many items and statements show it anew.

    Without names, what arrived last is shown again. Raises UsageError if a source is named twice,
    or if the catalogue has none of that name.
    """
    with home.store() as store:
        known = {each.source for each in source_counts(store)}
        for name in names:
            if name not in known:
                raise UsageError(
                    f"no source {name!r} in this catalogue: its sources are "
                    f"{', '.join(sorted(known)) or 'none so far'}"
                )
        if len(set(names)) < len(names):
            raise UsageError(f"{', '.join(names)}: name each source once")
        # First the settings: whatever is put from now on follows them, and this can be repeated.
        with home.settings.changing() as settings:
            settings[SOURCE_ORDER] = list(names)
        store.order = SourceOrder(tuple(names))
        run = new_run_id()
        count = show_anew(store, run)
        bring_up_to_date(home, store, run)
        return count


def bring_up_to_date(home: Home, store: GraphStore, run: str) -> None:
    """Let variants and the ontology follow what a run has changed other than by an ingest."""
    if not store.is_empty():
        inherit(store, run, now())
        refresh_ontology(home, store)


def finish_changes(home: Home, store: GraphStore, run: str) -> None:
    """Let variants and the ontology follow what an earlier run changed, if it was cut off."""
    if home.ontology_path.exists() and not is_current(home, store):
        bring_up_to_date(home, store, run)


def show_anew(store: GraphStore, run: str) -> int:
    """Bring what items and statements of several sources show in line with the store's order."""
    count = 0
    order = store.order
    items = [row["id"] for batch in store.items() for row in _reordered(_several(batch), order)]
    for ids in chunks(items, ROWS_AT_ONCE):
        count += store.change(
            ids, lambda stored: _shown_items(stored, order), run=run
        ).changed_items
    statements = (_reordered(_several(batch), order) for batch in store.scan())
    about = dict.fromkeys(row["item"] for rows in statements for row in rows)
    for ids in chunks(list(about), ROWS_AT_ONCE):
        made = store.change(ids, lambda stored: _shown_statements(stored, order), run=run)
        count += made.changed_statements
    return count


def _shown_items(stored: StoredRows, order: SourceOrder) -> Changes:
    """Return the items of ``stored`` that look otherwise in an order."""
    rows = _reordered(stored.items.values(), order)
    return Changes(updated_items=rows, touched={row["id"] for row in rows})


def _shown_statements(stored: StoredRows, order: SourceOrder) -> Changes:
    """Return the statements of ``stored`` that look otherwise in an order."""
    return Changes(updated_statements=_reordered(stored.statements.values(), order))


def _several(batch: pa.RecordBatch) -> list[Row]:
    """Return the rows of a batch that have several sources."""
    rows: list[Row] = batch.filter(batch["references"].is_valid()).to_pylist()
    return rows


def _reordered(rows: Iterable[Row], order: SourceOrder) -> list[Row]:
    """Return the rows of several sources that look otherwise in an order."""
    changed: list[Row] = []
    for row in rows:
        if not row["references"]:
            continue
        new = (
            item_row(row["id"], item_references(row), order)
            if "images" in row
            else statement_row(row, statement_references(row), order)
        )
        if new != row:
            changed.append(new)
    return changed
