"""CSV, TSV and other delimited text, in any dialect and encoding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pyarrow as pa

from kg.ingest.files import SourceFile
from kg.ingest.readers.base import Reader, check_column_count
from kg.ingest.readers.dialect import Detected, check_undecodable, detect_dialect
from kg.ingest.readers.parsed import Parsed
from kg.ingest.readers.row_parser import RowParser
from kg.ingest.readers.swallowing import is_surely_open
from kg.ingest.readers.text_blocks import MAX_LINE_BYTES, LongLine, read_blocks
from kg.ingest.readers.totals import LINE_OF_TOTALS, is_totals
from kg.ingest.rows import Batch, SkippedLine
from schema.arrays import IntArray
from schema.dialects import DialectSettings
from schema.mapping import Head, Mapping
from schema.rejects import RejectedRow

_STEP_BYTES = 1 << 23
"""How much is parsed at once, so that millions of rejected rows are not held at the same time."""


@dataclass(frozen=True)
class DelimitedHead(Head):
    """The head of a delimited file, with what was detected of it."""

    detected: Detected = field(kw_only=True)


class DelimitedReader(Reader):
    """Reads text whose cells are separated by commas, semicolons, tabs, bars or other signs."""

    suffixes = (".csv", ".tsv", ".tab", ".txt")
    ambiguous_suffixes = (".txt",)
    is_divided = True

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
            header_found=True,
            remarks=(dialect.describe(),),
            detected=detected,
        )

    def reading(self, head: Head) -> dict[str, Any]:
        """Return the dialect."""
        dialect = vars(cast(DelimitedHead, head).detected.dialect)
        return {
            "dialect": {
                name: list(value) if isinstance(value, tuple) else value
                for name, value in dialect.items()
                if name != "reasons"
            }
        }

    def batches(
        self, file: SourceFile, head: Head, mapping: Mapping, batch_rows: int
    ) -> Iterator[Batch]:
        """Read the rows; a bad row never costs another row."""
        detected = cast(DelimitedHead, head).detected
        columns = self.columns(head, mapping)
        width = detected.form.width - detected.dialect.ends_with_delimiter
        check_column_count(columns, width, file, mapping)
        parser = _FileParser(file, detected, columns)
        for batch in _Gatherer(columns, batch_rows).batches(parser.parse()):
            batch.restore_formulas()
            yield batch


class _FileParser:
    """Parses the lines of a file block by block."""

    def __init__(self, file: SourceFile, detected: Detected, columns: Sequence[str]) -> None:
        dialect = detected.dialect
        form = detected.form
        names = (*columns, "") if dialect.ends_with_delimiter else columns
        self._file = file
        self._detected = detected
        self._form = form
        self._parser = RowParser(form, names, file.location)
        self._rest = b""
        self._line = 1
        self._rows = 0
        self._undecodable = 0

    def parse(self) -> Iterator[Parsed]:
        """Yield what the lines hold.

        Raises DataError if too many rows are not valid in the encoding.
        """
        dialect = self._detected.dialect
        with self._file.open() as stream:
            for block in read_blocks(stream, self._detected.encoding, dialect.any_line_end):
                if isinstance(block, LongLine):
                    yield from self._parse_rest(is_last=True)
                    yield self._reject_long_line(block)
                elif not self._only_continues_cell(self._form.prepared(self._below_header(block))):
                    yield from self._parse_rest(is_last=False)
            yield from self._parse_rest(is_last=True)

    def _below_header(self, block: bytes) -> bytes:
        """Return the lines of a block that come after the header."""
        at = 0
        while self._line < self._detected.dialect.first_line and at < len(block):
            at = block.index(b"\n", at) + 1
            self._line += 1
        return block[at:] if at else block

    def _only_continues_cell(self, block: bytes) -> bool:
        """Append lines to the rest; return whether they only continue a cell that is open in it."""
        is_open = bool(self._rest and self._form.quote)
        self._rest += block
        if not is_open or self._form.quote in block or len(self._rest) > MAX_LINE_BYTES:
            return False
        return not is_surely_open(self._rest, 0, self._form)

    def _parse_rest(self, is_last: bool) -> Iterator[Parsed]:
        """Parse what was read, but for a row that goes on after it unless it is the last."""
        limit = _STEP_BYTES
        while self._rest:
            piece = _first_lines(self._rest, limit)
            is_whole = len(piece) == len(self._rest)
            parsed = self._parser.parse(piece, self._line, is_last and is_whole)
            if parsed.consumed:
                self._line += parsed.line_count
                self._rest = self._rest[parsed.consumed :]
                limit = _STEP_BYTES
                self._count(parsed)
                yield parsed
            elif is_whole:
                break
            else:
                # The row is longer.
                limit = len(self._rest)

    def _count(self, parsed: Parsed) -> None:
        self._rows += parsed.row_count
        self._undecodable += parsed.undecodable
        encoding = self._detected.dialect.encoding
        check_undecodable(self._undecodable, self._rows, encoding, self._file.name)

    def _reject_long_line(self, long: LongLine) -> Parsed:
        parsed = Parsed(self._form, self._file.location)
        reason = f"a line of more than {MAX_LINE_BYTES >> 20} MB"
        parsed.reject(self._line, reason, self._form.prepared(long.start))
        self._line += 1
        self._rows += 1
        return parsed


def _first_lines(text: bytes, limit: int) -> bytes:
    """Return a text, or if it is longer than a limit, whole lines from its beginning."""
    if len(text) <= limit:
        return text
    return text[: text.rfind(b"\n", 0, limit) + 1] or text


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
    if is_totals(list(row.values())):
        batch.skipped.append(SkippedLine(int(batch.lines[-1]), LINE_OF_TOTALS))
        batch.table = batch.table.slice(0, count - 1)
        batch.lines = batch.lines[:-1]


READER = DelimitedReader()
