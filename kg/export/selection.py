"""The part of a store that is exported, counted while it is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from kg.stores.protocol import GraphStore, Pattern
from kg.stores.tables import Row
from schema.progress import ProgressCallback, no_progress
from schema.terms import Rank


class Selection:
    """A store's items, and its statements of some ranks; without ranks, all statements.

    ``item_count`` and ``statement_count`` are the numbers of rows read so far.
    """

    def __init__(
        self,
        store: GraphStore,
        ranks: Sequence[Rank] = (),
        progress: ProgressCallback = no_progress,
    ) -> None:
        counts = store.counts()
        self.item_count = 0
        self.statement_count = 0
        self._store = store
        self._pattern = Pattern(ranks=tuple(ranks) or None)
        self._total = counts.items + counts.statements
        self._progress = progress

    def item_batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the items, ordered by id."""
        for batch in self._store.items():
            self.item_count += batch.num_rows
            self._report_progress()
            yield batch

    def statement_batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the statements, ordered by id."""
        for batch in self._store.scan(self._pattern):
            self.statement_count += batch.num_rows
            self._report_progress()
            yield batch

    def item_rows(self) -> Iterator[Row]:
        """Yield the items one by one."""
        return (row for batch in self.item_batches() for row in batch.to_pylist())

    def statement_rows(self) -> Iterator[Row]:
        """Yield the statements one by one."""
        return (row for batch in self.statement_batches() for row in batch.to_pylist())

    def _report_progress(self) -> None:
        self._progress(self.item_count + self.statement_count, self._total)
