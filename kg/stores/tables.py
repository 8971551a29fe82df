"""Arrow schemas of items and statements, and conversions between tables, rows and records.

Data takes three forms on its way through a store: an Arrow *table*, for bulk; a *row*, a plain
dictionary with the columns of a table; and a *record*, an ``Item`` or a ``Statement``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kg.stores.references import (
    item_references,
    statement_references,
    written_references,
)
from schema.errors import DataError
from schema.terms import (
    Item,
    ItemReference,
    Provenance,
    Rank,
    Statement,
    StatementReference,
)

BATCH_ROWS = 65_536
"""Rows of the record batches that stores read and write at once."""

Row = dict[str, Any]
"""A row of a table, by column name."""

PROVENANCE = tuple(each.name for each in fields(Provenance))
"""The columns of a statement's provenance."""

_ID_BYTES = 16

ElementT = TypeVar("ElementT")

ITEM_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("title", pa.string()),
        ("description", pa.string()),
        ("category", pa.string()),
        ("images", pa.list_(pa.string())),
        ("source", pa.string()),
        ("batch", pa.string()),
        ("row", pa.int64()),
        ("evidence", pa.string()),
        ("time", pa.string()),
        ("references", pa.string()),
    ]
)
STATEMENT_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("item", pa.string()),
        ("property", pa.string()),
        ("value", pa.string()),
        ("language", pa.string()),
        ("rank", pa.string()),
        ("source", pa.string()),
        ("batch", pa.string()),
        ("row", pa.int64()),
        ("model", pa.string()),
        ("confidence", pa.float64()),
        ("evidence", pa.string()),
        ("reviewer", pa.string()),
        ("time", pa.string()),
        ("references", pa.string()),
    ]
)
TRIPLE_SCHEMA = pa.schema(
    [("item", pa.string()), ("property", pa.string()), ("value", pa.string())]
)
FACT_SCHEMA = pa.schema([*TRIPLE_SCHEMA, ("rank", pa.string())])
PLAIN_STATEMENT_SCHEMA = pa.schema(
    [
        STATEMENT_SCHEMA.field(name)
        for name in ("id", "item", "property", "value", "language", "evidence")
    ]
)
"""What tables of items have of a statement, and whether it is inherited."""

SOURCED_TRIPLE_SCHEMA = pa.schema(
    [
        *TRIPLE_SCHEMA,
        *(
            STATEMENT_SCHEMA.field(name)
            for name in ("rank", "source", "batch", "evidence", "time", "references")
        ),
    ]
)
"""A triple with what decides between sources that state different values."""


def items_table(items: Iterable[Item]) -> pa.Table:
    """Return items as a table in ITEM_SCHEMA."""
    rows = [_item_row(item) for item in items]
    return pa.Table.from_pylist(rows, schema=ITEM_SCHEMA)


def statements_table(statements: Iterable[Statement]) -> pa.Table:
    """Return statements as a table in STATEMENT_SCHEMA."""
    rows = [_statement_row(statement) for statement in statements]
    return pa.Table.from_pylist(rows, schema=STATEMENT_SCHEMA)


def statement_ids(
    items: pa.Array, properties: pa.Array, values: pa.Array, languages: pa.Array
) -> pa.Array:
    """Return the :func:`schema.terms.statement_id` of many triples [N] with their languages.

    A null in a triple counts as an empty text. The bytes to hash are put together in columns, and a
    copy of one hash costs less than a new one: this takes half the time of one call each.
    """
    parts: list[pa.Array] = []
    for texts in (items, properties, values):
        data = pc.fill_null(texts, "").cast(pa.large_binary())
        parts += [_lengths(data), data]
    if languages.null_count < len(languages):
        data = languages.cast(pa.large_binary())
        nothing = pa.scalar(b"", pa.large_binary())
        tagged = pc.binary_join_element_wise(_lengths(pc.fill_null(data, b"")), data, nothing)
        parts.append(pc.fill_null(tagged, b""))
    separator = pa.scalar(b"", pa.large_binary())
    messages = pc.binary_join_element_wise(*parts, separator).to_pylist()
    new_hash = hashlib.blake2b(digest_size=_ID_BYTES).copy
    digests = []
    for message in messages:
        state = new_hash()
        state.update(message)
        digests.append(state.hexdigest())
    size = 2 * _ID_BYTES
    offsets = np.arange(0, size * len(messages) + 1, size, dtype=np.int32)
    text = pa.py_buffer("".join(digests).encode())
    return pa.Array.from_buffers(pa.string(), len(messages), [None, pa.py_buffer(offsets), text])


def are_distinct(ids: pa.Array) -> bool:
    """Return whether statement ids [N] are surely all distinct; some that are may not be found so.

    They are hashes, so a half of each tells them apart, and numbers are sorted faster than texts.
    """
    _, offsets, data = ids.buffers()
    size = 2 * _ID_BYTES
    bounds = np.frombuffer(offsets, np.int32)[ids.offset :][: len(ids) + 1]
    if not len(ids):
        return True
    if ids.null_count or not (np.diff(bounds) == size).all():
        return False
    text = np.frombuffer(data, np.uint8)[bounds[0] : bounds[-1]]
    halves = np.ascontiguousarray(text.reshape(-1, size)[:, :_ID_BYTES]).view(np.uint64)
    # Eight digits each: the lower bits of one make room for those of the other.
    mixed = np.sort(halves[:, 0] * np.uint64(0x9E3779B97F4A7C15) ^ halves[:, 1])
    return not (mixed[1:] == mixed[:-1]).any()


def _lengths(data: pa.Array) -> pa.Array:
    """Return the length of each text [N] as eight bytes, the lowest first."""
    lengths = np.ascontiguousarray(pc.binary_length(data).to_numpy(), "<i8")
    eight_bytes = pa.Array.from_buffers(pa.binary(8), len(data), [None, pa.py_buffer(lengths)])
    return eight_bytes.cast(pa.large_binary())


def _item_row(item: Item) -> Row:
    provenance = item.provenance
    row = {"id": item.id, **_described(item)}
    for name in ("source", "batch", "row", "evidence", "time"):
        row[name] = None if provenance is None else getattr(provenance, name) or None
    references = [
        {**_described(each), **_provenance_columns(each.provenance)} for each in item.references
    ]
    return {**row, "references": written_references(references)}


def _described(item: Item | ItemReference) -> Row:
    return {
        "title": item.title,
        "description": item.description,
        "category": item.category,
        "images": list(item.images),
    }


def _statement_row(statement: Statement) -> Row:
    references = [
        {"rank": str(each.rank), **_provenance_columns(each.provenance)}
        for each in statement.references
    ]
    return {
        "id": statement.id,
        "item": statement.item,
        "property": statement.property,
        "value": statement.value,
        "language": statement.language,
        "rank": str(statement.rank),
        **_provenance_columns(statement.provenance),
        "references": written_references(references),
    }


def _provenance_columns(provenance: Provenance) -> Row:
    return {name: getattr(provenance, name) for name in PROVENANCE}


def item_from_row(row: Row) -> Item:
    """Return a row of ITEM_SCHEMA as an item."""
    several = [] if row["references"] is None else item_references(row)
    references = tuple(
        ItemReference(provenance_from_row(each), *_item_fields(each)) for each in several
    )
    has_provenance = any(row[name] for name in ("source", "batch", "evidence", "time"))
    provenance = provenance_from_row(row) if has_provenance else None
    return Item(row["id"], *_item_fields(row), provenance, references)


def _item_fields(row: Row) -> tuple[str | None, str | None, tuple[str, ...], str | None]:
    """Return title, category, images and description."""
    return row["title"], row["category"], tuple(row["images"] or ()), row["description"]


def provenance_from_row(row: Row) -> Provenance:
    """Return the columns of a row that say where it comes from; it may lack some."""
    return Provenance(
        source=row["source"] or "",
        batch=row["batch"] or "",
        row=row["row"],
        model=row.get("model"),
        confidence=row.get("confidence"),
        evidence=row["evidence"],
        reviewer=row.get("reviewer"),
        time=row["time"] or "",
    )


def statement_from_row(row: Row) -> Statement:
    """Return a row of STATEMENT_SCHEMA as a statement."""
    several = [] if row["references"] is None else statement_references(row)
    return Statement(
        item=row["item"],
        property=row["property"],
        value=row["value"],
        rank=Rank(row["rank"]),
        provenance=provenance_from_row(row),
        language=row["language"],
        references=tuple(
            StatementReference(Rank(each["rank"]), provenance_from_row(each)) for each in several
        ),
    )


def statements_from_rows(rows: Iterable[Row]) -> list[Statement]:
    """Return rows of STATEMENT_SCHEMA as statements, ordered by property and value."""
    statements = [statement_from_row(row) for row in rows]
    return sorted(statements, key=lambda statement: (statement.property, statement.value))


def chunks(elements: Sequence[ElementT], size: int) -> Iterator[Sequence[ElementT]]:
    """Yield a sequence in slices of at most ``size``."""
    return (elements[start : start + size] for start in range(0, len(elements), size))


def checked_table(table: pa.Table | None, schema: pa.Schema, required: Sequence[str]) -> pa.Table:
    """Return a table cast to a schema; of several rows with the same id only the last is kept.

    Columns that are not required may be missing, and are filled with nulls; None becomes an empty
    table. Raises DataError if a required column is missing or has nulls, or if text is not UTF-8.
    """
    if table is None:
        return schema.empty_table()
    missing = [name for name in required if name not in table.column_names]
    if missing:
        raise DataError(
            f"the table to put lacks column {missing[0]!r}: give {', '.join(schema.names)}"
        )

    columns = []
    for field in schema:
        if field.name in table.column_names:
            columns.append(table[field.name])
        else:
            columns.append(pa.nulls(table.num_rows, field.type))
    try:
        whole = pa.table(columns, names=schema.names).cast(schema)
        # Arrow accepts any bytes as a string until it is asked to validate them. Invalid UTF-8 and
        # lone surrogates have to be stopped here: the stores themselves would accept some of them.
        whole.validate(full=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"the table to put cannot be used ({reason}): give valid UTF-8 text"
        ) from None
    for name in required:
        nulls = whole[name].null_count
        if nulls:
            raise DataError(
                f"column {name!r} of the table to put has {nulls} empty cells: fill them"
            )

    ids = whole["id"].to_pylist()
    last_index = {id: index for index, id in enumerate(ids)}
    if len(last_index) == len(ids):
        return whole
    return whole.take(pa.array(sorted(last_index.values())))
