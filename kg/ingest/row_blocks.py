"""Batches of rows as they were read, which any process can turn into rows and assemble."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kg.ingest.columns import Content, Rows, rows_of_batch
from kg.ingest.flatten import Flattener
from kg.ingest.readers.jsonl import JsonlReader, Line, lines_of, records_in
from kg.ingest.records import BATCH_RECORDS, in_batches, record_batches
from kg.ingest.rows import Batch, RecordBatch
from kg.ingest.source import Source
from schema.mapping import Mapping


@dataclass(frozen=True)
class BlockRows:
    """The rows of a block that a mapping applies to, and the batch that they are."""

    rows: Rows
    batch: Batch | RecordBatch


class RowBlock(ABC):
    """A batch of a source."""

    @abstractmethod
    def read(self, mapping: Mapping, content: Content = hash) -> BlockRows:
        """Return its rows; ``content`` is what they are recognised by."""


@dataclass(frozen=True)
class TableBlock(RowBlock):
    """A batch of a table; ``names`` are its columns' names if they repeat."""

    batch: Batch
    names: tuple[str, ...] | None

    def read(self, mapping: Mapping, content: Content = hash) -> BlockRows:
        """Return its rows."""
        return BlockRows(rows_of_batch(self.batch, self.names, content), self.batch)


class RecordBlock(RowBlock):
    """A batch of records."""

    @abstractmethod
    def parsed(self) -> RecordBatch:
        """Return its records."""

    def read(self, mapping: Mapping, content: Content = hash) -> BlockRows:
        """Return its rows."""
        batch = self.parsed()
        return BlockRows(Flattener(mapping).rows(batch.records, content), batch)


@dataclass(frozen=True)
class ParsedBlock(RecordBlock):
    """Records that are parsed."""

    batch: RecordBatch

    def parsed(self) -> RecordBatch:
        """Return its records."""
        return self.batch


@dataclass(frozen=True)
class LineBlock(RecordBlock):
    """Lines of JSONL that are not parsed yet, and where they are from."""

    lines: Sequence[Line]
    location: str

    def parsed(self) -> RecordBatch:
        """Parse the lines."""
        return RecordBatch.of(records_in(self.lines, self.location))


def record_blocks(source: Source, mapping: Mapping) -> Iterator[RecordBlock]:
    """Read a source of nested records block by block.

    If the rest of the file cannot be read, the block before is yielded first.
    """
    if isinstance(source.reader, JsonlReader):
        every = lines_of(source.file)
        for lines in in_batches(every, BATCH_RECORDS, lambda line: len(line.content)):
            yield LineBlock(lines, source.location)
    else:
        yield from map(ParsedBlock, record_batches(source, mapping, BATCH_RECORDS))
