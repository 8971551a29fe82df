"""The part of a store that is exported, counted while it is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from kg.stores.protocol import GraphStore, Pattern
from kg.stores.tables import Row
from schema.progress import ProgressCallback, no_progress
from schema.spreadsheets import defused_column
from schema.terms import Rank


class Selection:
    """A store's items, and its statements of some ranks; without ranks, all statements.

    ``item_count`` and ``statement_count`` are the numbers of rows read so far, and ``defused`` is
    the number of their texts that were defused for spreadsheets. With ``keep_formulas`` none is.
    """

    def __init__(
        self,
        store: GraphStore,
        ranks: Sequence[Rank] = (),
        progress: ProgressCallback = no_progress,
        keep_formulas: bool = False,
    ) -> None:
        counts = store.counts()
        self.item_count = 0
        self.statement_count = 0
        self.defused = 0
        self.keep_formulas = keep_formulas
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

    def for_spreadsheets(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return a batch whose texts no spreadsheet takes for formulas, see ``defused_column``."""
        if self.keep_formulas:
            return batch
        columns = []
        for column in batch.columns:
            if pa.types.is_string(column.type):
                changed = defused_column(column)
                self.defused += changed.changed
                column = changed.column
            columns.append(column)
        return pa.record_batch(columns, schema=batch.schema)

    def _report_progress(self) -> None:
        self._progress(self.item_count + self.statement_count, self._total)
