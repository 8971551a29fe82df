"""The reference store: plain dictionaries in memory."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any

import pyarrow as pa

from kg.stores.journal import ChangeOrigin, JournalBatch, changes_table
from kg.stores.merge import Changes, StoredRows
from kg.stores.protocol import (
    EVERYTHING,
    ChangeBatch,
    Counts,
    GraphStore,
    Pattern,
    PutReport,
    QueryResult,
)
from kg.stores.query_limits import DEFAULT_LIMITS, DEFAULT_SECONDS, QueryLimits
from kg.stores.references import sources_of
from kg.stores.tables import (
    ITEM_SCHEMA,
    SOURCED_TRIPLE_SCHEMA,
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
        self._versions: dict[str, int] = {}
        self._items: dict[str, Row] = {}
        self._statements: dict[str, Row] = {}
        self._changes: list[pa.Table] = []

    def retract(self, statement_ids: Sequence[str], *, run: str = "") -> int:
        """Remove statements; return how many of them the store had."""
        present = {
            id: self._statements[id]["item"] for id in statement_ids if id in self._statements
        }
        self._write(Changes(retracted=present), run)
        return len(present)

    def append(self, changes: pa.Table) -> None:
        """Write changes in JOURNAL_SCHEMA."""
        batch = JournalBatch.from_table(changes)
        self._items |= {row["id"]: row for row in batch.items.to_pylist()}
        self._statements |= {row["id"]: row for row in batch.statements.to_pylist()}
        for id in batch.retracted:
            self._statements.pop(id, None)
        for id in batch.deleted:
            self._items.pop(id, None)
        self._changes.append(changes)
        self._revision = uuid.uuid4().hex
        self._versions[self._revision] = len(self._changes) - 1

    def changes(self, since: int = -1) -> Iterator[ChangeBatch]:
        """Yield what was written after a version, in order."""
        for version in range(since + 1, len(self._changes)):
            yield ChangeBatch.of(version, self._changes[version])

    def change(
        self,
        item_ids: Sequence[str],
        changes: Callable[[StoredRows], Changes],
        *,
        run: str = "",
    ) -> PutReport:
        """Write what ``changes`` returns for the rows about some items."""
        made = changes(self.rows_about(item_ids))
        self._write(made, run)
        return PutReport.of(made)

    def rows_about(self, item_ids: Sequence[str]) -> StoredRows:
        """Return the rows of items, as far as there are any, and of their statements."""
        wanted = set(item_ids)
        return StoredRows(
            {id: row for id, row in self._items.items() if id in wanted},
            {id: row for id, row in self._statements.items() if row["item"] in wanted},
        )

    def _write(self, changes: Changes, run: str) -> None:
        if changes:
            self.append(changes_table(changes, ChangeOrigin.of(run)))

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
        yield from self._in_leading_language(ranks).select(TRIPLE_SCHEMA.names).to_batches()

    def sourced_triples(self, ranks: Sequence[Rank]) -> Iterator[pa.RecordBatch]:
        """Yield the statements of some ranks with what decides between sources."""
        yield from self._in_leading_language(ranks).select(SOURCED_TRIPLE_SCHEMA.names).to_batches()

    def _in_leading_language(self, ranks: Sequence[Rank]) -> pa.Table:
        rows = [
            row
            for row in self._statements.values()
            if row["rank"] in ranks and row["language"] is None
        ]
        return pa.Table.from_pylist(rows, schema=STATEMENT_SCHEMA)

    def sources(self) -> list[str]:
        """Return the sources of items and statements in order; what is only predicted has none."""
        names: set[str] = set()
        for row in chain(self._items.values(), self._statements.values()):
            if row["references"] is not None:
                names |= sources_of(row["references"])
            elif row["source"] and row.get("rank") != Rank.PREDICTED:
                names.add(row["source"])
        return sorted(names)

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

    def version_at(self, revision: str) -> int | None:
        """Return the version of the history at a revision."""
        return self._versions.get(revision)

    def close(self) -> None:
        """Do nothing: there is nothing to release."""


def open_url(url: str, *, create: bool, read_only: bool) -> MemoryStore:
    """Return a new, empty store, whatever the arguments."""
    return MemoryStore()
