"""Parquet: typed columns, which become text, and nested ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa

from kg.ingest.files import SourceFile
from kg.ingest.records import HEAD_RECORDS, RecordReader
from kg.ingest.rows import Batch, Record
from schema.errors import DataError
from schema.mapping import Head, Mapping
from schema.rejects import RejectedRow

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

_MAX_BATCH_ROWS = 10_000


class ParquetReader(RecordReader):
    """Reads Parquet: a table of text, or with lists, maps or structs nested records."""

    suffixes = (".parquet", ".pq")
    is_divided = True

    def head(self, file: SourceFile, mapping: Mapping | None = None) -> Head:
        """Return the names of the columns, of nested records as in the first rows."""
        from kg.ingest.arrow_rows import choose_columns, table_head

        with _opened(file) as parquet:
            first = _first_rows(parquet)
            columns = choose_columns(parquet.schema_arrow, first)
            return table_head(file, first, columns)

    def batches(
        self, file: SourceFile, head: Head, mapping: Mapping, batch_rows: int
    ) -> Iterator[Batch]:
        """Read the rows in batches; the line of a row is its number, counted from 1."""
        from kg.ingest.arrow_rows import arrow_batches, choose_columns

        if head.nested:
            yield from super().batches(file, head, mapping, batch_rows)
            return
        with _opened(file) as parquet:
            columns = choose_columns(parquet.schema_arrow, _first_rows(parquet))
            tables = _tables(parquet, list(columns.positions), batch_rows)
            yield from arrow_batches(tables, columns, file)

    def records(self, file: SourceFile, path: str = "") -> Iterator[Record | RejectedRow]:
        """Read the rows as nested records, numbered from 1."""
        from kg.ingest.arrow_rows import arrow_records, choose_columns

        with _opened(file) as parquet:
            columns = choose_columns(parquet.schema_arrow, _first_rows(parquet))
            tables = _tables(parquet, list(columns.positions), _MAX_BATCH_ROWS)
            yield from arrow_records(tables, columns, file)


@contextmanager
def _opened(file: SourceFile) -> Iterator[ParquetFile]:
    """Open a Parquet file; what is wrong with it is a DataError, also while it is read."""
    from pyarrow.parquet import ParquetFile

    with file.on_disk() as path:
        try:
            with ParquetFile(path) as parquet:
                yield parquet
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise DataError(
                f"{file.location} is not a readable Parquet file ({reason}): write it again"
            ) from None


def _first_rows(parquet: ParquetFile) -> pa.Table:
    for record_batch in parquet.iter_batches(HEAD_RECORDS):
        return pa.Table.from_batches([record_batch])
    return parquet.schema_arrow.empty_table()


def _tables(parquet: ParquetFile, positions: list[int], batch_rows: int) -> Iterator[pa.Table]:
    # Selected by position after reading: names may repeat, and a reader takes only names.
    for record_batch in parquet.iter_batches(min(batch_rows, _MAX_BATCH_ROWS)):
        yield pa.Table.from_batches([record_batch]).select(positions)


READER = ParquetReader()
