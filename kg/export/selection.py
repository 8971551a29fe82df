"""What is exported: a store's items and its statements of some ranks, counted as they go by."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa

from kg.stores.merge import Row
from kg.stores.protocol import GraphStore, Pattern
from schema.terms import Rank

Progress = Callable[[int, int], None]
"""Told (rows done, rows in all)."""


class Chosen:
    """A store's items, and its statements of some ranks (of all where none is named)."""

    def __init__(
        self, store: GraphStore, ranks: Sequence[Rank] = (), progress: Progress | None = None
    ) -> None:
        counts = store.counts()
        self.items = 0
        self.statements = 0
        self._store = store
        self._pattern = Pattern(ranks=tuple(ranks) or None)
        self._total = counts.items + counts.statements
        self._progress = progress or (lambda done, total: None)

    def item_batches(self) -> Iterator[pa.RecordBatch]:
        """The items, ordered by id."""
        for batch in self._store.items():
            self.items += batch.num_rows
            self._progress(self.items + self.statements, self._total)
            yield batch

    def statement_batches(self) -> Iterator[pa.RecordBatch]:
        """The statements, ordered by id."""
        for batch in self._store.scan(self._pattern):
            self.statements += batch.num_rows
            self._progress(self.items + self.statements, self._total)
            yield batch

    def item_rows(self) -> Iterator[Row]:
        """The items one by one."""
        return (row for batch in self.item_batches() for row in batch.to_pylist())

    def statement_rows(self) -> Iterator[Row]:
        """The statements one by one."""
        return (row for batch in self.statement_batches() for row in batch.to_pylist())
