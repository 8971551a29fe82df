"""A Neo4j database as a store: the same property graph as the embedded one, so that one Cypher query runs on both."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from operator import itemgetter
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import pyarrow as pa

from kg.stores.cypher_guard import guard
from kg.stores.merge import Row, changes_of, graph_hash
from kg.stores.neo4j_server import Address, Limits, connect, said
from kg.stores.protocol import Counts, Pattern, PutReport, QueryResult
from kg.stores.tables import ITEM_SCHEMA, STATEMENT_SCHEMA, TRIPLE_SCHEMA, item_of, rows_to_put
from schema.errors import DataError
from schema.terms import Item, Rank, Statement

if TYPE_CHECKING:
    from neo4j import ManagedTransaction

T = TypeVar("T")
FETCH = 5_000
BATCH_ROWS = 65_536
ROWS_AT_ONCE = 10_000
LONGEST = 8_000
"""Bytes of an item's id or of a value: what an index of Neo4j takes."""
LAYOUT = (
    "CREATE CONSTRAINT catalograph_item IF NOT EXISTS FOR (i:Item) REQUIRE i.id IS UNIQUE",
    "CREATE CONSTRAINT catalograph_value IF NOT EXISTS FOR (v:Value) REQUIRE v.text IS UNIQUE",
    "CREATE CONSTRAINT catalograph_statement IF NOT EXISTS FOR ()-[h:HAS]-() REQUIRE h.id IS UNIQUE",
    "CREATE CONSTRAINT catalograph_writer IF NOT EXISTS FOR (w:CatalographWriter) REQUIRE w.name IS UNIQUE",
    "CREATE INDEX catalograph_property IF NOT EXISTS FOR ()-[h:HAS]-() ON (h.property)",
)
ABOUT = [name for name in STATEMENT_SCHEMA.names if name not in ("item", "value")]
ITEM = "i.id AS id, i.title AS title, i.category AS category, coalesce(i.images, []) AS images"
SELECT = "h.id AS id, i.id AS item, h.property AS property, v.text AS value, " + ", ".join(
    f"h.{name} AS {name}" for name in ABOUT[2:]
)
# Every writer touches one node, whose lock makes them wait for each other, and remembers its last batch on its own.
TOUCH = """
MERGE (all:CatalographWriter {name: 'all'}) SET all.batch = $batch
MERGE (w:CatalographWriter {name: $writer})
RETURN w.batch = $batch AS done, w.first AS first, w.second AS second
"""
REMEMBER = "MATCH (w:CatalographWriter {name: $writer}) SET w.batch = $batch, w.first = $first, w.second = $second"
NEW_ITEMS = "UNWIND $rows AS row CREATE (i:Item) SET i = row"
CHANGED_ITEMS = "UNWIND $rows AS row MATCH (i:Item {id: row.id}) SET i = row"
VALUES = "UNWIND $rows AS row MERGE (:Value {text: row})"
# A row is a list, item and value first: maps would send every name with every row, and take a third longer.
_edge = itemgetter("item", "value", *ABOUT)
MAP = "{" + ", ".join(f"{name}: row[{place}]" for place, name in enumerate(ABOUT, 2)) + "}"
NEW_FACTS = f"UNWIND $rows AS row MATCH (i:Item {{id: row[0]}}) MATCH (v:Value {{text: row[1]}}) CREATE (i)-[:HAS {MAP}]->(v)"
CHANGED_FACTS = f"UNWIND $rows AS row MATCH (:Item)-[h:HAS {{id: row[2]}}]->(:Value) SET h = {MAP}"


class Neo4jStore:
    """A graph at ``neo4j://HOST[:PORT][/DATABASE]`` or ``bolt://…``; constraints and indexes are made when it is opened to be written."""

    def __init__(self, url: str, *, read_only: bool = False) -> None:
        self.address = Address.parse(url)
        self.writer = uuid.uuid4().hex
        self.url = str(self.address)
        self._driver = connect(self.address, Limits.from_environment())
        try:
            for text in () if read_only else LAYOUT:
                self._write(partial(_run_text, text))
        except BaseException:
            self.close()
            raise

    def put(self, items: pa.Table | None, statements: pa.Table | None) -> PutReport:
        """Add or update a batch in one transaction."""
        given, facts = rows_to_put(items, statements)
        for name, texts in (
            ("id", given),
            ("item", (row["item"] for row in facts)),
            ("value", (row["value"] for row in facts)),
        ):
            _check_length(name, texts)
        return PutReport(*self._once(lambda tx: _put(tx, given, facts)))

    def retract(self, statement_ids: Sequence[str]) -> int:
        """Take statements out; how many were there."""
        wanted = list(dict.fromkeys(statement_ids))
        text = "UNWIND $rows AS row MATCH (:Item)-[h:HAS {id: row}]->(:Value) DELETE h RETURN count(*) AS n"
        return self._once(
            lambda tx: (
                sum(row["n"] for part in _parts(wanted) for row in tx.run(text, rows=part)),
                0,
            )
        )[0]

    def item(self, id: str) -> tuple[Item, list[Statement]] | None:
        """An item with its statements, or None."""
        found = self._rows(f"MATCH (i:Item {{id: $id}}) RETURN {ITEM}", {"id": id})
        if not found:
            return None
        facts = self._rows(
            f"MATCH (i:Item {{id: $id}})-[h:HAS]->(v:Value) RETURN {SELECT}", {"id": id}
        )
        return item_of(found[0], facts)

    def items(self) -> Iterator[pa.RecordBatch]:
        """All items, ordered by id."""
        # The comparison lets the index give the order, which else a sort of everything would.
        yield from self._stream(
            f"MATCH (i:Item) WHERE i.id >= '' RETURN {ITEM} ORDER BY i.id", {}, ITEM_SCHEMA
        )

    def scan(self, pattern: Pattern = Pattern()) -> Iterator[pa.RecordBatch]:  # noqa: B008 - immutable
        """Statements that match, ordered by id."""
        columns = {"item": "i.id", "property": "h.property", "value": "v.text"}
        params: dict[str, Any] = {
            name: value for name in columns if (value := getattr(pattern, name)) is not None
        }
        wheres = [f"{columns[name]} = ${name}" for name in params] or ["h.id >= ''"]
        if pattern.ranks is not None:
            wheres.append("h.rank IN $ranks")
            params["ranks"] = [str(rank) for rank in pattern.ranks]
        text = f"MATCH (i:Item)-[h:HAS]->(v:Value) WHERE {' AND '.join(wheres)} RETURN {SELECT} ORDER BY h.id"
        yield from self._stream(text, params, STATEMENT_SCHEMA)

    def triples(self, ranks: Sequence[Rank]) -> Iterator[pa.RecordBatch]:
        """Statements of some ranks."""
        text = "MATCH (i:Item)-[h:HAS]->(v:Value) WHERE h.rank IN $ranks RETURN i.id AS item, h.property AS property, v.text AS value"
        yield from self._stream(text, {"ranks": [str(rank) for rank in ranks]}, TRIPLE_SCHEMA)

    def query(
        self, text: str, params: dict[str, Any] | None = None, timeout: float = 30.0
    ) -> QueryResult:
        """A read-only Cypher query, in a transaction that the server itself holds to reading."""
        guarded = guard(text)
        with (
            self._said(timeout),
            self._session(read=True) as session,
            session.begin_transaction(timeout=timeout) as tx,
        ):
            result = tx.run(guarded, params or {})
            return QueryResult(
                list(result.keys()),
                [[_plain(value) for value in record.values()] for record in result],
            )

    def counts(self) -> Counts:
        """Sizes of the graph."""
        text = "MATCH (:Item)-[h:HAS]->(v:Value) RETURN count(h) AS s, count(DISTINCT h.property) AS p, count(DISTINCT v.text) AS v"
        (items,) = self._rows("MATCH (i:Item) RETURN count(i) AS n", {})
        (row,) = self._rows(text, {})
        return Counts(items["n"], row["s"], row["p"], row["v"])

    def content_hash(self) -> str:
        """A hash of the graph's content."""
        return graph_hash(self.items(), self.scan())

    def close(self) -> None:
        """Release the connections."""
        self._driver.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _session(self, read: bool) -> Any:
        return self._driver.session(
            database=self.address.database,
            default_access_mode="READ" if read else "WRITE",
            fetch_size=FETCH,
        )

    def _said(self, timeout: float | None = None) -> Any:
        return said(self.address, timeout=timeout)

    def _write(self, work: Callable[[ManagedTransaction], T]) -> T:
        """Do ``work``, which may be done twice, in a transaction that is repeated where the server or the way to it failed."""
        from neo4j.exceptions import IncompleteCommit

        with self._said():
            while True:
                # The driver repeats all but this: whether the server had committed when it went is not known.
                with suppress(IncompleteCommit), self._session(read=False) as session:
                    done: T = session.execute_write(work)
                    return done

    def _once(self, work: Callable[[ManagedTransaction], tuple[int, int]]) -> tuple[int, int]:
        """Do ``work`` and give its two counts, in a transaction that is repeated where the server or the way to it failed.

        Where it was carried out and only the answer was lost, the repetition finds the batch and gives the counts of the first time.
        """
        batch = {"writer": self.writer, "batch": uuid.uuid4().hex}

        def attempt(tx: ManagedTransaction) -> tuple[int, int]:
            (before,) = tx.run(TOUCH, batch)
            if before["done"]:
                return before["first"], before["second"]
            first, second = work(tx)
            tx.run(REMEMBER, {**batch, "first": first, "second": second}).consume()
            return first, second

        return self._write(attempt)

    def _rows(self, text: str, params: dict[str, Any]) -> list[Row]:
        with self._said(), self._session(read=True) as session:
            rows: list[Row] = session.execute_read(lambda tx: tx.run(text, params).data())
            return rows

    def _stream(
        self, text: str, params: dict[str, Any], schema: pa.Schema
    ) -> Iterator[pa.RecordBatch]:
        """A query's rows, as many in memory as make a batch."""
        with self._said(), self._session(read=True) as session, session.begin_transaction() as tx:
            result = tx.run(text, params)
            while rows := [record.values() for record in result.fetch(BATCH_ROWS)]:
                columns = zip(*rows, strict=True)
                yield pa.record_batch(
                    [
                        pa.array(column, kind)
                        for column, kind in zip(columns, schema.types, strict=True)
                    ],
                    schema=schema,
                )


def _put(tx: ManagedTransaction, given: dict[str, Row], facts: list[Row]) -> tuple[int, int]:
    """Write what a batch changes; how many of its items and statements are new."""
    names = list(dict.fromkeys([*given, *(row["item"] for row in facts)]))
    items = _known(tx, f"UNWIND $rows AS row MATCH (i:Item {{id: row}}) RETURN {ITEM}", names)
    # Of an item that is not there nothing is known.
    ids = [row["id"] for row in facts if row["item"] in items]
    # Most are new: to ask first which are there, with neither end looked at, takes half as long.
    there = _known(tx, "UNWIND $rows AS row MATCH ()-[h:HAS {id: row}]->() RETURN h.id AS id", ids)
    old = _known(
        tx,
        f"UNWIND $rows AS row MATCH (i:Item)-[h:HAS {{id: row}}]->(v:Value) RETURN {SELECT}",
        list(there),
    )
    changed = changes_of(given, facts, items, old)
    _run(tx, NEW_ITEMS, [_node(row) for row in changed.new_items])
    _run(tx, CHANGED_ITEMS, [_node(row) for row in changed.old_items])
    _run(tx, VALUES, list(dict.fromkeys(row["value"] for row in changed.new_statements)))
    _run(tx, NEW_FACTS, list(map(_edge, changed.new_statements)))
    _run(tx, CHANGED_FACTS, list(map(_edge, changed.old_statements)))
    return len(changed.new_items), len(changed.new_statements)


def _run_text(text: str, tx: ManagedTransaction) -> None:
    tx.run(text).consume()


def _known(tx: ManagedTransaction, text: str, names: Sequence[str]) -> dict[str, Row]:
    return {row["id"]: row for part in _parts(names) for row in tx.run(text, rows=part).data()}


def _run(tx: ManagedTransaction, text: str, rows: Sequence[Any]) -> None:
    """Write rows, without waiting for the last part: the next is packed while the server works, and the commit waits for all."""
    for part in _parts(rows):
        tx.run(text, rows=part)


def _parts(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    return (rows[start : start + ROWS_AT_ONCE] for start in range(0, len(rows), ROWS_AT_ONCE))


def _node(row: Row) -> Row:
    images = row["images"] or []
    return {
        **{name: row[name] for name in ("id", "title", "category")},
        "images": images,
        "image": images[0] if images else None,
    }


def _check_length(name: str, texts: Any) -> None:
    for text in texts:
        if len(text) * 4 > LONGEST and len(text.encode()) > LONGEST:
            size = len(text.encode())
            raise DataError(
                f"{name} {text[:40]!r}… is {size:,} bytes long, and Neo4j's indexes take {LONGEST:,}: shorten it"
            )


def _plain(value: Any) -> Any:
    """A value of the driver's as JSON has it: nodes and relationships by their properties."""
    if hasattr(value, "items") and not isinstance(value, dict):
        return dict(value.items())
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return {key: _plain(each) for key, each in value.items()} if isinstance(value, dict) else value


def open_url(url: str, *, create: bool, read_only: bool) -> Neo4jStore:
    """Connect to the server of ``neo4j://HOST[/DATABASE]``; its database must exist already."""
    return Neo4jStore(url, read_only=read_only)
