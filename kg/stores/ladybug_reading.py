"""Read a Ladybug graph with Cypher."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kg.stores.cypher_functions import LADYBUG
from kg.stores.cypher_guard import checked_cypher
from kg.stores.ladybug_database import execute, ladybug_errors
from kg.stores.merge import StoredRows
from kg.stores.projection import Projection
from kg.stores.property_graph import (
    COUNT_ITEMS,
    COUNT_STATEMENTS,
    EXPRESSIONS,
    MATCH_SOURCED,
    MATCH_STATEMENTS,
    REFERENCES_TO_SPLIT,
    SOURCE_PARAMETERS,
    TRIPLE_COLUMNS,
    UNLESS_PREDICTED,
    text_conditions,
    written_source,
)
from kg.stores.protocol import Counts, Pattern, QueryResult
from kg.stores.query_limits import QueryLimits
from kg.stores.query_pool import QueryPool
from kg.stores.sorting import sorted_batches
from kg.stores.tables import (
    BATCH_ROWS,
    FACT_SCHEMA,
    ITEM_SCHEMA,
    PLAIN_STATEMENT_SCHEMA,
    SOURCED_TRIPLE_SCHEMA,
    STATEMENT_SCHEMA,
    TRIPLE_SCHEMA,
    Row,
)
from kg.stores.unchanged import COMPARED_SCHEMA, StoredTables
from schema.terms import Rank

ITEMS_AT_ONCE = 50_000
STATEMENTS_AT_ONCE = 200_000
CHUNK_ROWS = 100_000
"""Rows of a chunk of the Arrow table that a result becomes."""
PLACES_AT_ONCE = 1000
"""Each item is compared with all of them."""
_PLACE = "place"
LISTED_IDS = 20
"""Of more statements, the ids are not looked for one by one."""
PLACED_SCHEMA = pa.schema([("id", pa.string()), (_PLACE, pa.int64())])
"""Statements, and the places of their items."""
IN_RANGE = "offset(id(i)) >= $start AND offset(id(i)) < $stop"
FROM_ITEMS = "HINT (i JOIN h) JOIN v"
"""The order in which statements of a range of items are found; the optimizer may take another."""

Range = tuple[int, int]
"""Places of nodes, from the first up to, but not including, the second."""
NO_TEXT = "CAST(NULL AS STRING)"
NULLS = {"row": "CAST(NULL AS INT64)"}
"""What a column that is no text has in a graph of an earlier version."""


class LadybugReader(Projection):
    """The reading half of a Ladybug graph.

    :class:`kg.stores.ladybug_graph.LadybugGraph` adds opening and writing.

    Every query gets a connection of its own, because a connection holds on to its share of the
    buffer pool, about 1.2 MB for each Arrow table that it was given, until it is closed.
    """

    path: Path
    database: Any
    queries: QueryPool

    def __init__(self) -> None:
        self._lookups: Any = None
        self._lookup_lock = threading.Lock()

    def connect(self) -> Any:
        """Return a new connection, which the caller closes."""
        import ladybug

        return ladybug.Connection(self.database)

    @cached_property
    def item_columns(self) -> str:
        """The columns that a query returns of an item, in the order of ITEM_SCHEMA."""
        known = self._properties("Item")
        return ", ".join(
            f"{f'i.{name}' if name in known else NULLS.get(name, NO_TEXT)} AS {name}"
            for name in ITEM_SCHEMA.names
        )

    @cached_property
    def statement_columns(self) -> str:
        """The columns that a query returns of a statement, in the order of STATEMENT_SCHEMA."""
        return self._columns_of_statements(STATEMENT_SCHEMA.names)

    def _columns_of_statements(self, names: Sequence[str]) -> str:
        known = {*self._properties("HAS"), "item", "value"}
        return ", ".join(
            f"{EXPRESSIONS[name] if name in known else NO_TEXT} AS {name}" for name in names
        )

    def _properties(self, table: str) -> set[str]:
        """Return the properties that a graph of this or an earlier version has."""
        return set(self._columns_of(table))

    def _columns_of(self, table: str) -> list[str]:
        """Return the columns of a table in the order in which COPY takes them."""
        return [row["name"] for row in self.rows(f"CALL table_info('{table}') RETURN name")]

    def rows(self, text: str, params: dict[str, Any] | None = None) -> list[Row]:
        """Run a query; return its rows."""
        rows: list[Row] = self._arrow(text, params).to_pylist()
        return rows

    def few_rows(self, text: str, params: dict[str, Any]) -> list[Row]:
        """Run a query of which only the parameters are new; return its rows, which are few.

        The connection stays open, because it keeps the plan of the query, and no Arrow table is
        made: each of the two takes longer than a lookup.
        """
        with ladybug_errors(self.path), self._lookup_lock:
            if self._lookups is None:
                self._lookups = self.connect()
            result = execute(self._lookups, text, params)
            try:
                names = result.get_column_names()
                return [dict(zip(names, row, strict=True)) for row in result]
            finally:
                result.close()

    def close_lookups(self) -> None:
        """Close the connection for lookups."""
        with self._lookup_lock:
            if self._lookups is not None:
                self._lookups.close()
                self._lookups = None

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
        if len(item_ids) == 1:
            # The usual lookup, for which Ladybug needs no more than its index.
            match = "MATCH (i:Item {id: $item_id})"
            params = {"item_id": item_ids[0]}
            items = self.few_rows(f"{match} RETURN {self.item_columns}", params)
            text = f"{match} MATCH (i)-[h:HAS]->(v:Value) RETURN {self.statement_columns}"
            statements = self.few_rows(text, params) if items else []
        elif not item_ids or self.is_empty():
            return StoredRows()
        else:
            items = self._items_of(item_ids, self.item_columns)
            places = [row.pop(_PLACE) for row in items]
            statements = self.statements_of(places, self.statement_columns)
        return StoredRows({row["id"]: row for row in items}, {row["id"]: row for row in statements})

    def count_of(self, item_ids: Sequence[str]) -> int:
        """Return how many of these items the graph has."""
        text = "LOAD FROM $rows MATCH (i:Item {id: item_id}) RETURN count(*) AS items"
        params = {"rows": pa.table({"item_id": pa.array(item_ids, pa.string())})}
        return int(self.rows(text, params)[0]["items"])

    def _items_of(self, item_ids: Sequence[str], columns: str) -> list[Row]:
        """Return columns of those of the items that the graph has, and their places."""
        text = "LOAD FROM $rows MATCH (i:Item {id: item_id})"
        params = {"rows": pa.table({"item_id": pa.array(item_ids, pa.string())})}
        return self.rows(f"{text} RETURN {columns}, offset(id(i)) AS {_PLACE}", params)

    def statements_of(self, places: Sequence[int], columns: str) -> list[Row]:
        """Return columns of the statements about the items at some places.

        From ids the optimizer would go on by a hash table of all statements of the graph, which
        does not fit into the buffer pool.
        """
        return [row for table in self._tables_of(places, columns) for row in table.to_pylist()]

    def _tables_of(self, places: Sequence[int], columns: str) -> Iterator[pa.Table]:
        """Yield columns of the statements about the items at some places, a range at a time."""
        text = (
            f"{MATCH_STATEMENTS} WHERE {IN_RANGE} AND offset(id(i)) IN $places "
            f"{FROM_ITEMS} RETURN {columns}"
        )
        for params in ranges_of(places):
            yield self._arrow(text, params)

    def compared_about(self, item_ids: Sequence[str]) -> StoredTables:
        """Return the rows of these items, and the compared columns of their statements."""
        items = self._items_of(item_ids, self.item_columns)
        places = [row.pop(_PLACE) for row in items]
        columns = self._columns_of_statements(COMPARED_SCHEMA.names)
        found = [table.cast(COMPARED_SCHEMA) for table in self._tables_of(places, columns)]
        statements = pa.concat_tables([COMPARED_SCHEMA.empty_table(), *found])
        return StoredTables({row["id"]: row for row in items}, statements)

    def places_of(self, item_ids: Sequence[str]) -> list[int]:
        """Return the places of those of the items that the graph has."""
        return [row[_PLACE] for row in self._items_of(item_ids, "i.id AS id")]

    def existing_statements(self, ids: Sequence[str]) -> list[str]:
        """Return those of the statement ids that the graph has."""
        found = set(self.placed_statements(ids)["id"].to_pylist())
        return [id for id in ids if id in found]

    def placed_statements(self, ids: Sequence[str]) -> pa.Table:
        """Return those of the statement ids that the graph has, with the places of their items.

        Only nodes have an index: all statements are compared.
        """
        match = "MATCH (i:Item)-[h:HAS]->()"
        columns = f"h.id AS id, offset(id(i)) AS {_PLACE}"
        if len(ids) <= LISTED_IDS:
            text = f"{match} WHERE list_contains($ids, h.id) RETURN {columns}"
            return self.table(text, {"ids": list(ids)}, PLACED_SCHEMA)
        # Each statement would be compared with the whole list.
        wanted = pa.array(ids, pa.string())
        text = f"{match} WHERE {IN_RANGE} RETURN {columns}"
        found = [PLACED_SCHEMA.empty_table()]
        for start, stop in self._statement_ranges():
            table = self.table(text, {"start": start, "stop": stop}, PLACED_SCHEMA)
            found.append(table.filter(pc.is_in(table["id"], value_set=wanted)))
        return pa.concat_tables(found)

    def placed_statements_about(self, item_ids: Sequence[str]) -> pa.Table:
        """Return the statements about some items by their ids, with the places of the items."""
        places = self.places_of(item_ids) if item_ids else []
        columns = f"h.id AS id, offset(id(i)) AS {_PLACE}"
        found = [table.cast(PLACED_SCHEMA) for table in self._tables_of(places, columns)]
        return pa.concat_tables([PLACED_SCHEMA.empty_table(), *found])

    def items(self) -> Iterator[pa.RecordBatch]:
        """Yield all items, ordered by id; those of a large graph are sorted on disk."""
        places = self.places("Item")
        if places <= ITEMS_AT_ONCE:
            text = f"MATCH (i:Item) RETURN {self.item_columns} ORDER BY i.id"
            yield from self.table(text, {}, ITEM_SCHEMA).to_batches(max_chunksize=BATCH_ROWS)
            return
        yield from sorted_batches(self.unordered_items(), ITEM_SCHEMA)

    def unordered_items(self) -> Iterator[pa.RecordBatch]:
        """Yield all items in any order."""
        text = f"MATCH (i:Item) WHERE {IN_RANGE} RETURN {self.item_columns}"
        ranges = _ranges(0, self.places("Item"), ITEMS_AT_ONCE)
        yield from self._parts(text, {}, ranges, ITEM_SCHEMA)

    def categories(self) -> Iterator[pa.RecordBatch]:
        """Yield the id and the category of all items in any order."""
        text = f"MATCH (i:Item) WHERE {IN_RANGE} RETURN i.id AS id, i.category AS category"
        schema = pa.schema([ITEM_SCHEMA.field(name) for name in ("id", "category")])
        ranges = _ranges(0, self.places("Item"), ITEMS_AT_ONCE)
        yield from self._parts(text, {}, ranges, schema)

    def scan(self, pattern: Pattern) -> Iterator[pa.RecordBatch]:
        """Yield the statements that match, ordered by id; very many are sorted on disk."""
        conditions, params = text_conditions(pattern)
        if pattern.ranks is not None:
            conditions.append("list_contains($ranks, h.rank)")
            params["ranks"] = [str(rank) for rank in pattern.ranks]
        ranges = [] if pattern.item is not None else self._statement_ranges()
        if len(ranges) < 2:
            where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
            text = f"{MATCH_STATEMENTS} {where} RETURN {self.statement_columns} ORDER BY h.id"
            table = self.table(text, params, STATEMENT_SCHEMA)
            yield from table.to_batches(max_chunksize=BATCH_ROWS)
            return
        where = " AND ".join([IN_RANGE, *conditions])
        text = f"{MATCH_STATEMENTS} WHERE {where} {FROM_ITEMS} RETURN {self.statement_columns}"
        parts = self._parts(text, params, ranges, STATEMENT_SCHEMA)
        yield from sorted_batches(parts, STATEMENT_SCHEMA)

    def facts(self) -> Iterator[pa.RecordBatch]:
        """Yield all statements, those of some items after the other, in FACT_SCHEMA."""
        columns = f"{TRIPLE_COLUMNS}, h.rank AS rank"
        text = f"{MATCH_STATEMENTS} WHERE {IN_RANGE} {FROM_ITEMS} RETURN {columns}"
        yield from self._parts(text, {}, self._statement_ranges(), FACT_SCHEMA)

    def plain_statements(self, ranks: Sequence[Rank] | None) -> Iterator[pa.RecordBatch]:
        """Yield the statements of some ranks, those of some items after the other."""
        conditions = [IN_RANGE]
        params: dict[str, Any] = {}
        if ranks is not None:
            conditions.append("list_contains($ranks, h.rank)")
            params["ranks"] = [str(rank) for rank in ranks]
        text = (
            f"{MATCH_STATEMENTS} WHERE {' AND '.join(conditions)} {FROM_ITEMS} "
            f"RETURN {self._columns_of_statements(PLAIN_STATEMENT_SCHEMA.names)}"
        )
        yield from self._parts(text, params, self._statement_ranges(), PLAIN_STATEMENT_SCHEMA)

    def triples(self, ranks: Sequence[Rank]) -> Iterator[pa.RecordBatch]:
        """Yield the statements of some ranks, those of some items after the other."""
        text = (
            f"{MATCH_STATEMENTS} WHERE {IN_RANGE} AND list_contains($ranks, h.rank) "
            f"{self._in_leading_language} {FROM_ITEMS} RETURN {TRIPLE_COLUMNS}"
        )
        params = {"ranks": [str(rank) for rank in ranks]}
        yield from self._parts(text, params, self._statement_ranges(), TRIPLE_SCHEMA)

    def sourced_triples(self, ranks: Sequence[Rank]) -> Iterator[pa.RecordBatch]:
        """Yield the statements of some ranks with what decides between sources."""
        text = (
            f"{MATCH_STATEMENTS} WHERE {IN_RANGE} AND list_contains($ranks, h.rank) "
            f"{self._in_leading_language} {FROM_ITEMS} RETURN {self.statement_columns}"
        )
        params = {"ranks": [str(rank) for rank in ranks]}
        yield from self._parts(text, params, self._statement_ranges(), SOURCED_TRIPLE_SCHEMA)

    def sources(self) -> list[str]:
        """Return the sources of items and statements in order; what is only predicted has none."""
        names: set[str] = set()
        for label, match in MATCH_SOURCED.items():
            known = self._properties(label)
            if "references" in known:
                text = (
                    f"{match} WHERE n.references IS NOT NULL "
                    f"WITH string_split({REFERENCES_TO_SPLIT}, $key) AS parts "
                    "UNWIND range(2, size(parts)) AS place "
                    "WITH parts[place] AS part, parts[place - 1] AS before "
                    "WHERE NOT contains(before, $predicted) "
                    "RETURN DISTINCT string_split(part, $closing)[1] AS name"
                )
                names |= {written_source(row["name"]) for row in self.rows(text, SOURCE_PARAMETERS)}
            if "source" in known:
                names |= self._shown_sources(f"{match} WHERE n.source <> $first", label)
        return sorted(names)

    def _shown_sources(self, match: str, label: str) -> set[str]:
        """Return the sources that items or statements show; to compare is quicker than to count."""
        where = f"{match} {UNLESS_PREDICTED[label]}"
        first = self.rows(f"{where} RETURN n.source AS name LIMIT 1", {"first": ""})
        if not first or not self.rows(f"{where} RETURN n.id LIMIT 1", {"first": first[0]["name"]}):
            return {row["name"] for row in first}
        rows = self.rows(f"{where} RETURN DISTINCT n.source AS name", {"first": ""})
        return {row["name"] for row in rows}

    def places(self, label: str) -> int:
        """Return a number above the places of all nodes of a kind, of which some may be free."""
        (row,) = self.rows(f"MATCH (n:{label}) RETURN max(offset(id(n))) AS last")
        return 0 if row["last"] is None else int(row["last"]) + 1

    def count_nodes(self, label: str) -> int:
        """Return the number of nodes of a kind."""
        return int(self.rows(f"MATCH (n:{label}) RETURN count(*) AS nodes")[0]["nodes"])

    def _statement_ranges(self) -> list[Range]:
        """Return ranges of items that have about STATEMENTS_AT_ONCE statements each, or fewer."""
        count = f"MATCH (i:Item)-[h:HAS]->() WHERE {IN_RANGE} RETURN count(*) AS statements"
        ranges: list[Range] = []
        for start, stop in _ranges(0, self.places("Item"), ITEMS_AT_ONCE):
            (row,) = self.rows(count, {"start": start, "stop": stop})
            steps = max(1, -(-int(row["statements"]) // STATEMENTS_AT_ONCE))
            ranges += _ranges(start, stop, max(1, -(-(stop - start) // steps)))
        return ranges

    def _parts(
        self, text: str, params: dict[str, Any], ranges: Sequence[Range], schema: pa.Schema
    ) -> Iterator[pa.RecordBatch]:
        """Run a query for each range of items: Ladybug holds a result in memory as a whole."""
        for start, stop in ranges:
            table = self.table(text, {**params, "start": start, "stop": stop}, schema)
            yield from table.to_batches(max_chunksize=BATCH_ROWS)

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

    @cached_property
    def _in_leading_language(self) -> str:
        return "AND h.language IS NULL " if "language" in self._properties("HAS") else ""

    def _arrow(self, text: str, params: dict[str, Any] | None) -> pa.Table:
        with ladybug_errors(self.path):
            connection = self.connect()
            try:
                result = execute(connection, text, params)
                # For each chunk it allocates room for as many rows as a chunk may have.
                table = result.get_as_arrow(max(1, min(result.get_num_tuples(), CHUNK_ROWS)))
            finally:
                connection.close()
            table = with_empty_lists(table)
            # A damaged page may give text that is not UTF-8, which Arrow would pass on.
            table.validate(full=True)
            return table


def ranges_of(places: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Yield places a few at a time, as the parameters of a query with ``IN_RANGE``."""
    in_order = sorted(places)
    for first in range(0, len(in_order), PLACES_AT_ONCE):
        part = in_order[first : first + PLACES_AT_ONCE]
        yield {"start": part[0], "stop": part[-1] + 1, "places": part}


def _ranges(start: int, stop: int, step: int) -> list[Range]:
    return [(each, min(each + step, stop)) for each in range(start, stop, step)]


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
