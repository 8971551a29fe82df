"""CSV, TSV and other delimited text, in any dialect and encoding."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import pyarrow as pa

from kg.ingest.files import SourceFile
from kg.ingest.readers.base import Reader
from kg.ingest.readers.dialect import Detected, check_undecodable, detect_dialect
from kg.ingest.readers.parsed import Parsed
from kg.ingest.readers.row_form import is_number
from kg.ingest.readers.row_parser import RowParser
from kg.ingest.readers.text_blocks import MAX_LINE_BYTES, LongLine, read_blocks
from kg.ingest.rows import Batch, SkippedLine
from schema.arrays import IntArray
from schema.dialects import DialectSettings
from schema.errors import DataError
from schema.mapping import Head, Mapping
from schema.rejects import RejectedRow

_TOTALS = frozenset(
    """
    total totals sum sums subtotal summe gesamt gesamtsumme somme totale totali totaux suma totaal
    totalt summa celkem razem összesen toplam итого всего 合计 总计 合計 總計 합계
    """.split()
)


@dataclass(frozen=True)
class DelimitedHead(Head):
    """The head of a delimited file, with what was detected of it."""

    detected: Detected | None = None


class DelimitedReader(Reader):
    """Reads text whose cells are separated by commas, semicolons, tabs, bars or other signs."""

    suffixes = (".csv", ".tsv", ".tab", ".txt")
    ambiguous_suffixes = (".txt",)

    def head(self, file: SourceFile, mapping: Mapping | None = None) -> Head:
        """Detect of the dialect what the mapping does not give, and read the first rows.

        Raises DataError if the file is empty or no text.
        """
        settings = mapping.dialect_settings() if mapping else DialectSettings()
        columns = mapping.columns if mapping and settings.header is False else ()
        detected = detect_dialect(file, settings, columns)
        dialect = detected.dialect
        return DelimitedHead(
            file.name,
            detected.rows,
            delimiter=dialect.delimiter,
            header=dialect.header_line is not None,
            remarks=(dialect.describe(),),
            dialect=dialect,
            detected=detected,
        )

    def batches(
        self, file: SourceFile, head: Head, mapping: Mapping, batch_rows: int
    ) -> Iterator[Batch]:
        """Read the rows; a bad row never costs another row."""
        columns = self.columns(head, mapping)
        if not columns:
            raise DataError(
                f"mapping {mapping.name!r} has header = false and no columns: name them there"
            )
        detected = cast(DelimitedHead, head).detected
        assert detected is not None
        for batch in _Gatherer(columns, batch_rows).batches(_parsed(file, detected, columns)):
            batch.restore_formulas()
            yield batch


def _parsed(file: SourceFile, detected: Detected, columns: Sequence[str]) -> Iterator[Parsed]:
    """Parse the lines of a file block by block.

    Raises DataError if too many rows are not valid in the encoding.
    """
    dialect = detected.dialect
    form = detected.form
    if len(columns) != form.width - dialect.ends_with_delimiter:
        raise DataError(f"{file.name} has {form.width} columns and {len(columns)} names for them")
    names = (*columns, "") if dialect.ends_with_delimiter else columns
    parser = RowParser(form, names, file.location)
    rows = 0
    undecodable = 0
    rest = b""
    line = 1
    with file.open() as stream:
        blocks = read_blocks(stream, detected.encoding, dialect.any_line_end)
        for block in itertools.chain(blocks, [None]):
            is_last = block is None or isinstance(block, LongLine)
            if isinstance(block, bytes):
                if line < dialect.first_line:
                    skipped = _after_lines(block, dialect.first_line - line)
                    line += block.count(b"\n", 0, skipped)
                    block = block[skipped:]
                rest += form.prepared(block)
            while rest:
                parsed = parser.parse(rest, line, is_last)
                line += parsed.line_count
                rest = rest[parsed.consumed :]
                undecodable += parsed.undecodable
                rows += parsed.row_count
                check_undecodable(undecodable, rows, dialect.encoding, file.name)
                yield parsed
                if not parsed.consumed:
                    break
            if isinstance(block, LongLine):
                parsed = Parsed(form, file.location)
                parsed.reject(line, f"a line of more than {MAX_LINE_BYTES >> 20} MB", block.start)
                rows += 1
                line += 1
                yield parsed


def _after_lines(block: bytes, count: int) -> int:
    """Return the position after some lines of a block, or its length if it has fewer."""
    at = 0
    for _ in range(count):
        end = block.find(b"\n", at)
        if end < 0:
            return len(block)
        at = end + 1
    return at


@dataclass
class _Gatherer:
    """Gathers parsed rows into batches of bounded size.

    The last row is held back until it is known to be the last: it may be one of totals.
    """

    columns: Sequence[str]
    batch_rows: int
    _tables: list[pa.Table] = field(default_factory=list)
    _lines: list[IntArray] = field(default_factory=list)
    _rejects: list[RejectedRow] = field(default_factory=list)
    _skipped: list[SkippedLine] = field(default_factory=list)
    _count: int = 0

    def batches(self, parts: Iterator[Parsed]) -> Iterator[Batch]:
        """Yield all rows of a file."""
        for parsed in parts:
            self._add(parsed)
            while self._count > self.batch_rows:
                yield self._take(self.batch_rows)
            if len(self._rejects) + len(self._skipped) > self.batch_rows:
                yield self._take(0)
        last = self._take(self._count)
        _skip_totals(last)
        if last.rows_read or last.skipped:
            yield last

    def _add(self, parsed: Parsed) -> None:
        self._tables += parsed.tables
        self._lines += parsed.lines
        self._count += sum(map(len, parsed.lines))
        self._rejects += parsed.rejects
        self._skipped += parsed.skipped

    def _take(self, count: int) -> Batch:
        empty = pa.table({name: pa.array([], pa.string()) for name in self.columns})
        table = pa.concat_tables(self._tables) if self._tables else empty
        lines = np.concatenate(self._lines) if self._lines else np.zeros(0, np.int64)
        self._tables = [table.slice(count)] if count < len(lines) else []
        self._lines = [lines[count:]] if count < len(lines) else []
        self._count -= count
        batch = Batch(table.slice(0, count), lines[:count], self._rejects, skipped=self._skipped)
        self._rejects = []
        self._skipped = []
        return batch


def _skip_totals(batch: Batch) -> None:
    """Take the last row off if it has nothing but the totals of the columns."""
    count = batch.table.num_rows
    if not count:
        return
    row = batch.table.slice(count - 1).to_pylist()[0]
    filled = [cell.strip() for cell in row.values() if cell and cell.strip()]
    if len(filled) < 2 or len(filled) == len(row):
        return
    if filled[0].rstrip(" :").casefold() in _TOTALS and all(map(is_number, filled[1:])):
        batch.skipped.append(SkippedLine(int(batch.lines[-1]), "line of totals"))
        batch.table = batch.table.slice(0, count - 1)
        batch.lines = batch.lines[:-1]


READER = DelimitedReader()
