"""Delimited text, parsed by DuckDB: fast, but its account of the bad rows has to be checked.

DuckDB's record numbers are not line numbers (a quoted newline does not count), it reports a row
that lacks two cells twice, a quote that is never closed swallows the rest of the file, and after a
stray quote it loses rows silently. So the lines are counted here and compared with the rows that
DuckDB found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kg.ingest.readers.delimited_lines import Dialect, parse_cells, wrong_column_count
from kg.ingest.rows import BadRowError, Batch
from schema.arrays import IntArray
from schema.rejects import MAX_REJECT_TEXT, RejectedRow

_READ_BYTES = 1 << 24
_MAX_REJECTED_LINE_BYTES = 1 << 20
_NEWLINE = ord("\n")
_CARRIAGE_RETURN = ord("\r")


@dataclass(frozen=True)
class Scan:
    """DuckDB's account of a file: its rejected rows, and the lines where no good row starts."""

    rejects: list[RejectedRow]
    lines_without_rows: frozenset[int]


def scan_file(path: Path, dialect: Dialect) -> Scan | None:
    """Let DuckDB find the bad rows; None if good and bad rows do not add up to the lines."""
    import duckdb

    cells = [f"c{number}" for number in range(len(dialect.columns))]
    newlines_in_cells = " + ".join(
        f"coalesce(sum(length({cell}) - length(replace({cell}, chr(10), ''))), 0)" for cell in cells
    )
    # A limit of 0 means that any number of rejected rows is reported.
    options = (
        f"store_rejects=true, rejects_limit=0, rejects_line_size_limit={_MAX_REJECTED_LINE_BYTES}"
    )
    query = _read_csv_sql(f"count(*), {newlines_in_cells}", path, dialect, options)
    with duckdb.connect(":memory:") as db:
        try:
            good_rows, newlines = db.execute(query).fetchall()[0]
            errors = db.execute(
                # In ascending order, as _locate_lines needs them.
                "SELECT line_byte_position, error_type, csv_line FROM reject_errors ORDER BY ALL"
            ).fetchall()
        except duckdb.Error:
            # The other parser finds out what is wrong, row by row.
            return None

    # A dictionary, because DuckDB reports a row once for each of its errors.
    bad_rows: dict[int, tuple[str, str]] = {}
    for position, error_type, csv_line in errors:
        text = csv_line.strip("\r\n")
        reason = _reject_reason(error_type, text, dialect)
        if reason is None:
            return None
        # DuckDB counts bytes from 1.
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
    return Scan(rejects, frozenset((*located.lines, *located.blank_lines)))


def _reject_reason(error_type: str, text: str, dialect: Dialect) -> str | None:
    """Return why DuckDB rejected a row, or None if its account of the file cannot be trusted."""
    # A row that spans lines may have swallowed good rows.
    if "\n" in text:
        return None
    if error_type == "INVALID ENCODING":
        return "not valid UTF-8"
    if error_type in ("MISSING COLUMNS", "TOO MANY COLUMNS"):
        try:
            return wrong_column_count(len(parse_cells(text.encode(), dialect)), dialect)
        except BadRowError as error:
            return str(error)
    # Other errors involve stray quotes, after which DuckDB loses rows.
    return None


def read_scanned(path: Path, dialect: Dialect, scan: Scan, batch_rows: int) -> Iterator[Batch]:
    """Read a file that was scanned: first its rejected rows, then the good ones in batches."""
    import duckdb

    no_rows = pa.table({name: pa.array([], pa.string()) for name in dialect.columns})
    yield Batch(no_rows, np.zeros(0, np.int64), scan.rejects)

    # Errors may be ignored here only because the scan has accounted for every row. The line numbers
    # rely on DuckDB's keeping the order of the file, which it does by default.
    next_line = dialect.first_line
    query = _read_csv_sql("*", path, dialect, "ignore_errors=true")
    with duckdb.connect(":memory:") as db:
        for record_batch in db.sql(query).to_arrow_reader(batch_rows):
            table = pa.Table.from_batches([record_batch]).rename_columns(list(dialect.columns))
            spans = _lines_per_row(table)
            lines = _line_numbers(spans, next_line, scan.lines_without_rows)
            if len(lines):
                next_line = int(lines[-1] + spans[-1])
            yield Batch(table, lines)


def _read_csv_sql(columns: str, path: Path, dialect: Dialect, options: str) -> str:
    types = ", ".join(f"'c{number}': 'VARCHAR'" for number in range(len(dialect.columns)))
    quote = _sql_string(dialect.quote)
    # DuckDB takes the path for a glob pattern: one-letter classes stand for brackets and stars.
    escaped_path = "".join(f"[{letter}]" if letter in "*?[" else letter for letter in str(path))
    # In strict mode DuckDB reports malformed rows instead of repairing them.
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
    """Lines that were looked for, the blank lines of the file, and the number of all its lines."""

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
