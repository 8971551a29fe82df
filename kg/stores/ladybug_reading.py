"""Read a Ladybug graph with Cypher."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kg.stores.cypher_functions import LADYBUG
from kg.stores.cypher_guard import checked_cypher
from kg.stores.ladybug_database import ladybug_errors
from kg.stores.merge import StoredRows
from kg.stores.projection import Projection
from kg.stores.property_graph import (
    COUNT_ITEMS,
    COUNT_STATEMENTS,
    EXPRESSIONS,
    MATCH_STATEMENTS,
    TRIPLE_COLUMNS,
    text_conditions,
)
from kg.stores.protocol import Counts, Pattern, QueryResult
from kg.stores.query_limits import QueryLimits
from kg.stores.query_pool import QueryPool
from kg.stores.tables import BATCH_ROWS, ITEM_SCHEMA, STATEMENT_SCHEMA, TRIPLE_SCHEMA, Row
from schema.terms import Rank

TRIPLES_AT_ONCE = 1_000_000
NO_TEXT = "CAST(NULL AS STRING)"


class LadybugReader(Projection):
    """The reading half of a Ladybug graph.

    :class:`kg.stores.ladybug_graph.LadybugGraph` adds opening and writing.

    Every query gets a connection of its own, because a connection holds on to its share of the
    buffer pool, about 1.2 MB for each Arrow table that it was given, until it is closed.
    """

    path: Path
    database: Any
    queries: QueryPool

    def connect(self) -> Any:
        """Return a new connection, which the caller closes."""
        import ladybug

        return ladybug.Connection(self.database)

    @cached_property
    def item_columns(self) -> str:
        """The columns that a query returns of an item, in the order of ITEM_SCHEMA."""
        known = self._properties("Item")
        return ", ".join(
            f"{f'i.{name}' if name in known else NO_TEXT} AS {name}" for name in ITEM_SCHEMA.names
        )

    @cached_property
    def statement_columns(self) -> str:
        """The columns that a query returns of a statement, in the order of STATEMENT_SCHEMA."""
        known = {*self._properties("HAS"), "item", "value"}
        return ", ".join(
            f"{source if name in known else NO_TEXT} AS {name}"
            for name, source in EXPRESSIONS.items()
        )

    def _properties(self, table: str) -> set[str]:
        """Return the properties that a graph of this or an earlier version has."""
        return {row["name"] for row in self.rows(f"CALL table_info('{table}') RETURN name")}

    def rows(self, text: str, params: dict[str, Any] | None = None) -> list[Row]:
        """Run a query; return its rows."""
        rows: list[Row] = self._arrow(text, params).to_pylist()
        return rows

    def table(self, text: str, params: dict[str, Any], schema: pa.Schema) -> pa.Table:
        """Run a query; return its rows as a table in a schema."""
        result = self._arrow(text, params)
        if not result.num_rows:
            return schema.empty_table()
        return result.select(schema.names).cast(schema)

    def is_empty(self) -> bool:
        """Return whether the graph has no item."""
        return bool(self.rows(COUNT_ITEMS)[0]["items"] == 0)

    def rows_about(self, item_ids: Sequence[str]) -> StoredRows:
        """Return the rows of these items, as far as the graph has them, and their statements."""
        if self.is_empty():
            return StoredRows()
        params: dict[str, Any]
        if len(item_ids) == 1:
            # The usual lookup of one item, which needs no Arrow table.
            match = "MATCH (i:Item {id: $item_id})"
            params = {"item_id": item_ids[0]}
        else:
            match = "LOAD FROM $rows MATCH (i:Item {id: item_id})"
            params = {"rows": pa.table({"item_id": pa.array(item_ids, pa.string())})}
        statements = f"{match} MATCH (i)-[h:HAS]->(v:Value) RETURN {self.statement_columns}"
        return StoredRows(
            {row["id"]: row for row in self.rows(f"{match} RETURN {self.item_columns}", params)},
            {row["id"]: row for row in self.rows(statements, params)},
        )

    def existing_statements(self, ids: Sequence[str]) -> list[str]:
        """Return those of the statement ids that the graph has."""
        text = f"{MATCH_STATEMENTS} WHERE list_contains($ids, h.id) RETURN h.id AS id"
        return [row["id"] for row in self.rows(text, {"ids": list(ids)})]

    def items(self) -> Iterator[pa.RecordBatch]:
        """Yield all items, ordered by id."""
        text = f"MATCH (i:Item) RETURN {self.item_columns} ORDER BY i.id"
        yield from self.table(text, {}, ITEM_SCHEMA).to_batches(max_chunksize=BATCH_ROWS)

    def scan(self, pattern: Pattern) -> Iterator[pa.RecordBatch]:
        """Yield the statements that match, ordered by id."""
        conditions, params = text_conditions(pattern)
        if pattern.ranks is not None:
            conditions.append("list_contains($ranks, h.rank)")
            params["ranks"] = [str(rank) for rank in pattern.ranks]
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        text = f"{MATCH_STATEMENTS} {where} RETURN {self.statement_columns} ORDER BY h.id"
        yield from self.table(text, params, STATEMENT_SCHEMA).to_batches(max_chunksize=BATCH_ROWS)

    def triples(self, ranks: Sequence[Rank]) -> Iterator[pa.RecordBatch]:
        """Yield the statements of some ranks, a few properties at a time.

        Ladybug holds a result in memory as a whole, so a large graph is read in several queries.
        """
        names = [str(rank) for rank in ranks]
        text = (
            f"{MATCH_STATEMENTS} "
            "WHERE list_contains($ranks, h.rank) AND list_contains($properties, h.property) "
            f"{self._in_leading_language}"
            f"RETURN {TRIPLE_COLUMNS}"
        )
        for properties in self._property_groups(names):
            params = {"ranks": names, "properties": properties}
            yield from self.table(text, params, TRIPLE_SCHEMA).to_batches(max_chunksize=BATCH_ROWS)

    def query(
        self, text: str, params: dict[str, Any], timeout: float, limits: QueryLimits
    ) -> QueryResult:
        """Run a read-only Cypher query in a process of its own."""
        return self.queries.answer(checked_cypher(text, LADYBUG), params, timeout, limits)

    def counts(self) -> Counts:
        """Return the sizes of the graph."""
        (items,) = self.rows(COUNT_ITEMS)
        (row,) = self.rows(COUNT_STATEMENTS)
        return Counts(items["items"], row["statements"], row["properties"], row["texts"])

    def _property_groups(self, ranks: list[str]) -> list[list[str]]:
        """Group the properties so that each group has at most about TRIPLES_AT_ONCE statements."""
        text = (
            f"{MATCH_STATEMENTS} WHERE list_contains($ranks, h.rank) {self._in_leading_language}"
            "RETURN h.property AS property, count(*) AS statements ORDER BY property"
        )
        groups: list[list[str]] = []
        # A full group, so that the first property opens a new one.
        group_size = TRIPLES_AT_ONCE
        for row in self.rows(text, {"ranks": ranks}):
            if group_size + row["statements"] > TRIPLES_AT_ONCE:
                groups.append([])
                group_size = 0
            groups[-1].append(row["property"])
            group_size += row["statements"]
        return groups

    @cached_property
    def _in_leading_language(self) -> str:
        return "AND h.language IS NULL " if "language" in self._properties("HAS") else ""

    def _arrow(self, text: str, params: dict[str, Any] | None) -> pa.Table:
        with ladybug_errors(self.path):
            connection = self.connect()
            try:
                table = connection.execute(text, params or {}).get_as_arrow()
            finally:
                connection.close()
            table = with_empty_lists(table)
            # A damaged page may give text that is not UTF-8, which Arrow would pass on.
            table.validate(full=True)
            return table


def with_empty_lists(table: pa.Table) -> pa.Table:
    """Return a table of Ladybug's whose lists are sound even if all of them are empty.

    It never writes the first offset of texts that are none, so that the list column of a graph
    without images has whatever was in memory there. Nobody reads that but Arrow's validation.
    """
    for place, field in enumerate(table.schema):
        column = table.column(place)
        if not pa.types.is_list(field.type) or any(len(chunk.values) for chunk in column.chunks):
            continue
        # Not pa.array, which loads pandas at its first call: a third of the time of `show`.
        offsets = pa.Array.from_buffers(
            pa.int32(), len(column) + 1, [None, pa.py_buffer(bytes(4 * (len(column) + 1)))]
        )
        missing = pc.is_null(column).combine_chunks()
        empty = pa.nulls(0, field.type.value_type)
        lists = pa.ListArray.from_arrays(offsets, empty, type=field.type, mask=missing)
        table = table.set_column(place, field, lists)
    return table
