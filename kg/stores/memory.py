"""The reference store: plain dictionaries in memory."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from kg.stores.merge import PutBatch, StoredRows, changes_of
from kg.stores.protocol import EVERYTHING, Counts, GraphStore, Pattern, PutReport, QueryResult
from kg.stores.query_limits import DEFAULT_LIMITS, DEFAULT_SECONDS, QueryLimits
from kg.stores.tables import (
    ITEM_SCHEMA,
    STATEMENT_SCHEMA,
    TRIPLE_SCHEMA,
    Row,
    item_from_row,
    statements_from_rows,
)
from schema.errors import StoreError
from schema.terms import Item, Rank, Statement


class MemoryStore(GraphStore):
    """A store that forgets everything on close; the tests hold the others to its behaviour."""

    def __init__(self) -> None:
        self.url = "memory:"
        self._revision = ""
        self._items: dict[str, Row] = {}
        self._statements: dict[str, Row] = {}

    def put(self, items: pa.Table | None, statements: pa.Table | None) -> PutReport:
        """Add or update a batch, all or nothing."""
        batch = PutBatch.from_tables(items, statements)
        changes = changes_of(batch, StoredRows(self._items, self._statements))
        if changes.items or changes.statements:
            self._revision = uuid.uuid4().hex
        self._items |= {row["id"]: row for row in changes.items}
        self._statements |= {row["id"]: row for row in changes.statements}
        return PutReport(len(changes.new_items), len(changes.new_statements))

    def retract(self, statement_ids: Sequence[str]) -> int:
        """Remove statements; return how many of them the store had."""
        present = [id for id in dict.fromkeys(statement_ids) if id in self._statements]
        for id in present:
            del self._statements[id]
            self._revision = uuid.uuid4().hex
        return len(present)

    def item(self, id: str) -> tuple[Item, list[Statement]] | None:
        """Return an item and its statements, or None."""
        row = self._items.get(id)
        if row is None:
            return None
        statements = (each for each in self._statements.values() if each["item"] == id)
        return item_from_row(row), statements_from_rows(statements)

    def items(self) -> Iterator[pa.RecordBatch]:
        """Yield all items, ordered by id."""
        rows = [self._items[id] for id in sorted(self._items)]
        yield from pa.Table.from_pylist(rows, schema=ITEM_SCHEMA).to_batches()

    def scan(self, pattern: Pattern = EVERYTHING) -> Iterator[pa.RecordBatch]:
        """Yield the statements that match, ordered by id."""
        texts = pattern.texts()
        rows = [
            row
            for _, row in sorted(self._statements.items())
            if all(row[name] == text for name, text in texts.items())
            and (pattern.ranks is None or row["rank"] in pattern.ranks)
        ]
        yield from pa.Table.from_pylist(rows, schema=STATEMENT_SCHEMA).to_batches()

    def triples(self, ranks: Sequence[Rank]) -> Iterator[pa.RecordBatch]:
        """Yield the statements of some ranks."""
        rows = [
            row
            for row in self._statements.values()
            if row["rank"] in ranks and row["language"] is None
        ]
        table = pa.Table.from_pylist(rows, schema=STATEMENT_SCHEMA)
        yield from table.select(TRIPLE_SCHEMA.names).to_batches()

    def query(
        self,
        text: str,
        params: dict[str, Any] | None = None,
        timeout: float = DEFAULT_SECONDS,
        limits: QueryLimits = DEFAULT_LIMITS,
    ) -> QueryResult:
        """Raise StoreError: the memory store has no query language."""
        raise StoreError("the memory store answers no Cypher: use --store ladybug:PATH")

    def counts(self) -> Counts:
        """Return the sizes of the graph."""
        rows = self._statements.values()
        return Counts(
            items=len(self._items),
            statements=len(rows),
            properties=len({row["property"] for row in rows}),
            values=len({row["value"] for row in rows}),
        )

    def revision(self) -> str:
        """Return a text that changes whenever the content does."""
        return self._revision

    def close(self) -> None:
        """Do nothing: there is nothing to release."""


def open_url(url: str, *, create: bool, read_only: bool) -> MemoryStore:
    """Return a new, empty store, whatever the arguments."""
    return MemoryStore()
