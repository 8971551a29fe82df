"""A Neo4j database as a store, with the same property graph as the embedded store."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import astuple
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

from kg.stores.cypher_functions import NEO4J
from kg.stores.cypher_guard import checked_cypher
from kg.stores.journal import (
    ChangeOrigin,
    JournalBatch,
    bytes_of_changes,
    changes_from_bytes,
    changes_table,
)
from kg.stores.merge import Changes, StoredRows
from kg.stores.neo4j_server import Address, Connection, Limits
from kg.stores.property_graph import (
    COUNT_ITEMS,
    COUNT_STATEMENTS,
    MATCH_SOURCED,
    MATCH_STATEMENTS,
    REFERENCES_TO_SPLIT,
    RELATIONSHIP_PROPERTIES,
    SOURCE_PARAMETERS,
    SOURCED_COLUMNS,
    STATEMENT_COLUMNS,
    TRIPLE_COLUMNS,
    UNLESS_PREDICTED,
    first_image,
    text_conditions,
    written_source,
)
from kg.stores.protocol import (
    EVERYTHING,
    ChangeBatch,
    Counts,
    GraphStore,
    Pattern,
    PutReport,
    QueryResult,
)
from kg.stores.query_limits import (
    DEFAULT_LIMITS,
    DEFAULT_SECONDS,
    Deadline,
    QueryLimits,
    unusable_parameters,
    within_limits,
)
from kg.stores.tables import (
    BATCH_ROWS,
    ITEM_SCHEMA,
    SOURCED_TRIPLE_SCHEMA,
    STATEMENT_SCHEMA,
    TRIPLE_SCHEMA,
    Row,
    chunks,
    item_from_row,
    statements_from_rows,
)
from schema.errors import DataError
from schema.terms import Item, Rank, Statement

if TYPE_CHECKING:
    from neo4j import ManagedTransaction

ResultT = TypeVar("ResultT")

ROWS_PER_QUERY = 10_000
"""Rows sent with one query of a transaction."""
MAX_INDEXED_BYTES = 8_000
"""Bytes of an item's id or of a value that an index of Neo4j takes."""

ZEROS = re.compile(r"(\.\d*?)0+(?!\d)")
"""Zeros at the end of a fraction of a second, of which the driver writes nine digits."""

CREATE_LAYOUT = (
    "CREATE CONSTRAINT catalograph_item IF NOT EXISTS FOR (i:Item) REQUIRE i.id IS UNIQUE",
    "CREATE CONSTRAINT catalograph_value IF NOT EXISTS FOR (v:Value) REQUIRE v.text IS UNIQUE",
    "CREATE CONSTRAINT catalograph_statement IF NOT EXISTS "
    "FOR ()-[h:HAS]-() REQUIRE h.id IS UNIQUE",
    "CREATE CONSTRAINT catalograph_writer IF NOT EXISTS "
    "FOR (w:CatalographWriter) REQUIRE w.name IS UNIQUE",
    "CREATE CONSTRAINT catalograph_changes IF NOT EXISTS "
    "FOR (c:CatalographChanges) REQUIRE c.version IS UNIQUE",
    "CREATE INDEX catalograph_property IF NOT EXISTS FOR ()-[h:HAS]-() ON (h.property)",
)

# An item may lack the list of images: neo4j-admin leaves empty ones out when it imports.
ITEM_COLUMNS = ", ".join(
    f"coalesce(i.{name}, []) AS {name}" if name == "images" else f"i.{name} AS {name}"
    for name in ITEM_SCHEMA.names
)

# All writers update one node first, and its lock makes them wait for each other. Each also
# remembers its last batch, and what that returned, on a node of its own.
BEGIN_BATCH = """
MERGE (all:CatalographWriter {name: 'all'}) SET all.batch = $batch
MERGE (w:CatalographWriter {name: $writer})
RETURN w.batch = $batch AS done, w.report AS report
"""
END_BATCH = """
MATCH (w:CatalographWriter {name: $writer})
SET w.batch = $batch, w.report = $report
"""

# Only a batch that changes something makes a new revision. What it changes is kept as a file of
# Parquet in a node: a node a row would double the time of a load.
LOG_CHANGES = """
MATCH (all:CatalographWriter {name: 'all'})
SET all.revision = all.batch, all.version = coalesce(all.version, -1) + 1
CREATE (:CatalographChanges {version: all.version, changes: $changes})
"""
READ_CHANGES = """
MATCH (c:CatalographChanges) WHERE c.version > $since
RETURN c.version AS version, c.changes AS changes ORDER BY version LIMIT 1
"""
GET_REVISION = "MATCH (all:CatalographWriter {name: 'all'}) RETURN all.revision AS revision"

FIND_SOURCES = {
    label: (
        f"{match} WHERE n.source <> '' {UNLESS_PREDICTED[label]} "
        "RETURN DISTINCT n.source AS name, true AS is_plain UNION "
        f"{match} WHERE n.references IS NOT NULL "
        f"WITH split({REFERENCES_TO_SPLIT}, $key) AS parts "
        "UNWIND range(1, size(parts) - 1) AS place "
        "WITH parts[place] AS part, parts[place - 1] AS before "
        "WHERE NOT before CONTAINS $predicted "
        "RETURN DISTINCT split(part, $closing)[0] AS name, false AS is_plain"
    )
    for label, match in MATCH_SOURCED.items()
}

FIND_ITEMS = f"UNWIND $rows AS row MATCH (i:Item {{id: row}}) RETURN {ITEM_COLUMNS}"
FIND_STATEMENTS = (
    f"UNWIND $rows AS row MATCH (i:Item {{id: row}})-[h:HAS]->(v:Value) RETURN {STATEMENT_COLUMNS}"
)
FIND_STATEMENT_IDS = "UNWIND $rows AS row MATCH ()-[h:HAS {id: row}]->() RETURN h.id AS id"
PUT_ITEMS = "UNWIND $rows AS row MERGE (i:Item {id: row.id}) SET i = row"
DELETE_ITEMS = "UNWIND $rows AS row MATCH (i:Item {id: row}) DELETE i"
MERGE_VALUES = "UNWIND $rows AS row MERGE (:Value {text: row})"

# A statement is sent as a list: maps would repeat every name with every row, and a batch would
# take a third longer.
_statement_list = itemgetter("item", "value", *RELATIONSHIP_PROPERTIES)
_PROPERTY_MAP = ", ".join(
    f"{name}: row[{index}]" for index, name in enumerate(RELATIONSHIP_PROPERTIES, start=2)
)
CREATE_STATEMENTS = (
    "UNWIND $rows AS row MATCH (i:Item {id: row[0]}) MATCH (v:Value {text: row[1]}) "
    f"CREATE (i)-[:HAS {{{_PROPERTY_MAP}}}]->(v)"
)
UPDATE_STATEMENTS = (
    "UNWIND $rows AS row MATCH (:Item)-[h:HAS {id: row[2]}]->(:Value) "
    f"SET h = {{{_PROPERTY_MAP}}}"
)
DELETE_STATEMENTS = "UNWIND $rows AS row MATCH (:Item)-[h:HAS {id: row}]->(:Value) DELETE h"


class Neo4jStore(GraphStore):
    """The graph at ``neo4j://HOST[:PORT][/DATABASE]`` or ``bolt://…``.

    Constraints and indexes are created when the store is opened for writing.
    """

    def __init__(self, url: str, *, read_only: bool = False) -> None:
        address = Address.parse(url)
        self.url = str(address)
        self._writer = uuid.uuid4().hex
        self._server = Connection(address, Limits.from_environment())
        try:
            if not read_only:
                for text in CREATE_LAYOUT:
                    self._execute(text)
        except BaseException:
            self.close()
            raise

    def retract(self, statement_ids: Sequence[str], *, run: str = "") -> int:
        """Remove statements; return how many of them the store had."""
        ids = list(dict.fromkeys(statement_ids))

        def retract(tx: ManagedTransaction) -> Changes:
            """Find out which of the statements there are."""
            existing = [
                row["id"]
                for part in chunks(ids, ROWS_PER_QUERY)
                for row in tx.run(FIND_STATEMENT_IDS, rows=part)
            ]
            return Changes(retracted=dict.fromkeys(existing))

        return self._write_once(retract, run).retracted

    def append(self, changes: pa.Table) -> None:
        """Write changes as they are in one transaction."""
        _check_lengths(changes)

        def work(tx: ManagedTransaction) -> PutReport:
            """Write the changes."""
            _write(tx, changes)
            return PutReport(0, 0)

        self._once(work)

    def changes(self, since: int = -1) -> Iterator[ChangeBatch]:
        """Yield what was written after a version, in order."""
        # One at a time: each may have megabytes.
        while rows := self._rows(READ_CHANGES, {"since": since}):
            since = rows[0]["version"]
            yield ChangeBatch.of(since, changes_from_bytes(rows[0]["changes"]))

    def rows_about(self, item_ids: Sequence[str]) -> StoredRows:
        """Return the rows of items, as far as there are any, and of their statements."""
        with self._server.translated_errors(), self._server.session(read=True) as session:
            return session.execute_read(lambda tx: _rows_about(tx, item_ids))

    def change(
        self,
        item_ids: Sequence[str],
        changes: Callable[[StoredRows], Changes],
        *,
        run: str = "",
    ) -> PutReport:
        """Write what ``changes`` returns for the rows about some items."""
        return self._write_once(lambda tx: changes(_rows_about(tx, item_ids)), run)

    def _write_once(
        self, find_changes: Callable[[ManagedTransaction], Changes], run: str
    ) -> PutReport:
        """Write the changes that a function finds, in the same transaction."""

        def work(tx: ManagedTransaction) -> PutReport:
            """Find out what changes, and write it."""
            made = find_changes(tx)
            if made:
                table = changes_table(made, ChangeOrigin.of(run))
                _check_lengths(table)
                _write(tx, table)
            return PutReport.of(made)

        return self._once(work)

    def item(self, id: str) -> tuple[Item, list[Statement]] | None:
        """Return an item and its statements, or None."""
        match = "MATCH (i:Item {id: $id})"
        rows = self._rows(f"{match} RETURN {ITEM_COLUMNS}", {"id": id})
        if not rows:
            return None
        statements = self._rows(
            f"{match}-[h:HAS]->(v:Value) RETURN {STATEMENT_COLUMNS}", {"id": id}
        )
        return item_from_row(rows[0]), statements_from_rows(statements)

    def items(self) -> Iterator[pa.RecordBatch]:
        """Yield all items, ordered by id."""
        # The condition lets Neo4j read the items in the order of the index. Without it, it would
        # sort all of them.
        text = f"MATCH (i:Item) WHERE i.id >= '' RETURN {ITEM_COLUMNS} ORDER BY i.id"
        yield from self._stream(text, {}, ITEM_SCHEMA)

    def scan(self, pattern: Pattern = EVERYTHING) -> Iterator[pa.RecordBatch]:
        """Yield the statements that match, ordered by id."""
        conditions, params = text_conditions(pattern)
        if not conditions:
            # As in items(): this gives the order of the index.
            conditions = ["h.id >= ''"]
        if pattern.ranks is not None:
            conditions.append("h.rank IN $ranks")
            params["ranks"] = [str(rank) for rank in pattern.ranks]
        where = " AND ".join(conditions)
        text = f"{MATCH_STATEMENTS} WHERE {where} RETURN {STATEMENT_COLUMNS} ORDER BY h.id"
        yield from self._stream(text, params, STATEMENT_SCHEMA)

    def triples(self, ranks: Sequence[Rank]) -> Iterator[pa.RecordBatch]:
        """Yield the statements of some ranks."""
        where = "h.rank IN $ranks AND h.language IS NULL"
        text = f"{MATCH_STATEMENTS} WHERE {where} RETURN {TRIPLE_COLUMNS}"
        yield from self._stream(text, {"ranks": [str(rank) for rank in ranks]}, TRIPLE_SCHEMA)

    def sourced_triples(self, ranks: Sequence[Rank]) -> Iterator[pa.RecordBatch]:
        """Yield the statements of some ranks with what decides between sources."""
        where = "h.rank IN $ranks AND h.language IS NULL"
        text = f"{MATCH_STATEMENTS} WHERE {where} RETURN {SOURCED_COLUMNS}"
        params = {"ranks": [str(rank) for rank in ranks]}
        yield from self._stream(text, params, SOURCED_TRIPLE_SCHEMA)

    def sources(self) -> list[str]:
        """Return the sources of items and statements in order; what is only predicted has none."""
        rows = [
            row for text in FIND_SOURCES.values() for row in self._rows(text, SOURCE_PARAMETERS)
        ]
        names = (
            row["name"] if row["is_plain"] else written_source(row["name"])
            for row in rows
            if row["name"]
        )
        return sorted(set(names))

    def query(
        self,
        text: str,
        params: dict[str, Any] | None = None,
        timeout: float = DEFAULT_SECONDS,
        limits: QueryLimits = DEFAULT_LIMITS,
    ) -> QueryResult:
        """Run a read-only Cypher query, in a transaction in which the server refuses to write."""
        checked = checked_cypher(text, NEO4J)
        deadline = Deadline.after(timeout)

        def read_answer() -> QueryResult:
            """Run the query; the server, too, holds its transaction to the time limit."""
            with (
                self._server.translated_errors(timeout),
                self._server.session(read=True) as session,
                session.begin_transaction(timeout=timeout) as tx,
            ):
                try:
                    result = tx.run(checked, params or {})
                except (TypeError, ValueError, OverflowError, RecursionError) as error:
                    # The driver packs them in a format that has fewer values than Python.
                    raise unusable_parameters(error) from None
                columns = list(result.keys())
                rows = ([_json_value(value) for value in record.values()] for record in result)
                return QueryResult(columns, list(within_limits(rows, deadline, limits)))

        return deadline.run(read_answer)

    def counts(self) -> Counts:
        """Return the sizes of the graph."""
        (items,) = self._rows(COUNT_ITEMS)
        (row,) = self._rows(COUNT_STATEMENTS)
        return Counts(items["items"], row["statements"], row["properties"], row["texts"])

    def revision(self) -> str:
        """Return a text that changes whenever the content does, if Catalograph changes it."""
        rows = self._rows(GET_REVISION)
        return str(rows[0]["revision"] or "") if rows else ""

    def close(self) -> None:
        """Release the connections."""
        self._server.close()

    def _execute(self, text: str) -> None:
        self._write(lambda tx: tx.run(text).consume())

    def _write(self, work: Callable[[ManagedTransaction], ResultT]) -> ResultT:
        """Run ``work`` in a transaction, and repeat it if the server or the connection fails.

        The work may be carried out twice: see :meth:`_write_once`.
        """
        from neo4j.exceptions import IncompleteCommit

        with self._server.translated_errors():
            while True:
                # After every other failure it is the driver that repeats the work. After this one
                # the server may have committed before the connection was lost.
                with suppress(IncompleteCommit), self._server.session(read=False) as session:
                    return session.execute_write(work)

    def _once(self, work: Callable[[ManagedTransaction], PutReport]) -> PutReport:
        """Run ``work`` in a transaction that is carried out only once.

        If the server committed and only its answer was lost, the repetition finds the batch that it
        remembers, and returns the report of the first time.
        """
        batch = {"writer": self._writer, "batch": uuid.uuid4().hex}

        def work_unless_done(tx: ManagedTransaction) -> PutReport:
            """Do the work, unless the server remembers the batch."""
            (remembered,) = tx.run(BEGIN_BATCH, batch)
            if remembered["done"]:
                return PutReport(*remembered["report"])
            report = work(tx)
            tx.run(END_BATCH, {**batch, "report": list(astuple(report))}).consume()
            return report

        return self._write(work_unless_done)

    def _rows(self, text: str, params: dict[str, Any] | None = None) -> list[Row]:
        """Run a query; return its rows."""
        with self._server.translated_errors(), self._server.session(read=True) as session:
            return session.execute_read(lambda tx: tx.run(text, params or {}).data())

    def _stream(
        self, text: str, params: dict[str, Any], schema: pa.Schema
    ) -> Iterator[pa.RecordBatch]:
        """Run a query that returns the columns of a schema in order; yield its rows in batches."""
        # Not a managed transaction like the others: the driver would repeat that after a failure,
        # and rows that were yielded already would come twice.
        with (
            self._server.translated_errors(),
            self._server.session(read=True) as session,
            session.begin_transaction() as tx,
        ):
            result = tx.run(text, params)
            while rows := [record.values() for record in result.fetch(BATCH_ROWS)]:
                columns = zip(*rows, strict=True)
                arrays = [
                    pa.array(column, type)
                    for column, type in zip(columns, schema.types, strict=True)
                ]
                yield pa.record_batch(arrays, schema=schema)


def _rows_about(tx: ManagedTransaction, item_ids: Sequence[str]) -> StoredRows:
    """Return the rows of items, as far as there are any, and of their statements."""
    items = _find(tx, FIND_ITEMS, item_ids)
    return StoredRows(items, _find(tx, FIND_STATEMENTS, list(items)))


def _write(tx: ManagedTransaction, changes: pa.Table) -> None:
    """Write changes in JOURNAL_SCHEMA, and remember them."""
    batch = JournalBatch.from_table(changes)
    statements = batch.statements.to_pylist()
    existing = _find(tx, FIND_STATEMENT_IDS, [row["id"] for row in statements])
    new = [row for row in statements if row["id"] not in existing]
    # Both ends of a statement must be there before it: its MATCH would find nothing, and the query
    # create nothing, without an error.
    values = list(dict.fromkeys(row["value"] for row in new))
    _send(tx, PUT_ITEMS, [_item_properties(row) for row in batch.items.to_pylist()])
    _send(tx, MERGE_VALUES, values)
    _send(tx, CREATE_STATEMENTS, [_statement_list(row) for row in new])
    updated = [_statement_list(row) for row in statements if row["id"] in existing]
    _send(tx, UPDATE_STATEMENTS, updated)
    _send(tx, DELETE_STATEMENTS, batch.retracted)
    _send(tx, DELETE_ITEMS, batch.deleted)
    tx.run(LOG_CHANGES, changes=bytes_of_changes(changes))


def _find(tx: ManagedTransaction, text: str, ids: Sequence[str]) -> dict[str, Row]:
    """Run a query for some ids; return its rows by id."""
    rows: dict[str, Row] = {}
    for part in chunks(ids, ROWS_PER_QUERY):
        rows |= {row["id"]: row for row in tx.run(text, rows=part).data()}
    return rows


def _send(tx: ManagedTransaction, text: str, rows: Sequence[Any]) -> None:
    """Run a writing query for some rows, without waiting for its result.

    The next rows are packed while the server works on these; the commit waits for all of them.
    """
    for part in chunks(rows, ROWS_PER_QUERY):
        tx.run(text, rows=part)


def _item_properties(row: Row) -> Row:
    return {**row, "images": row["images"] or [], "image": first_image(row["images"])}


def _check_lengths(changes: pa.Table) -> None:
    """Raise DataError if a text of changes to write is too long for an index."""
    batch = JournalBatch.from_table(changes)
    _check_length("id", batch.items["id"].to_pylist())
    _check_length("item", batch.statements["item"].unique().to_pylist())
    _check_length("value", batch.statements["value"].unique().to_pylist())


def _check_length(name: str, texts: Iterable[str]) -> None:
    """Raise DataError if a text is too long for an index."""
    for text in texts:
        # A character takes at most four bytes in UTF-8, so most texts need not be encoded.
        if len(text) * 4 <= MAX_INDEXED_BYTES:
            continue
        size = len(text.encode())
        if size > MAX_INDEXED_BYTES:
            raise DataError(
                f"{name} {text[:40]!r}… is {size:,} bytes long, "
                f"and Neo4j's indexes take {MAX_INDEXED_BYTES:,}: shorten it"
            )


def _json_value(value: Any) -> Any:
    """Convert a value of the driver's to one that JSON can hold.

    Nodes and relationships become dictionaries of their properties, paths lists of both, and dates,
    times and durations text as in ISO 8601.
    """
    from neo4j.graph import Node, Path, Relationship
    from neo4j.spatial import Point
    from neo4j.time import Date, DateTime, Duration, Time

    match value:
        case Node() | Relationship():
            return {key: _json_value(each) for key, each in value.items()}
        case Path():
            return {
                "nodes": [_json_value(each) for each in value.nodes],
                "relationships": [_json_value(each) for each in value.relationships],
            }
        case Date() | DateTime() | Duration() | Time():
            return ZEROS.sub(lambda match: match[1].rstrip("."), value.iso_format())
        case Point():
            return {"srid": value.srid, "coordinates": list(value)}
        case bytes() | bytearray():
            return value.hex()
        case list():
            return [_json_value(each) for each in value]
        case dict():
            return {key: _json_value(each) for key, each in value.items()}
    return value


def open_url(url: str, *, create: bool, read_only: bool) -> Neo4jStore:
    """Connect to the server of ``neo4j://HOST[/DATABASE]``; its database must exist already."""
    return Neo4jStore(url, read_only=read_only)
