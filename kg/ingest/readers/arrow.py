"""Arrow IPC, files or streams, and Feather, which is the same under another name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from kg.ingest.files import SourceFile
from kg.ingest.records import RecordReader
from kg.ingest.rows import Batch, Record
from schema.errors import DataError
from schema.mapping import Head, Mapping
from schema.rejects import RejectedRow


class ArrowReader(RecordReader):
    """Reads the same types as the reader of Parquet does, and in the same way."""

    suffixes = (".arrow", ".feather", ".ipc")
    is_divided = True

    def head(self, file: SourceFile, mapping: Mapping | None = None) -> Head:
        """Return the names of the columns, of nested records as in the first batch."""
        from kg.ingest.arrow_rows import choose_columns, table_head

        with _tables(file) as (schema, tables):
            first = next(tables, schema.empty_table())
            columns = choose_columns(schema, first)
            return table_head(file, first, columns)

    def batches(
        self, file: SourceFile, head: Head, mapping: Mapping, batch_rows: int
    ) -> Iterator[Batch]:
        """Read the rows in batches; the line of a row is its number, counted from 1."""
        from kg.ingest.arrow_rows import arrow_batches, choose_columns

        if head.nested:
            yield from super().batches(file, head, mapping, batch_rows)
            return
        with _tables(file) as (schema, tables):
            first = next(tables, schema.empty_table())
            columns = choose_columns(schema, first)
            positions = list(columns.positions)
            parts = (
                table.slice(start, batch_rows).select(positions)
                for table in _chain(first, tables)
                for start in range(0, table.num_rows, batch_rows)
            )
            yield from arrow_batches(parts, columns, file)

    def records(self, file: SourceFile, path: str = "") -> Iterator[Record | RejectedRow]:
        """Read the rows as nested records, numbered from 1."""
        from kg.ingest.arrow_rows import arrow_records, choose_columns

        with _tables(file) as (schema, tables):
            first = next(tables, schema.empty_table())
            columns = choose_columns(schema, first)
            selected = (table.select(list(columns.positions)) for table in _chain(first, tables))
            yield from arrow_records(selected, columns, file)


def _chain(first: pa.Table, rest: Iterator[pa.Table]) -> Iterator[pa.Table]:
    yield first
    yield from rest


@contextmanager
def _tables(file: SourceFile) -> Iterator[tuple[pa.Schema, Iterator[pa.Table]]]:
    """Open a file's schema and its tables; what is wrong with it is a DataError."""
    with file.on_disk() as path:
        try:
            with pa.OSFile(str(path)) as stream:
                yield _read(stream)
        except (pa.ArrowException, OSError, UnicodeDecodeError, MemoryError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise DataError(
                f"{file.location} is not a readable Arrow file ({reason}): write it again"
            ) from None


def _read(stream: pa.NativeFile) -> tuple[pa.Schema, Iterator[pa.Table]]:
    start = stream.read(6)
    stream.seek(0)
    if start.startswith(b"FEA1"):
        raise pa.ArrowInvalid("Feather version 1, which is obsolete")
    if start == b"ARROW1":
        reader = pa.ipc.open_file(stream)
        batches = (reader.get_batch(number) for number in range(reader.num_record_batches))
        return reader.schema, _valid(batches)
    stream_reader = pa.ipc.open_stream(stream)
    return stream_reader.schema, _valid(iter(stream_reader))


def _valid(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    for batch in batches:
        for column in batch.columns:
            _check(column)
        yield pa.Table.from_batches([batch])


def _check(column: pa.Array) -> None:
    """Raise ArrowInvalid if a column has offsets that lead out of its buffers, as damage may.

    They would be followed otherwise, and end the process. Rows of text that is not UTF-8 are
    rejected later, one by one.
    """
    try:
        column.validate(full=True)
    except pa.ArrowInvalid as error:
        is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
        # Offsets are checked before the text that they delimit.
        if not is_text or "UTF8" not in str(error):
            raise


READER = ArrowReader()
