"""What a store holds: counts, and how many items have each property."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from schema.terms import TRUSTED_RANKS

if TYPE_CHECKING:
    from kg.stores.protocol import GraphStore


@dataclass(frozen=True)
class Coverage:
    """One property: the items that have it, their share of all items, its values, and the items where it is only predicted."""

    property: str
    items: int
    share: float
    values: int
    predicted: int


@dataclass(frozen=True)
class Stats:
    """Counts of a store; ``statements`` and ``ranks`` count every rank, a property's ``items`` only what is trusted."""

    items: int
    titles: int
    images: int
    categories: int
    statements: int
    ranks: dict[str, int]
    coverage: list[Coverage]

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


_ITEMS = "SELECT count(*), count(title), count(*) FILTER (len(images) > 0), count(DISTINCT category) FROM item_rows"
_COVERAGE = """
SELECT property, count(DISTINCT t.item), count(DISTINCT t.value), count(DISTINCT f.item) FILTER (f.rank = 'predicted' AND t.item IS NULL)
FROM facts f LEFT JOIN trusted t USING (item, property) GROUP BY property ORDER BY property
"""


def read_stats(store: GraphStore) -> Stats:
    """Read a store once, in flat memory."""
    import duckdb

    trusted = "rank IN (" + ", ".join(f"'{rank}'" for rank in TRUSTED_RANKS) + ")"
    with duckdb.connect(":memory:") as db:
        db.register("item_rows", _reader(store.items(), ("id", "title", "category", "images")))
        items, titles, images, categories = db.execute(_ITEMS).fetchall()[0]
        db.register("statement_rows", _reader(store.scan(), ("item", "property", "value", "rank")))
        db.execute("CREATE TABLE facts AS SELECT * FROM statement_rows")
        ranks = dict(
            db.execute("SELECT rank, count(*) FROM facts GROUP BY rank ORDER BY rank").fetchall()
        )
        db.execute(f"CREATE TABLE trusted AS SELECT * FROM facts WHERE {trusted}")
        rows = db.execute(_COVERAGE).fetchall()
    coverage = [
        Coverage(name, held, held / items if items else 0.0, values, predicted)
        for name, held, values, predicted in rows
    ]
    return Stats(items, titles, images, categories, sum(ranks.values()), ranks, coverage)


def _reader(batches: Iterator[pa.RecordBatch], columns: tuple[str, ...]) -> pa.RecordBatchReader:
    """The named columns of a stream of batches; without any batch, an empty stream of those columns."""
    from kg.stores.tables import ITEM_SCHEMA, STATEMENT_SCHEMA

    types = ITEM_SCHEMA if "title" in columns else STATEMENT_SCHEMA
    wanted = pa.schema([types.field(name) for name in columns])
    return pa.RecordBatchReader.from_batches(
        wanted, (batch.select(list(columns)) for batch in batches)
    )
