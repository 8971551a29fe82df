"""Counts of a store, and how many items have each property."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from schema.terms import TRUSTED_RANKS

if TYPE_CHECKING:
    from kg.stores.protocol import GraphStore


@dataclass(frozen=True)
class PropertyCoverage:
    """How well one property is filled in.

    ``items`` is the number of items that have it, and ``share`` their share of all items;
    ``values`` is the number of different values; ``predicted`` is the number of items for which
    the property is only predicted.
    """

    property: str
    items: int
    share: float
    values: int
    predicted: int


@dataclass(frozen=True)
class Stats:
    """Counts of a store.

    ``statements`` and ``ranks`` count statements of every rank, ``coverage`` only trusted ones.
    """

    items: int
    titles: int
    images: int
    categories: int
    statements: int
    ranks: dict[str, int]
    coverage: list[PropertyCoverage]

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as plain data."""
        return asdict(self)


_ITEM_COLUMNS = ("id", "title", "category", "images")
_COUNT_ITEMS = """
SELECT count(*), count(title), count(*) FILTER (len(images) > 0), count(DISTINCT category)
FROM item_rows
"""
_COUNT_RANKS = "SELECT rank, count(*) FROM facts GROUP BY rank ORDER BY rank"
_TRUSTED = ", ".join(f"'{rank}'" for rank in TRUSTED_RANKS)
_COUNT_PROPERTIES = f"""
SELECT property,
    count(DISTINCT item) FILTER (rank IN ({_TRUSTED})),
    count(DISTINCT value) FILTER (rank IN ({_TRUSTED}))
FROM facts GROUP BY property ORDER BY property
"""
# DISTINCT, since an item may have several values of a property.
_COUNT_PREDICTED = f"""
SELECT property, count(DISTINCT item)
FROM facts ANTI JOIN (SELECT item, property FROM facts WHERE rank IN ({_TRUSTED})) AS trusted
    USING (item, property)
WHERE rank = 'predicted' GROUP BY property
"""


def read_stats(store: GraphStore) -> Stats:
    """Read a store once, as a stream: items and then statements."""
    import duckdb

    from kg.stores.tables import FACT_SCHEMA, ITEM_SCHEMA

    with duckdb.connect(":memory:") as database:
        item_rows = _stream(store.unordered_items(), ITEM_SCHEMA, _ITEM_COLUMNS)
        database.register("item_rows", item_rows)
        items, titles, images, categories = database.execute(_COUNT_ITEMS).fetchall()[0]

        statement_rows = _stream(store.facts(), FACT_SCHEMA, tuple(FACT_SCHEMA.names))
        database.register("statement_rows", statement_rows)
        # A stream can be read only once, and three queries follow.
        database.execute("CREATE TABLE facts AS SELECT * FROM statement_rows")
        ranks = dict(database.execute(_COUNT_RANKS).fetchall())
        properties = database.execute(_COUNT_PROPERTIES).fetchall()
        predicted = dict(database.execute(_COUNT_PREDICTED).fetchall())

    coverage = [
        PropertyCoverage(
            name, holders, holders / items if items else 0.0, values, predicted.get(name, 0)
        )
        for name, holders, values in properties
    ]
    return Stats(items, titles, images, categories, sum(ranks.values()), ranks, coverage)


def _stream(
    batches: Iterator[pa.RecordBatch], schema: pa.Schema, columns: tuple[str, ...]
) -> pa.RecordBatchReader:
    """Return some columns of a stream of batches, which may be empty, in a form DuckDB reads."""
    selected = pa.schema([schema.field(name) for name in columns])
    return pa.RecordBatchReader.from_batches(
        selected, (batch.select(list(columns)) for batch in batches)
    )
