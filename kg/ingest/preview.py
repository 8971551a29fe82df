"""The preview of an ingest: how each column is read, the first items, and what would change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kg.ingest.assemble import AssembledBatch
from kg.ingest.source_plan import MappedPlan, SourcePlan
from schema.literals import infer_reading
from schema.mapping.describe import LEFT_OUT, ColumnReading, describe_columns

if TYPE_CHECKING:
    from kg.stores.protocol import GraphStore
    from schema.terms import Item

SHOWN_ITEMS = 3
COMPARED_ITEMS = 100
"""Items of a source that are compared with what the home has."""


@dataclass
class Preview:
    """What an ingest of one source would do, by its first rows."""

    source: str
    mapping: str
    reason: str
    columns: list[dict[str, Any]] = field(default_factory=list)
    items: list[dict[str, Any]] = field(default_factory=list)
    changes: dict[str, int] | None = None
    """New, changed and unchanged items among the first; None without a catalogue."""

    def as_dict(self) -> dict[str, Any]:
        """Return the preview as the command's JSON has it."""
        return dict(vars(self))


class Previewer:
    """Makes the preview of one source, from its first batch that has an item."""

    def __init__(self, plan: SourcePlan, store: GraphStore | None) -> None:
        self.preview = Preview(plan.source.name, plan.mapping_name, plan.reason)
        self._store = store
        self._done = False
        if isinstance(plan, MappedPlan):
            readings = describe_columns(plan.mapping, plan.sample, plan.why)
            self.preview.columns = [_column_document(each) for each in readings]

    def see(self, batch: AssembledBatch) -> None:
        """Look at the first batches as they are assembled."""
        if self._done or not (batch.items.num_rows or batch.statements.num_rows):
            return
        self._done = True
        items = list(_items(batch))
        self.preview.items = items[:SHOWN_ITEMS]
        if self._store is not None:
            counts = Counter(self._change(item) for item in items[:COMPARED_ITEMS])
            self.preview.changes = {name: counts[name] for name in ("new", "changed", "unchanged")}

    def _change(self, document: dict[str, Any]) -> str:
        """Return what storing an item would do to the one that is stored."""
        assert self._store is not None
        found = self._store.item(document["id"])
        if found is None:
            return "new"
        item, statements = found
        stored = {(each.property, each.value) for each in statements}
        facts = {
            (name, value) for name, values in document["properties"].items() for value in values
        }
        return "unchanged" if facts <= stored and _same_fields(item, document) else "changed"


def _same_fields(item: Item, document: dict[str, Any]) -> bool:
    """Return whether all that a row says of an item itself is stored already."""
    same = document["title"] in (None, item.title)
    same = same and document["description"] in (None, item.description)
    same = same and document["category"] in (None, item.category)
    return same and (not document["images"] or tuple(document["images"]) == item.images)


def _items(batch: AssembledBatch) -> Iterator[dict[str, Any]]:
    """Yield the items of a batch with their properties, as they would be stored."""
    by_item: dict[str, dict[str, list[str]]] = {}
    statements = batch.statements.select(["item", "property", "value"])
    ids = batch.items["id"].to_pylist()[:COMPARED_ITEMS]
    wanted = set(ids)
    columns = (column.to_pylist() for column in statements.columns)
    for item, name, value in zip(*columns, strict=True):
        if item in wanted:
            by_item.setdefault(item, {}).setdefault(name, []).append(value)
    for row in batch.items.slice(0, COMPARED_ITEMS).to_pylist():
        images = row["images"] or []
        yield {**row, "images": images, "properties": by_item.get(row["id"], {})}


def _column_document(reading: ColumnReading) -> dict[str, Any]:
    texts = [text.strip() for text in reading.texts]
    datatype = None
    if texts and reading.role.startswith("property"):
        counts = dict(Counter(texts).most_common())
        name = reading.property or reading.column
        inferred = infer_reading(name, list(counts), list(counts.values())).reading
        datatype = f"{inferred.datatype} in {inferred.unit}" if inferred.unit else inferred.datatype
    return {
        "column": reading.column,
        "role": reading.role,
        "property": reading.property,
        "datatype": datatype,
        "filled": round(reading.filled, 3),
        "example": texts[0][:200] if texts else None,
        "why": reading.why,
        "left_out": reading.role == LEFT_OUT,
    }
