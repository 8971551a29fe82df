"""What references of items say of their categories, and who says it.

An item's category is a field of the item. Its references have what sources say of it, what a model
has predicted, and what a reviewer has accepted, under the names of these two
(:data:`schema.terms.OWN_SOURCES`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from kg.stores.references import (
    NEWEST_FIRST,
    STATEMENT_REFERENCE,
    Reference,
    item_references,
    statement_row,
)
from kg.stores.tables import STATEMENT_SCHEMA, Row
from schema.terms import (
    CATEGORY,
    OWN_SOURCES,
    PREDICTION_SOURCE,
    REVIEW_SOURCE,
    Rank,
    statement_id,
)

_RANK_OF_SOURCE = {PREDICTION_SOURCE: Rank.PREDICTED, REVIEW_SOURCE: Rank.ACCEPTED}


def written_by(items: pa.RecordBatch, sources: Iterable[str]) -> pa.Array:
    """Return which rows of a batch of items [N] may have a reference of some sources."""
    found = pa.array([False] * len(items))
    for source in sources:
        for column in ("source", "references"):
            has = pc.match_substring(items[column], source)
            found = pc.or_(found, pc.fill_null(has, False))
    return found


def is_predicted(row: Row) -> bool:
    """Return whether an item's category is a model's guess, given its row."""
    said = [each for each in item_references(row) if each["category"]]
    return bool(said) and all(each["source"] == PREDICTION_SOURCE for each in said)


def category_rows(row: Row) -> list[Row]:
    """Return what the references of an item say of its category, as rows of statements."""
    said: dict[str, list[Reference]] = defaultdict(list)
    for reference in item_references(row):
        if reference["category"]:
            said[reference["category"]].append(_statement_reference(reference))
    return [
        statement_row(_bare_row(row["id"], value), references, NEWEST_FIRST)
        for value, references in said.items()
    ]


def own_category_rows(items: Iterable[pa.RecordBatch]) -> Iterator[Row]:
    """Yield what is said of the categories of items that a model or a reviewer wrote about."""
    for batch in items:
        for row in batch.filter(written_by(batch, OWN_SOURCES)).to_pylist():
            yield from category_rows(row)


def _statement_reference(reference: Reference) -> Reference:
    rank = _RANK_OF_SOURCE.get(reference["source"], Rank.ASSERTED)
    columns: Reference = dict.fromkeys(STATEMENT_REFERENCE)
    same = {name: reference[name] for name in ("source", "batch", "row", "time", "evidence")}
    return {**columns, **same, "rank": str(rank)}


def _bare_row(item: str, category: str) -> Row:
    row: Row = dict.fromkeys(STATEMENT_SCHEMA.names)
    id = statement_id(item, CATEGORY, category)
    return {**row, "id": id, "item": item, "property": CATEGORY, "value": category}
