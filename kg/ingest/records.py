"""Readers of records, the nested values of JSON, XML and the like, and records in batches.

An ingest flattens records by a mapping (:mod:`kg.ingest.flatten`). For all others they are rows of
a table, flattened in the same way: the texts of one cell are joined by ``LIST_SEPARATOR``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
import pyarrow as pa

from kg.ingest.columns import Rows, reject
from kg.ingest.files import SourceFile
from kg.ingest.flatten import UNMAPPED, Flattener
from kg.ingest.readers.base import Reader
from kg.ingest.rows import Batch, Record, RecordBatch
from kg.ingest.values.text import LIST_SEPARATOR
from schema.errors import DataError
from schema.mapping import Head, Mapping
from schema.rejects import RejectedRow

if TYPE_CHECKING:
    from kg.ingest.source import Source

ElementT = TypeVar("ElementT")

BATCH_RECORDS = 2_000
MAX_BATCH_SIZE = 16_000_000
"""About how much a batch of records may hold: characters, and eight for every other value."""
HEAD_RECORDS = 50
MAX_BATCH_CELLS = 2_000_000
"""A batch is a table, whose rows all have the columns of each: so many cells fit into memory."""
TEXT_MEMBER = "#text"
"""The member with the text of an XML element that has more than text."""


class RecordReader(Reader):
    """Reads a format whose rows are nested, or may be: then the head says whether they are."""

    @abstractmethod
    def records(self, file: SourceFile, path: str) -> Iterator[Record | RejectedRow]:
        """Read the records of a file in its order, and the rows that are none.

        ``path`` is the place of the records in the document, as ``find_records`` returns it. Raises
        DataError if the rest of the file cannot be read.
        """

    def find_records(self, file: SourceFile) -> str:
        """Return the place of the records in a document, like ``channel/item``; "" for its top.

        Raises DataError if there are none.
        """
        return ""

    def head(self, file: SourceFile, mapping: Mapping | None = None) -> Head:
        """Return the names of the columns of the first records that have values."""
        path = mapping.records if mapping is not None and mapping.records else None
        if path is None:
            status = file.path.stat()
            path = _place(self, file, status.st_mtime_ns, status.st_size)
        batches = _gathered(self.records(file, path), HEAD_RECORDS)
        first = next(batches, RecordBatch())
        rows = Flattener(UNMAPPED).rows(first.records)
        names = tuple(rows.names())
        if not names:
            # What comes before damage is read, and the damage is reported then: here, if nothing
            # comes before it.
            next(batches, None)
            rejects = [*first.rejects, *_rejects(rows, file)]
            raise DataError(self._no_record(file, path, rejects))
        return Head(file.name, (names,), named=True, nested=True, records=path)

    def columns(self, head: Head, mapping: Mapping) -> tuple[str, ...]:
        """Return the names of the columns, which are distinct by nature."""
        return head.rows[0]

    def batches(
        self, file: SourceFile, head: Head, mapping: Mapping, batch_rows: int
    ) -> Iterator[Batch]:
        """Read the records in batches; each is one row, with the variants that it lists.

        A batch has the columns of the head and those that first occur in its own records. If the
        rest of the file cannot be read, the batch before is yielded first.
        """
        single = replace(mapping, variants=None)
        records = self.records(file, mapping.records or head.records)
        for batch in _gathered(records, min(batch_rows, BATCH_RECORDS)):
            rejects = batch.rejects
            for table in _tables(batch.records, single, head.rows[0], file):
                table.rejects = sorted((*rejects, *table.rejects), key=lambda row: row.line)
                rejects = []
                yield table

    def _no_record(self, file: SourceFile, path: str, rejects: Sequence[RejectedRow]) -> str:
        place = f" at {path!r}" if path else ""
        first = min(rejects, key=lambda row: row.line, default=None)
        reason = f" (line {first.line}: {first.reason})" if first else ""
        return (
            f"{file.location} has no record{place} that can be read{reason}: check the file, or "
            'name the place of its records in a mapping (records = "...")'
        )


def is_record_source(source: Source) -> bool:
    """Return whether a source has nested records rather than rows of a table."""
    return isinstance(source.reader, RecordReader) and source.head.nested


def record_batches(
    source: Source, mapping: Mapping, batch_records: int = BATCH_RECORDS
) -> Iterator[RecordBatch]:
    """Read the records of a source in batches.

    If the rest of the file cannot be read, the batch before is yielded first.
    """
    reader = cast(RecordReader, source.reader)
    records = reader.records(source.file, mapping.records or source.head.records)
    yield from _gathered(records, batch_records)


def _gathered(records: Iterator[Record | RejectedRow], batch_records: int) -> Iterator[RecordBatch]:
    def size(record: Record | RejectedRow) -> int:
        return _size(record.value) if isinstance(record, Record) else 0

    yield from map(RecordBatch.of, in_batches(records, batch_records, size))


def in_batches(
    elements: Iterator[ElementT], most: int, size_of: Callable[[ElementT], int]
) -> Iterator[list[ElementT]]:
    """Cut what is read into lists of at most so many, or of about ``MAX_BATCH_SIZE`` together.

    If the rest of the file cannot be read, the list before is yielded first.
    """
    batch: list[ElementT] = []
    size = 0
    damage: DataError | None = None
    while True:
        try:
            element = next(elements, None)
        except DataError as error:
            damage = error
            break
        if element is None:
            break
        batch.append(element)
        size += size_of(element)
        if len(batch) >= most or size >= MAX_BATCH_SIZE:
            yield batch
            batch = []
            size = 0
    if batch:
        yield batch
    if damage is not None:
        raise damage


def _size(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return 8 + sum(map(_size, value.values()))
    if isinstance(value, list | tuple):
        return 8 + sum(map(_size, value))
    return 8


@lru_cache(maxsize=64)
def _place(reader: RecordReader, file: SourceFile, modified: int, size: int) -> str:
    """Return the place of the records of a file, which may take reading it whole: only once."""
    return reader.find_records(file)


def _tables(
    records: Sequence[Record], mapping: Mapping, columns: Sequence[str], file: SourceFile
) -> Iterator[Batch]:
    """Return records as one table, or as several if together they have too many columns.

    Each has ``columns`` and those of its records.
    """
    rows = Flattener(mapping).rows(records)
    names = dict.fromkeys((*columns, *rows.names()))
    if len(records) > 1 and len(records) * len(names) > MAX_BATCH_CELLS:
        middle = len(records) // 2
        yield from _tables(records[:middle], mapping, columns, file)
        yield from _tables(records[middle:], mapping, columns, file)
        return
    cells: dict[str, list[str | None]] = {name: [None] * len(rows) for name in names}
    for column in rows.columns:
        texts = cells[column.name]
        for row, text in zip(column.rows.tolist(), column.texts.to_pylist(), strict=True):
            before = texts[row]
            texts[row] = text if before is None else f"{before}{LIST_SEPARATOR}{text}"
    table = pa.table({name: pa.array(texts, pa.string()) for name, texts in cells.items()})
    is_good = np.ones(len(rows), bool)
    is_good[list(rows.bad)] = False
    good = table.filter(pa.array(is_good)) if rows.bad else table
    yield Batch(good, rows.lines[is_good], _rejects(rows, file))


def _rejects(rows: Rows, file: SourceFile) -> list[RejectedRow]:
    """Return the records that cannot be flattened."""
    return [
        reject(rows, file.location, row, int(rows.lines[row]), reason)
        for row, reason in rows.bad.items()
    ]
