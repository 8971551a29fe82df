"""The reference store: plain dictionaries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from kg.stores.merge import Row, changes_of, graph_hash
from kg.stores.protocol import Counts, Pattern, PutReport, QueryResult
from kg.stores.tables import ITEM_SCHEMA, STATEMENT_SCHEMA, TRIPLE_SCHEMA, item_of, rows_to_put
from schema.errors import StoreError
from schema.terms import Item, Rank, Statement


class MemoryStore:
    """Keeps everything in memory and forgets it on close; the behaviour that other stores are held to."""

    def __init__(self) -> None:
        self.url = "memory:"
        self._items: dict[str, Row] = {}
        self._statements: dict[str, Row] = {}

    def put(self, items: pa.Table | None, statements: pa.Table | None) -> PutReport:
        """Add or update a batch, all or nothing."""
        given, facts = rows_to_put(items, statements)
        changed = changes_of(given, facts, self._items, self._statements)
        self._items |= {row["id"]: row for row in changed.items}
        self._statements |= {row["id"]: row for row in changed.statements}
        return PutReport(len(changed.new_items), len(changed.new_statements))

    def retract(self, statement_ids: Sequence[str]) -> int:
        """Take statements out; how many were there."""
        return sum(
            self._statements.pop(name, None) is not None for name in dict.fromkeys(statement_ids)
        )

    def item(self, id: str) -> tuple[Item, list[Statement]] | None:
        """An item with its statements, or None."""
        row = self._items.get(id)
        if row is None:
            return None
        return item_of(row, (fact for fact in self._statements.values() if fact["item"] == id))

    def items(self) -> Iterator[pa.RecordBatch]:
        """All items, ordered by id."""
        rows = [self._items[name] for name in sorted(self._items)]
        yield from pa.Table.from_pylist(rows, schema=ITEM_SCHEMA).to_batches()

    def scan(self, pattern: Pattern = Pattern()) -> Iterator[pa.RecordBatch]:  # noqa: B008 - immutable
        """Statements that match, ordered by id."""
        wanted = {
            name: value
            for name in ("item", "property", "value")
            if (value := getattr(pattern, name)) is not None
        }
        rows = [
            row
            for _, row in sorted(self._statements.items())
            if all(row[name] == value for name, value in wanted.items())
            and (pattern.ranks is None or row["rank"] in pattern.ranks)
        ]
        yield from pa.Table.from_pylist(rows, schema=STATEMENT_SCHEMA).to_batches()

    def triples(self, ranks: Sequence[Rank]) -> Iterator[pa.RecordBatch]:
        """Statements of some ranks."""
        rows = [row for row in self._statements.values() if row["rank"] in ranks]
        yield from (
            pa.Table.from_pylist(rows, schema=STATEMENT_SCHEMA)
            .select(TRIPLE_SCHEMA.names)
            .to_batches()
        )

    def query(
        self, text: str, params: dict[str, Any] | None = None, timeout: float = 30.0
    ) -> QueryResult:
        """The memory store has no query language; raises StoreError."""
        raise StoreError("the memory store answers no Cypher: use --store ladybug:PATH")

    def counts(self) -> Counts:
        """Sizes of the graph."""
        facts = self._statements.values()
        return Counts(
            len(self._items),
            len(facts),
            len({s["property"] for s in facts}),
            len({s["value"] for s in facts}),
        )

    def content_hash(self) -> str:
        """A hash of the graph's content."""
        return graph_hash(self.items(), self.scan())

    def close(self) -> None:
        """Nothing to release."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_url(url: str, *, create: bool, read_only: bool) -> MemoryStore:
    """A new, empty store, whatever is asked of it."""
    return MemoryStore()
