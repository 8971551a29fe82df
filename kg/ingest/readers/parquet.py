"""Parquet: typed columns, which become text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kg.ingest.files import SourceFile
from kg.ingest.readers.base import Reader
from kg.ingest.readers.json_cells import cell_text
from kg.ingest.rows import Batch
from schema.arrays import BoolArray
from schema.errors import DataError
from schema.mapping import Head, Mapping
from schema.rejects import RejectedRow


class ParquetReader(Reader):
    """Reads Parquet; lists become multi-valued cells and structs columns with dotted names."""

    suffixes = (".parquet", ".pq")

    def head(self, file: SourceFile, mapping: Mapping | None = None) -> Head:
        """Return the names of the top-level columns."""
        import pyarrow.parquet as pq

        try:
            columns = pq.read_schema(file.path).names
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise _unreadable(file.path, error) from None
        return Head(file.name, (tuple(columns),), named=True)

    def batches(
        self, file: SourceFile, head: Head, mapping: Mapping, batch_rows: int
    ) -> Iterator[Batch]:
        """Read the rows in batches; the line of a row is its number, counted from 1."""
        import pyarrow.parquet as pq

        next_line = 1
        try:
            with pq.ParquetFile(file.path) as parquet:
                for record_batch in parquet.iter_batches(batch_rows):
                    table = pa.Table.from_batches([record_batch])
                    yield _text_batch(table, next_line, file.path)
                    next_line += table.num_rows
        except (pa.ArrowInvalid, OSError) as error:
            raise _unreadable(file.path, error) from None


def _unreadable(path: Path, error: Exception) -> DataError:
    reason = str(error).splitlines()[0]
    return DataError(f"{path} is not a readable Parquet file ({reason}): write it again")


def _text_batch(table: pa.Table, first_line: int, path: Path) -> Batch:
    lines = np.arange(first_line, first_line + table.num_rows, dtype=np.int64)
    invalid = _rows_with_invalid_text(table)
    rejects = [RejectedRow(str(path), int(line), "not valid UTF-8") for line in lines[invalid]]
    if rejects:
        table = table.filter(pa.array(~invalid))
    return Batch(_as_text_columns(table), lines[~invalid], rejects)


def _rows_with_invalid_text(table: pa.Table) -> BoolArray:
    """Return which rows hold text that is not UTF-8, which the writers of Parquet do not check."""
    invalid = np.zeros(table.num_rows, bool)
    for column in table.columns:
        try:
            column.validate(full=True)
        except pa.ArrowInvalid:
            # The error names one row at most, and all of them are needed.
            for row, cell in enumerate(column):
                try:
                    cell.as_py()
                except UnicodeDecodeError:
                    invalid[row] = True
    return invalid


def _as_text_columns(table: pa.Table) -> pa.Table:
    while any(pa.types.is_struct(field.type) for field in table.schema):
        table = table.flatten()
    return pa.table(
        {
            name: _as_text_column(column)
            for name, column in zip(table.column_names, table.columns, strict=True)
        }
    )


def _as_text_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    is_list = pa.types.is_list(column.type) or pa.types.is_large_list(column.type)
    if is_list or pa.types.is_floating(column.type):
        texts = [cell_text(value) for value in column.to_pylist()]
        return pa.chunked_array([pa.array(texts, pa.string())])
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return pc.cast(column, pa.string())


READER = ParquetReader()
