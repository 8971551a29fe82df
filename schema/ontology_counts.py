"""The counts from which an ontology is inferred, computed by DuckDB.

A catalogue has millions of statements, so DuckDB counts them in bounded memory and spills the rest
to disk.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import pyarrow as pa

from schema.terms import TRUSTED_RANKS, path_prefixes

if TYPE_CHECKING:
    import duckdb

ArrowRows: TypeAlias = pa.Table | Iterable[pa.RecordBatch]

DUCKDB_MEMORY_LIMIT = "128MB"
"""Beyond this DuckDB writes to disk. By default it would take 80% of the machine's memory."""

_INSERTED_ROWS = 1 << 18
_INSERTED_BYTES = 1 << 25

ValueCounts: TypeAlias = dict[str, dict[str, int]]
"""By property: how many items have each value, most frequent first."""

STATED_BY = "stated_by"
"""The column of statements that says who makes them."""

_MERGED_SCHEMA = pa.schema([(name, pa.string()) for name in ("property", "value", "shown")])
_PARENTS_SCHEMA = pa.schema([("category", pa.string()), ("parent", pa.string())])

# The value breaks ties: the order of the vocabulary is part of every model, so that the same
# statements must always give the same order.
_VALUES = """
SELECT property, value, count(*) AS n FROM {rows} GROUP BY ALL ORDER BY property, n DESC, value
"""
_LAST_ITEMS = """
CREATE TABLE last_item AS
SELECT id, arg_max(category, rowid) FILTER (category IS NOT NULL) AS category
FROM item_row GROUP BY id
"""
_MERGED_VALUES = """
CREATE TABLE merged_fact AS
SELECT DISTINCT item, property, coalesce(shown, value) AS value
FROM fact LEFT JOIN merged USING (property, value)
WHERE property IN (SELECT property FROM merged)
"""
_HOLDER = "CREATE TABLE holder AS SELECT item, property, count(*) AS n FROM fact GROUP BY ALL"
# What two sources state differently is one value of each.
_HOLDER_BY_SOURCE = """
CREATE TABLE holder AS SELECT item, property, max(n) AS n FROM (
    SELECT item, property, count(DISTINCT coalesce(shown, value)) AS n
    FROM statement_row LEFT JOIN merged USING (property, value)
    GROUP BY item, property, stated_by
) GROUP BY ALL
"""
_HOLDERS = "SELECT property, count(*), count(*) FILTER (n > 1) FROM holder GROUP BY ALL"
# Items are counted by their own categories first: each has several parents.
_CATEGORIES = """
SELECT parent, CAST(sum(n) AS BIGINT)
FROM (SELECT category, count(*) AS n FROM {items} GROUP BY category)
JOIN parents USING (category)
GROUP BY ALL
"""
_DESCRIBED_ITEM = """
CREATE TABLE described_item AS
SELECT category FROM item_row
SEMI JOIN {told} AS told ON item_row.id = told.item
"""
_ALL_TOLD = "holder"
_SOME_TOLD = "(FROM holder SEMI JOIN describing USING (property))"
_HOLDERS_BY_CATEGORY = """
SELECT property, parent, CAST(sum(n) AS BIGINT)
FROM (
    SELECT property, category, count(*) AS n
    FROM holder JOIN item_row ON item_row.id = holder.item
    GROUP BY ALL
)
JOIN parents USING (category)
GROUP BY ALL
"""


@dataclass
class CatalogueCounts:
    """How often properties, values and categories occur.

    A category's counts include the items of the categories below it.
    """

    items: int = 0
    values: ValueCounts = field(default_factory=lambda: defaultdict(dict))
    holders: dict[str, int] = field(default_factory=dict)
    """By property: how many items have it."""
    multivalued: dict[str, int] = field(default_factory=dict)
    """By property: how many items have several values of it."""
    categories: dict[str, int] = field(default_factory=dict)
    """How many items each category has."""
    holders_by_category: dict[str, dict[str, int]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    """By property: how many items of each category have it."""
    described_items: int = 0
    """How many items have any statement."""
    described: dict[str, int] = field(default_factory=dict)
    """How many items of each category have any statement."""

    def described_of(self, category: str) -> int:
        """Return how many items of a category have any statement, at least 1."""
        return self.described.get(category) or max(1, self.categories.get(category, 1))


Chosen: TypeAlias = Callable[[ValueCounts], Sequence[str]]
"""Returns some of the properties, given their values."""
Merging: TypeAlias = Callable[[ValueCounts], Iterable[tuple[str, str, str]]]
"""Returns (property, value, shown): which values are one with another, the one that is shown."""


def count_catalogue(
    items: ArrowRows,
    statements: ArrowRows,
    merging: Merging | None = None,
    *,
    learned: Chosen | None = None,
    repeated_items: bool = False,
) -> CatalogueCounts:
    """Count items (id, category) and statements (item, property, value[, rank]).

    If there is a rank column, only statements of trusted ranks count. With a column ``stated_by``,
    a statement comes once for each of those who make it, and an item has several values of a
    property if one of them states several. ``merging`` is given the values as they are written and
    says which of them are one; they are counted as one then. With ``repeated_items`` an item may
    come several times, of which the last category holds. Items have any statement if they have one
    of the properties that ``learned`` returns, or of any property if there is none of these.
    """
    import duckdb

    counts = CatalogueCounts()
    with (
        # By default DuckDB would write to `.tmp` in the user's working directory.
        tempfile.TemporaryDirectory() as folder,
        duckdb.connect(
            config={
                "memory_limit": DUCKDB_MEMORY_LIMIT,
                "temp_directory": folder,
                # Each thread takes a share of the memory.
                "threads": 2,
            }
        ) as database,
    ):
        _load(database, "item_row", items, ("id", "category"))
        if repeated_items:
            database.execute(_LAST_ITEMS)
            database.execute("DROP TABLE item_row")
            database.execute("ALTER TABLE last_item RENAME TO item_row")
        by_source = _load(database, "statement_row", statements, ("item", "property", "value"))
        database.execute(
            "CREATE TABLE fact AS SELECT DISTINCT item, property, value FROM statement_row"
        )
        if not by_source:
            database.execute("DROP TABLE statement_row")
        _count_values(database, counts)
        merged = [] if merging is None else list(merging(counts.values))
        _merge_values(database, counts, merged)
        database.execute(_HOLDER_BY_SOURCE if by_source else _HOLDER)
        _register_parents(database)

        (counts.items,) = database.execute("SELECT count(*) FROM item_row").fetchall()[0]
        for name, holders, multivalued in database.execute(_HOLDERS).fetchall():
            counts.holders[name] = holders
            counts.multivalued[name] = multivalued
        for category, count in database.execute(_CATEGORIES.format(items="item_row")).fetchall():
            counts.categories[category] = count
        describing = list(learned(counts.values)) if learned is not None else []
        _count_described(database, counts, describing or list(counts.values))
        for name, category, count in database.execute(_HOLDERS_BY_CATEGORY).fetchall():
            counts.holders_by_category[name][category] = count
    return counts


def _count_described(
    database: duckdb.DuckDBPyConnection, counts: CatalogueCounts, describing: Sequence[str]
) -> None:
    """Count the items that have one of the ``describing`` properties."""
    names = pa.array(describing, pa.string())
    database.register("describing", pa.table({"property": names}))
    told = _ALL_TOLD if len(describing) == len(counts.values) else _SOME_TOLD
    database.execute(_DESCRIBED_ITEM.format(told=told))
    found = database.execute("SELECT count(*) FROM described_item").fetchall()
    ((counts.described_items,),) = found
    counts.described = dict.fromkeys(counts.categories, 0)
    counts.described.update(database.execute(_CATEGORIES.format(items="described_item")).fetchall())


def _count_values(
    database: duckdb.DuckDBPyConnection, counts: CatalogueCounts, rows: str = "fact"
) -> None:
    # By columns: a row of Python each takes twice the time.
    found = database.sql(_VALUES.format(rows=rows)).to_arrow_table()
    columns = (found[name].to_pylist() for name in ("property", "value", "n"))
    for name, value, count in zip(*columns, strict=True):
        counts.values[name][value] = count


def _merge_values(
    database: duckdb.DuckDBPyConnection,
    counts: CatalogueCounts,
    merged: list[tuple[str, str, str]],
) -> None:
    """Let the values that are one be one, and count those of their properties again."""
    columns = [pa.array([row[place] for row in merged], pa.string()) for place in range(3)]
    database.register("merged", pa.table(columns, schema=_MERGED_SCHEMA))
    if not merged:
        return
    database.execute(_MERGED_VALUES)
    database.execute("DELETE FROM fact WHERE property IN (SELECT property FROM merged)")
    database.execute("INSERT INTO fact SELECT item, property, value FROM merged_fact")
    # The order of the properties is that of the names, and stays.
    for name in {name for name, _, _ in merged}:
        counts.values[name].clear()
    _count_values(database, counts, "merged_fact")
    database.execute("DROP TABLE merged_fact")


def _load(
    database: duckdb.DuckDBPyConnection, table: str, rows: ArrowRows, columns: tuple[str, ...]
) -> bool:
    """Create a table and fill it a few batches at a time; return whether it says who states what.

    Given the whole stream, DuckDB would read it from its own threads, and not every store's reader
    is thread-safe.
    """
    database.execute(f"CREATE TABLE {table} ({', '.join(f'{name} VARCHAR' for name in columns)})")
    has_makers = False
    for part in _gathered(rows):
        database.register("part", part)
        where = ""
        if "rank" in part.schema.names:
            where = f"WHERE rank IN ({', '.join(repr(str(rank)) for rank in TRUSTED_RANKS)})"
        names = ", ".join(columns)
        if STATED_BY in part.schema.names:
            if not has_makers:
                database.execute(f"ALTER TABLE {table} ADD COLUMN {STATED_BY} VARCHAR")
            has_makers = True
            names += f", {STATED_BY}"
        database.execute(f"INSERT INTO {table} BY NAME SELECT {names} FROM part {where}")
    return has_makers


def _gathered(rows: ArrowRows) -> Iterator[pa.Table]:
    """Yield tables of several batches each: to insert a small one takes as long as a large one."""
    waiting: list[pa.RecordBatch] = []
    for batch in rows.to_batches() if isinstance(rows, pa.Table) else rows:
        waiting.append(batch)
        is_enough = sum(each.num_rows for each in waiting) >= _INSERTED_ROWS
        if is_enough or sum(each.nbytes for each in waiting) >= _INSERTED_BYTES:
            yield pa.Table.from_batches(waiting)
            waiting = []
    if waiting:
        yield pa.Table.from_batches(waiting)


def _register_parents(database: duckdb.DuckDBPyConnection) -> None:
    """Register a table of every category with itself and each of its parents.

    Joined with it, an item counts for its own category and for all that contain it.
    """
    rows = database.execute(
        "SELECT DISTINCT category FROM item_row WHERE category IS NOT NULL"
    ).fetchall()
    categories = []
    parents = []
    for (category,) in rows:
        for parent in path_prefixes(category):
            categories.append(category)
            parents.append(parent)
    database.register(
        "parents", pa.table({"category": categories, "parent": parents}, schema=_PARENTS_SCHEMA)
    )
