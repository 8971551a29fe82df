"""The preview of an ingest: how each column is read, the first items, and what would change."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from kg.ingest.assemble import AssembledBatch
from kg.ingest.inheritance import inherit
from kg.ingest.source_plan import MappedPlan, SourcePlan
from kg.stores.memory import MemoryStore
from kg.stores.references import INHERITED
from schema.declared import given_by
from schema.given_readings import infer_reading
from schema.literals import NOTHING_GIVEN
from schema.mapping import VARIANT_OF, Mapping
from schema.mapping.describe import LEFT_OUT, ColumnReading, describe_columns

if TYPE_CHECKING:
    from schema.terms import Item, Statement

SHOWN_ITEMS = 3
LOOKED_AT_ITEMS = 100
"""Items of a source in which variants of the shown ones are looked for."""


@dataclass
class Preview:
    """What an ingest of one source would do, by its first rows."""

    source: str
    mapping: str
    reason: str
    columns: list[dict[str, Any]] = field(default_factory=list)
    items: list[dict[str, Any]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return the preview as the command's JSON has it."""
        return dict(vars(self))


class Previewer:
    """Makes the preview of one source, from its first batch that has an item."""

    def __init__(self, plan: SourcePlan) -> None:
        self.preview = Preview(plan.source.name, plan.mapping_name, plan.reason)
        self._done = False
        if isinstance(plan, MappedPlan):
            readings = describe_columns(plan.mapping, plan.sample, plan.why)
            self.preview.columns = [_column_document(each, plan.stated) for each in readings]

    def see(self, batch: AssembledBatch) -> None:
        """Look at the first batches as they are assembled."""
        if self._done or not (batch.items.num_rows or batch.statements.num_rows):
            return
        self._done = True
        self.preview.items = _shown(_first_items(batch))


def _first_items(batch: AssembledBatch) -> list[dict[str, Any]]:
    """Return the first items of a batch, and the variants of these, as they would be stored."""
    ids = batch.items["id"].to_pylist()[:LOOKED_AT_ITEMS]
    statements = batch.statements
    is_link = pc.and_(
        pc.equal(statements["property"], VARIANT_OF),
        pc.is_in(statements["value"], pa.array(ids, pa.string())),
    )
    variants = statements.filter(is_link)["item"].to_pylist()[:LOOKED_AT_ITEMS]
    ids = list(dict.fromkeys([*ids, *variants]))
    wanted = pa.array(ids, pa.string())
    with MemoryStore() as store:
        store.put(
            batch.items.filter(pc.is_in(batch.items["id"], wanted)),
            statements.filter(pc.is_in(statements["item"], wanted)),
        )
        inherit(store, run="", time="")
        return [_document(*found) for id in ids if (found := store.item(id)) is not None]


def _shown(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the first items, each followed by the first of its variants."""
    variants: dict[str, dict[str, Any]] = {}
    for item in items:
        for parent in item["properties"].get(VARIANT_OF, ()):
            variants.setdefault(parent, item)
    shown: dict[str, dict[str, Any]] = {}
    for item in items[:SHOWN_ITEMS]:
        shown[item["id"]] = item
        if (variant := variants.get(item["id"])) is not None:
            shown[variant["id"]] = variant
    return list(shown.values())


def _document(item: Item, statements: list[Statement]) -> dict[str, Any]:
    """Return an item with the values of its properties, and which of these are inherited."""
    properties: dict[str, list[str]] = {}
    inherited = []
    for each in statements:
        properties.setdefault(_name(each), []).append(each.value)
        if (each.provenance.evidence or "").startswith(INHERITED):
            inherited.append(_name(each))
    fields = {
        "id": item.id,
        "title": item.title,
        "description": item.description,
        "category": item.category,
        "images": list(item.images),
    }
    return {**fields, "properties": properties, "inherited": list(dict.fromkeys(inherited))}


def _name(statement: Statement) -> str:
    """Return the name of a statement's property, with the language of its text if it has one."""
    if statement.language is None:
        return statement.property
    return f"{statement.property}@{statement.language}"


def _column_document(reading: ColumnReading, stated: Mapping | None) -> dict[str, Any]:
    texts = [text.strip() for text in reading.texts]
    datatype = None
    if texts and reading.role.startswith("property"):
        counts = dict(Counter(texts).most_common())
        name = reading.property or reading.column
        given = NOTHING_GIVEN if stated is None else given_by(stated, reading.column)
        inferred = infer_reading(name, list(counts), list(counts.values()), given=given).reading
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
