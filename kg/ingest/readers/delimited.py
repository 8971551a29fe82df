"""CSV and TSV, read by DuckDB where its account of the file adds up, and else line by line.

DuckDB parses fast and reports bad rows, but not reliably: its record numbers are not line numbers
(a quoted newline does not count), it reports a row that lacks two cells twice, a quote that is
never closed swallows the rest of the file, and after a stray quote it loses rows silently. So the
lines are counted here and compared with the rows that DuckDB found. If the numbers differ, the file
is parsed line by line with Python's csv module, which is slower but loses nothing.
"""

from __future__ import annotations

import csv
import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kg.ingest.readers.base import Reader
from kg.ingest.rows import BadRowError, Batch, TextRow, batches_of_rows
from schema.arrays import IntArray
from schema.errors import DataError
from schema.mapping import Head, Mapping
from schema.rejects import MAX_REJECT_TEXT, RejectedRow

_HEAD_ROWS = 50
_HEAD_BYTES = 1 << 20
_READ_BYTES = 1 << 24
_MAX_REJECTED_LINE_BYTES = 1 << 20
_LOOK_AHEAD = 200  # lines that one quoted cell may span; after more, its quote was never closed
_NEWLINE = ord("\n")
_CARRIAGE_RETURN = ord("\r")


@dataclass(frozen=True)
class Dialect:
    """How a delimited file is written; ``columns`` are from its header or else from the mapping."""

    columns: tuple[str, ...]
    delimiter: str = ","
    quote: str = '"'
    has_header: bool = True

    @property
    def first_line(self) -> int:
        """The line after the header; the names in a header may contain newlines."""
        if not self.has_header:
            return 1
        return 2 + sum(name.count("\n") for name in self.columns)


class DelimitedReader(Reader):
    """Reads comma-, semicolon-, pipe- and tab-separated text in UTF-8."""

    suffixes = (".csv", ".tsv", ".tab", ".txt")
    ambiguous_suffixes = (".txt",)

    def head(self, path: Path) -> Head:
        """Read the first rows and detect the delimiter."""
        with path.open("rb") as stream:
            data = stream.read(_HEAD_BYTES)
        if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise DataError(f"{path} is UTF-16: convert it first (`iconv -f UTF-16 -t UTF-8`)")
        if b"\r" in data and b"\n" not in data:
            raise DataError(
                f"{path} ends its lines with a carriage return alone: "
                "convert it first (`tr '\\r' '\\n'`)"
            )

        text = data.decode("utf-8", errors="replace").removeprefix("\ufeff")
        lines = [line + "\n" for line in text.split("\n")]
        lines = list(itertools.dropwhile(lambda line: not line.strip(), lines))
        if not lines:
            raise DataError(f"{path} is empty: a table has a header and one row per item")

        delimiter = _detect_delimiter(lines[0]) if path.suffix.lower() == ".csv" else "\t"
        try:
            rows = list(itertools.islice(csv.reader(lines, delimiter=delimiter), _HEAD_ROWS))
        except csv.Error as error:
            raise DataError(
                f"{path} is not a table ({error}): "
                f"a cell may have at most {csv.field_size_limit()} characters"
            ) from None
        return Head(path.name, tuple(tuple(row) for row in rows if row), delimiter=delimiter)

    def batches(self, path: Path, head: Head, mapping: Mapping, batch_rows: int) -> Iterator[Batch]:
        """Read the rows; the first batch may hold all rejected rows of the file."""
        columns = self.columns(head, mapping)
        if not columns:
            raise DataError(
                f"mapping {mapping.name!r} has header = false and no columns: name them there"
            )
        delimiter = mapping.delimiter or head.delimiter
        dialect = Dialect(columns, delimiter, mapping.quote, mapping.header)
        yield from read_delimited(path, dialect, batch_rows)


def _detect_delimiter(line: str) -> str:
    """Return the most frequent delimiter of a line; a comma where others are as frequent."""
    return max(",;\t|", key=lambda mark: (line.count(mark), mark == ","))


def read_delimited(path: Path, dialect: Dialect, batch_rows: int) -> Iterator[Batch]:
    """Read a delimited file in batches, with the line of each row and the rejected rows."""
    # In a table of one column an empty cell and a blank line look the same to DuckDB.
    scan = _scan(path, dialect) if len(dialect.columns) > 1 else None
    if scan is None:
        yield from batches_of_rows(read_lines(path, dialect), dialect.columns, batch_rows)
        return

    no_rows = pa.table({name: pa.array([], pa.string()) for name in dialect.columns})
    yield Batch(no_rows, np.zeros(0, np.int64), scan.rejects)

    import duckdb

    with duckdb.connect(":memory:") as db:
        next_line = dialect.first_line
        query = _read_csv_sql("*", path, dialect, "ignore_errors=true")
        for record_batch in db.sql(query).to_arrow_reader(batch_rows):
            table = pa.Table.from_batches([record_batch]).rename_columns(list(dialect.columns))
            spans = _lines_per_row(table)
            lines = _line_numbers(spans, next_line, scan.lines_without_rows)
            if len(lines):
                next_line = int(lines[-1] + spans[-1])
            yield Batch(table, lines)


# Line by line, with Python's csv module


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    content: bytes


class _LineReader:
    """The lines of a file, which can be pushed back after a look ahead."""

    def __init__(self, stream: BinaryIO) -> None:
        self._numbered_lines = enumerate(stream, 1)
        self._pushed_back: deque[_Line] = deque()

    def next_line(self) -> _Line | None:
        """Return the next line, or None at the end of the file."""
        if self._pushed_back:
            return self._pushed_back.popleft()
        entry = next(self._numbered_lines, None)
        return None if entry is None else _Line(*entry)

    def push_back(self, lines: Sequence[_Line]) -> None:
        """Return lines that were looked at, to be read again."""
        self._pushed_back.extendleft(reversed(lines))


class _OpenQuoteError(BadRowError):
    """A quote is opened and not closed within the text at hand."""

    def __init__(self) -> None:
        super().__init__("a quote is opened and never closed")


def read_lines(path: Path, dialect: Dialect) -> Iterator[TextRow | RejectedRow]:
    """Parse a file line by line; a bad row never costs another row."""
    expects_header = dialect.has_header
    with path.open("rb") as stream:
        lines = _LineReader(stream)
        while line := lines.next_line():
            content = line.content
            if line.number == 1:
                content = content.removeprefix(b"\xef\xbb\xbf")
            if not content.strip(b"\r\n"):
                continue
            try:
                cells = _parse_record(content, lines, dialect)
                if len(cells) != len(dialect.columns):
                    raise BadRowError(_wrong_column_count(len(cells), dialect))
                row: TextRow | RejectedRow = TextRow(line.number, cells)
            except BadRowError as error:
                text = content.decode(errors="replace").rstrip("\r\n")[:MAX_REJECT_TEXT]
                row = RejectedRow(str(path), line.number, str(error), text)
            if expects_header:
                expects_header = False
            else:
                yield row


def _parse_record(first_line: bytes, lines: _LineReader, dialect: Dialect) -> list[str | None]:
    """Return the cells of the record that starts with ``first_line`` and may go on in ``lines``.

    Raises BadRowError, having consumed no further line, if there is no such record.
    """
    try:
        return _parse_cells(first_line, dialect)
    except _OpenQuoteError:
        pass

    text = first_line
    quote = dialect.quote.encode()
    looked_at: list[_Line] = []
    for _ in range(_LOOK_AHEAD):
        line = lines.next_line()
        if line is None:
            break
        looked_at.append(line)
        text += line.content
        if quote not in line.content:
            continue
        try:
            cells = _parse_cells(text, dialect)
        except _OpenQuoteError:
            continue
        except BadRowError:
            break
        if len(cells) == len(dialect.columns):
            return cells
        break
    lines.push_back(looked_at)
    raise _OpenQuoteError


def _parse_cells(raw: bytes, dialect: Dialect) -> list[str | None]:
    try:
        text = raw.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise BadRowError("not valid UTF-8") from None
    if not dialect.quote or dialect.quote not in text:
        return [cell or None for cell in text.split(dialect.delimiter)]
    try:
        records = list(
            csv.reader([text], delimiter=dialect.delimiter, quotechar=dialect.quote, strict=True)
        )
    except csv.Error as error:
        raise _bad_row(str(error)) from None
    if len(records) != 1:
        raise _OpenQuoteError
    return [cell or None for cell in records[0]]


def _bad_row(csv_message: str) -> BadRowError:
    """Translate a message of the csv module, which speaks of its parser rather than of the row."""
    if "unexpected end" in csv_message:
        return _OpenQuoteError()
    if "expected after" in csv_message:
        return BadRowError("text after a closing quote")
    if "new-line" in csv_message:
        return BadRowError("a carriage return outside quotes")
    return BadRowError(csv_message)


def _wrong_column_count(count: int, dialect: Dialect) -> str:
    return f"{count} columns where {len(dialect.columns)} are expected"


# All at once, with DuckDB


@dataclass(frozen=True)
class _Scan:
    """DuckDB's account of a file: its rejected rows, and the lines where no good row starts."""

    rejects: list[RejectedRow]
    lines_without_rows: frozenset[int]


def _scan(path: Path, dialect: Dialect) -> _Scan | None:
    """Let DuckDB find the bad rows; None if good and bad rows do not add up to the lines."""
    import duckdb

    cells = [f"c{number}" for number in range(len(dialect.columns))]
    newlines_in_cells = " + ".join(
        f"coalesce(sum(length({cell}) - length(replace({cell}, chr(10), ''))), 0)" for cell in cells
    )
    options = (
        f"store_rejects=true, rejects_limit=0, rejects_line_size_limit={_MAX_REJECTED_LINE_BYTES}"
    )
    query = _read_csv_sql(f"count(*), {newlines_in_cells}", path, dialect, options)
    with duckdb.connect(":memory:") as db:
        try:
            good_rows, newlines = db.execute(query).fetchall()[0]
            errors = db.execute(
                "SELECT line_byte_position, error_type, csv_line FROM reject_errors ORDER BY ALL"
            ).fetchall()
        except duckdb.Error:
            return None

    # A dictionary, because DuckDB reports a row once for each of its errors.
    bad_rows: dict[int, tuple[str, str]] = {}
    for position, error_type, csv_line in errors:
        text = csv_line.strip("\r\n")
        reason = _reject_reason(error_type, text, dialect)
        if reason is None:
            return None
        bad_rows[position - 1] = (reason, text[:MAX_REJECT_TEXT])

    located = _locate_lines(path, list(bad_rows))
    header_lines = dialect.first_line - 1
    accounted = header_lines + good_rows + int(newlines) + len(located.lines)
    # Blank lines between rows belong to no row; those within quoted cells are accounted for.
    if not accounted <= located.line_count <= accounted + len(located.blank_lines):
        return None
    rejects = [
        RejectedRow(str(path), line, reason, text)
        for line, (reason, text) in zip(located.lines, bad_rows.values(), strict=True)
    ]
    return _Scan(rejects, frozenset((*located.lines, *located.blank_lines)))


def _reject_reason(error_type: str, text: str, dialect: Dialect) -> str | None:
    """Return why DuckDB rejected a row, or None if its account of the file cannot be trusted."""
    # A row that spans lines may have swallowed good rows.
    if "\n" in text:
        return None
    if error_type == "INVALID ENCODING":
        return "not valid UTF-8"
    if error_type in ("MISSING COLUMNS", "TOO MANY COLUMNS"):
        try:
            return _wrong_column_count(len(_parse_cells(text.encode(), dialect)), dialect)
        except BadRowError as error:
            return str(error)
    # Other errors involve stray quotes, after which DuckDB loses rows.
    return None


def _read_csv_sql(columns: str, path: Path, dialect: Dialect, options: str) -> str:
    types = ", ".join(f"'c{number}': 'VARCHAR'" for number in range(len(dialect.columns)))
    quote = _sql_string(dialect.quote)
    # DuckDB takes the path for a glob pattern: one-letter classes stand for brackets and stars.
    escaped_path = "".join(f"[{letter}]" if letter in "*?[" else letter for letter in str(path))
    return (
        f"SELECT {columns} FROM read_csv({_sql_string(escaped_path)}, columns={{{types}}}, "
        f"delim={_sql_string(dialect.delimiter)}, quote={quote}, escape={quote}, "
        f"header={dialect.has_header}, auto_detect=false, strict_mode=true, null_padding=false, "
        f"compression='none', {options})"
    )


def _sql_string(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@dataclass(frozen=True)
class _LocatedLines:
    lines: list[int]
    blank_lines: list[int]
    line_count: int


def _locate_lines(path: Path, positions: Sequence[int]) -> _LocatedLines:
    """Find the line of each byte position, the blank lines, and the number of lines of a file.

    The positions ascend. A position on a newline or on blank lines stands for the text after it.
    """
    lines: list[int] = []
    blank_lines: list[int] = []
    lines_before = 0
    offset = 0
    line_start = 0
    wanted = np.asarray(positions, np.int64)
    with path.open("rb") as stream:
        while chunk := stream.read(_READ_BYTES):
            data = np.frombuffer(chunk, np.uint8)
            ends = np.flatnonzero(data == _NEWLINE)

            in_chunk = wanted[(wanted >= offset) & (wanted < offset + len(chunk))] - offset
            lines.extend((lines_before + np.searchsorted(ends, in_chunk, "right") + 1).tolist())

            sizes = np.diff(ends + offset, prepend=line_start - 1)  # with the newline
            only_newline = sizes == 1
            only_return = (sizes == 2) & (data[np.maximum(ends - 1, 0)] == _CARRIAGE_RETURN)
            blank = np.flatnonzero(only_newline | only_return)
            blank_lines.extend((blank + lines_before + 1).tolist())

            lines_before += len(ends)
            if len(ends):
                line_start = offset + int(ends[-1]) + 1
            offset += len(chunk)

    is_blank = set(blank_lines)
    last_line_lacks_newline = line_start < offset
    return _LocatedLines(
        [
            next(line for line in range(first, lines_before + 2) if line not in is_blank)
            for first in lines
        ],
        blank_lines,
        lines_before + last_line_lacks_newline,
    )


def _lines_per_row(table: pa.Table) -> IntArray:
    """Return how many lines each row takes: one, and one for each newline in its cells."""
    spans = np.ones(table.num_rows, np.int64)
    for column in table.columns:
        if pc.any(pc.match_substring(column, "\n")).as_py():
            newlines = pc.fill_null(pc.count_substring(column, "\n"), 0)
            spans += newlines.to_numpy().astype(np.int64)
    return spans


def _line_numbers(spans: IntArray, first_line: int, lines_without_rows: frozenset[int]) -> IntArray:
    """Return the line of each row, given the lines that the rows take."""
    if not lines_without_rows:
        return first_line + np.cumsum(spans) - spans
    lines = np.empty(len(spans), np.int64)
    line = first_line
    for row, span in enumerate(spans.tolist()):
        while line in lines_without_rows:
            line += 1
        lines[row] = line
        line += span
    return lines


READER = DelimitedReader()
