"""What is read from a Ladybug graph, in Cypher."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa

from kg.stores.cypher_guard import guard
from kg.stores.merge import Row
from kg.stores.protocol import Counts, Pattern, QueryResult
from kg.stores.tables import ITEM_SCHEMA, STATEMENT_SCHEMA, TRIPLE_SCHEMA
from schema.errors import QueryTimeoutError, StoreError
from schema.terms import Rank

BATCH_ROWS = 65_536
TRIPLES_AT_ONCE = 1_000_000
PROPERTIES = [name for name in STATEMENT_SCHEMA.names if name not in ("item", "value")]
ITEM = "i.id AS id, i.title AS title, i.category AS category, i.images AS images"
SELECT = "h.id AS id, i.id AS item, h.property AS property, v.text AS value, " + ", ".join(
    f"h.{n} AS {n}" for n in PROPERTIES[2:]
)


class LadybugReading:
    """Reads an open ``database``; a fresh connection for each query gives its share of the buffer pool back."""

    database: Any

    def connect(self) -> Any:
        """A fresh connection, for the caller to close."""
        import ladybug

        return ladybug.Connection(self.database)

    def rows(self, text: str, params: dict[str, Any]) -> list[Row]:
        """A query's rows, as records."""
        rows: list[Row] = self._arrow(text, params).to_pylist()
        return rows

    def table(self, text: str, params: dict[str, Any], schema: pa.Schema) -> pa.Table:
        """A query's rows in a schema."""
        found = self._arrow(text, params)
        return found.select(schema.names).cast(schema) if found.num_rows else schema.empty_table()

    def is_empty(self) -> bool:
        """Whether there is no item."""
        return bool(self.rows("MATCH (i:Item) RETURN count(i) AS n", {})[0]["n"] == 0)

    def known(self, names: list[str]) -> tuple[dict[str, Row], dict[str, Row]]:
        """Those of the named items that are there, and their statements, both by id."""
        if self.is_empty():
            return {}, {}
        if len(names) == 1:
            text = "MATCH (i:Item {id: $name})"
            given = {"name": names[0]}
        else:
            text = "LOAD FROM $rows MATCH (i:Item {id: name})"
            given = {"rows": pa.table({"name": pa.array(names, pa.string())})}
        items = self.rows(f"{text} RETURN {ITEM}", given)
        facts = self.rows(f"{text} MATCH (i)-[h:HAS]->(v:Value) RETURN {SELECT}", given)
        return {row["id"]: row for row in items}, {row["id"]: row for row in facts}

    def present(self, ids: list[str]) -> list[str]:
        """Those of the statements ``ids`` that are there."""
        text = "MATCH (i:Item)-[h:HAS]->(v:Value) WHERE list_contains($ids, h.id) RETURN h.id AS id"
        return [row["id"] for row in self.rows(text, {"ids": ids})]

    def items(self) -> Iterator[pa.RecordBatch]:
        """All items, ordered by id."""
        text = f"MATCH (i:Item) RETURN {ITEM} ORDER BY i.id"
        yield from self.table(text, {}, ITEM_SCHEMA).to_batches(max_chunksize=BATCH_ROWS)

    def scan(self, pattern: Pattern) -> Iterator[pa.RecordBatch]:
        """Statements that match, ordered by id."""
        columns = {"item": "i.id", "property": "h.property", "value": "v.text"}
        params: dict[str, Any] = {
            name: value for name in columns if (value := getattr(pattern, name)) is not None
        }
        wheres = [f"{columns[name]} = ${name}" for name in params]
        if pattern.ranks is not None:
            wheres.append("list_contains($ranks, h.rank)")
            params["ranks"] = [str(rank) for rank in pattern.ranks]
        where = f"WHERE {' AND '.join(wheres)}" if wheres else ""
        text = f"MATCH (i:Item)-[h:HAS]->(v:Value) {where} RETURN {SELECT} ORDER BY h.id"
        yield from self.table(text, params, STATEMENT_SCHEMA).to_batches(max_chunksize=BATCH_ROWS)

    def triples(self, ranks: Sequence[Rank]) -> Iterator[pa.RecordBatch]:
        """Statements of some ranks, a few properties at a time, since a result is held whole."""
        asked = {"ranks": [str(rank) for rank in ranks]}
        counted = "MATCH (:Item)-[h:HAS]->(:Value) WHERE list_contains($ranks, h.rank) RETURN h.property AS property, count(*) AS n"
        groups: list[list[str]] = []
        held = TRIPLES_AT_ONCE
        for row in self.rows(f"{counted} ORDER BY property", asked):
            if held + row["n"] > TRIPLES_AT_ONCE:
                groups.append([])
                held = 0
            groups[-1].append(row["property"])
            held += row["n"]
        wanted = "list_contains($ranks, h.rank) AND list_contains($properties, h.property)"
        text = f"MATCH (i:Item)-[h:HAS]->(v:Value) WHERE {wanted} RETURN i.id AS item, h.property AS property, v.text AS value"
        for group in groups:
            yield from self.table(text, {**asked, "properties": group}, TRIPLE_SCHEMA).to_batches(
                max_chunksize=BATCH_ROWS
            )

    def query(self, text: str, params: dict[str, Any], timeout: float) -> QueryResult:
        """A read-only Cypher query."""
        connection = self.connect()
        try:
            connection.set_query_timeout(int(timeout * 1000))
            result: Any = connection.execute(guard(text), params)
            return QueryResult(
                result.get_column_names(),
                [[_plain(value) for value in row] for row in result.get_all()],
            )
        except RuntimeError as error:
            reason = str(error).splitlines()[0][:200]
            if "interrupt" in reason.lower():
                raise QueryTimeoutError(
                    f"the query ran past its limit of {timeout:g} s: narrow it"
                ) from None
            raise StoreError(f"the query failed ({reason}): correct it") from None
        finally:
            connection.close()

    def counts(self) -> Counts:
        """Sizes of the graph."""
        items = self.rows("MATCH (i:Item) RETURN count(i) AS n", {})[0]["n"]
        text = "MATCH (i:Item)-[h:HAS]->(v:Value) RETURN count(h) AS s, count(DISTINCT h.property) AS p, count(DISTINCT v.text) AS v"
        row = self.rows(text, {})[0]
        return Counts(items, row["s"], row["p"], row["v"])

    def _arrow(self, text: str, params: dict[str, Any]) -> pa.Table:
        connection = self.connect()
        try:
            return connection.execute(text, params).get_as_arrow()
        finally:
            connection.close()


def _plain(value: Any) -> Any:
    """A value as JSON has it: sums, which come as decimals, as numbers; nodes and relationships by the properties that they have."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        inner = "_LABEL" in value
        return {
            key: _plain(each)
            for key, each in value.items()
            if not inner or (each is not None and not key.startswith("_"))
        }
    return value
