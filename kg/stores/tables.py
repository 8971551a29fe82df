"""Arrow schemas of items and statements, and conversions between tables, rows and records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from schema.errors import DataError
from schema.terms import Item, Provenance, Rank, Statement

ITEM_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("title", pa.string()),
        ("category", pa.string()),
        ("images", pa.list_(pa.string())),
    ]
)
STATEMENT_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("id", "item", "property", "value", "rank", "source", "batch")]
    + [("row", pa.int64()), ("model", pa.string()), ("confidence", pa.float64())]
    + [(name, pa.string()) for name in ("evidence", "reviewer", "time")]
)
TRIPLE_SCHEMA = pa.schema([(name, pa.string()) for name in ("item", "property", "value")])


def items_table(items: Sequence[Item]) -> pa.Table:
    """Items as a table in ITEM_SCHEMA."""
    rows = [
        {"id": i.id, "title": i.title, "category": i.category, "images": list(i.images)}
        for i in items
    ]
    return pa.Table.from_pylist(rows, schema=ITEM_SCHEMA)


def statements_table(statements: Sequence[Statement]) -> pa.Table:
    """Statements as a table in STATEMENT_SCHEMA."""
    names = ("source", "batch", "row", "model", "confidence", "evidence", "reviewer", "time")
    rows = [
        {"id": s.id, "item": s.item, "property": s.property, "value": s.value, "rank": str(s.rank)}
        | {name: getattr(s.provenance, name) for name in names}
        for s in statements
    ]
    return pa.Table.from_pylist(rows, schema=STATEMENT_SCHEMA)


def statement_of(row: dict[str, Any]) -> Statement:
    """A row of STATEMENT_SCHEMA as a statement."""
    provenance = Provenance(
        source=row["source"] or "",
        batch=row["batch"] or "",
        row=row["row"],
        model=row["model"],
        confidence=row["confidence"],
        evidence=row["evidence"],
        reviewer=row["reviewer"],
        time=row["time"] or "",
    )
    return Statement(row["item"], row["property"], row["value"], Rank(row["rank"]), provenance)


def item_of(row: dict[str, Any], facts: Iterable[dict[str, Any]]) -> tuple[Item, list[Statement]]:
    """A row of ITEM_SCHEMA as an item, and its rows of STATEMENT_SCHEMA as statements, ordered by property and value."""
    item = Item(row["id"], row["title"], row["category"], tuple(row["images"] or ()))
    return item, sorted((statement_of(fact) for fact in facts), key=lambda s: (s.property, s.value))


def rows_to_put(
    items: pa.Table | None, statements: pa.Table | None
) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
    """What a put is given as rows, items by id; raises DataError as :func:`checked` does."""
    facts = checked(
        statements, STATEMENT_SCHEMA, ("id", "item", "property", "value", "rank")
    ).to_pylist()
    return {row["id"]: row for row in checked(items, ITEM_SCHEMA, ("id",)).to_pylist()}, facts


def checked(table: pa.Table | None, schema: pa.Schema, required: Sequence[str]) -> pa.Table:
    """The table in its schema, the last of rows with the same id; raises DataError on a column missing, null or not UTF-8."""
    if table is None:
        return schema.empty_table()
    absent = [name for name in required if name not in table.column_names]
    if absent:
        raise DataError(
            f"the table to put lacks column {absent[0]!r}: give {', '.join(schema.names)}"
        )
    columns = [
        table[n] if n in table.column_names else pa.nulls(table.num_rows, schema.field(n).type)
        for n in schema.names
    ]
    try:
        whole = pa.table(columns, names=schema.names).cast(schema)
        whole.validate(full=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(
            f"the table to put is unfit ({str(error).splitlines()[0]}): give valid UTF-8 text"
        ) from None
    for name in required:
        if whole[name].null_count:
            raise DataError(
                f"column {name!r} of the table to put has {whole[name].null_count} empty cells: fill them"
            )
    ids = whole["id"].to_pylist()
    last = {value: index for index, value in enumerate(ids)}
    return whole if len(last) == len(ids) else whole.take(pa.array(sorted(last.values())))
