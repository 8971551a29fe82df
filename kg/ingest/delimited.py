"""CSV and TSV: DuckDB parses and says which rows are bad; line numbers are those of the file.

DuckDB's record numbers are not line numbers (quoted newlines count once), it reports a row with two missing cells twice, a quote that
is never closed swallows the rest of the file, and after a stray quote it loses rows in silence. So lines are counted here, the account
is checked against the file, and a file where it does not add up is read line by line.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from kg.ingest.rows import Batch, Reject, batches_of

Line = tuple[int, bytes]
_LOOK_AHEAD = (
    200  # lines over which a quoted cell may go on; a quote open for longer was never closed
)
_SHOWN = 200
_REASONS = {
    "MISSING COLUMNS": "",  # the text says how many there are
    "TOO MANY COLUMNS": "",
    "INVALID ENCODING": "not valid UTF-8",
}


@dataclass(frozen=True)
class Dialect:
    """How a delimited file is written; ``names`` are its columns, from its header or from the mapping."""

    names: tuple[str, ...]
    delimiter: str = ","
    quote: str = '"'
    header: bool = True


def read_delimited(path: Path, dialect: Dialect, batch_rows: int) -> Iterator[Batch]:
    """Batches of a delimited file in its order, each with its lines, and the rows that were rejected."""
    scanned = _scan(path, dialect) if len(dialect.names) > 1 else None
    if scanned is None:
        yield from batches_of(read_lines(path, dialect), dialect.names, str(path), batch_rows)
        return
    rejects, special = scanned
    yield Batch(
        pa.table({name: pa.array([], pa.string()) for name in dialect.names}),
        np.zeros(0, np.int64),
        rejects,
    )
    with duckdb.connect(":memory:") as db:
        line = _first_line(dialect)
        for record in db.sql(_query("*", path, dialect, "ignore_errors=true")).to_arrow_reader(
            batch_rows
        ):
            table = pa.Table.from_batches([record]).rename_columns(list(dialect.names))
            lines, line = _number(table, line, special)
            yield Batch(table, lines, [])


def read_lines(path: Path, dialect: Dialect) -> Iterator[tuple[int, list[str | None] | str, str]]:
    """Each record as (line, cells or the reason why it is bad, text), parsed line by line with Python's csv."""
    with path.open("rb") as stream:
        pending: deque[Line] = deque()
        numbered = enumerate(stream, 1)
        header = dialect.header
        while entry := pending.popleft() if pending else next(numbered, None):
            number, raw = entry
            if number == 1:
                raw = raw.removeprefix(b"\xef\xbb\xbf")
            if not raw.strip(b"\r\n"):
                continue
            cells = _record(raw, pending, numbered, dialect)
            if header:
                header = False
            elif isinstance(cells, list) and len(cells) != len(dialect.names):
                yield number, _count(raw.decode(), dialect), _show(raw)
            else:
                yield number, cells, _show(raw)


def _record(
    raw: bytes, pending: deque[Line], numbered: Iterator[tuple[int, bytes]], dialect: Dialect
) -> list[str | None] | str:
    """The cells of the record that starts with this line; what it looked at in vain goes back to ``pending``."""
    cells = _parse(raw, dialect)
    if cells != _OPEN:
        return cells
    taken: list[Line] = []
    text = raw
    quote = dialect.quote.encode()
    for _ in range(_LOOK_AHEAD):
        entry = pending.popleft() if pending else next(numbered, None)
        if entry is None:
            break
        taken.append(entry)
        text += entry[1]
        if quote not in entry[1]:
            continue
        cells = _parse(text, dialect)
        if isinstance(cells, list) and len(cells) == len(dialect.names):
            return cells
        if cells != _OPEN:
            break
    pending.extendleft(reversed(taken))
    return _OPEN


_OPEN = "a quote is opened and never closed"


def _parse(raw: bytes, dialect: Dialect) -> list[str | None] | str:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return "not valid UTF-8"
    text = text.rstrip("\r\n")
    if not dialect.quote or dialect.quote not in text:
        return [cell or None for cell in text.split(dialect.delimiter)]
    try:
        rows = list(
            csv.reader([text], delimiter=dialect.delimiter, quotechar=dialect.quote, strict=True)
        )
    except csv.Error as error:
        known = {
            "unexpected end": _OPEN,
            "expected after": "text after a closing quote",
            "new-line": "a carriage return outside quotes",
        }
        return next((reason for sign, reason in known.items() if sign in str(error)), str(error))
    return [cell or None for cell in rows[0]] if len(rows) == 1 else _OPEN


def _count(text: str, dialect: Dialect) -> str:
    cells = _parse(text.strip("\r\n").encode(), dialect)
    return (
        f"{len(cells)} columns where {len(dialect.names)} are expected"
        if isinstance(cells, list)
        else cells
    )


def _show(raw: bytes) -> str:
    return raw.decode(errors="replace").rstrip("\r\n")[:_SHOWN]


def _query(columns: str, path: Path, dialect: Dialect, mode: str) -> str:
    def literal(text: str) -> str:
        """An SQL string."""
        return "'" + text.replace("'", "''") + "'"

    types = ", ".join(f"'c{number}': 'VARCHAR'" for number in range(len(dialect.names)))
    layout = f"delim={literal(dialect.delimiter)}, quote={literal(dialect.quote)}, escape={literal(dialect.quote)}, header={dialect.header}"
    # The path is a literal and no glob: brackets and stars in it are escaped as one-letter classes.
    escaped = "".join(f"[{c}]" if c in "*?[" else c for c in str(path))
    return (
        f"SELECT {columns} FROM read_csv({literal(escaped)}, columns={{{types}}}, auto_detect=false, {layout}, "
        f"strict_mode=true, null_padding=false, compression='none', {mode})"
    )


def _scan(path: Path, dialect: Dialect) -> tuple[list[Reject], set[int]] | None:
    """The bad rows, and the lines that hold no good row; None where DuckDB's account of the file does not add up."""
    texts = [f"c{number}" for number in range(len(dialect.names))]
    inside = " + ".join(
        f"coalesce(sum(length({c}) - length(replace({c}, chr(10), ''))), 0)" for c in texts
    )
    with duckdb.connect(":memory:") as db:
        try:
            mode = f"store_rejects=true, rejects_limit=0, rejects_line_size_limit={1 << 20}"
            rows, newlines = db.execute(
                _query(f"count(*), {inside}", path, dialect, mode)
            ).fetchall()[0]
            found = db.execute(
                "SELECT line_byte_position, error_type, csv_line FROM reject_errors ORDER BY ALL"
            ).fetchall()
        except duckdb.Error:
            return None
    starts: dict[int, tuple[str, str]] = {}
    for position, kind, text in found:
        text = text.strip("\r\n")
        # Whatever spans lines may have swallowed good rows, and after a stray quote DuckDB loses some.
        if kind not in _REASONS or "\n" in text:
            return None
        starts[position - 1] = (_REASONS[kind] or _count(text, dialect), text[:_SHOWN])
    lines, blank, total = _lines_at(path, list(starts))
    known = rows + int(newlines) + len(lines) + _first_line(dialect) - 1
    if not known <= total <= known + len(blank):
        return None
    rejects = [
        Reject(str(path), line, *shown) for line, shown in zip(lines, starts.values(), strict=True)
    ]
    return rejects, {*lines, *blank}


def _lines_at(path: Path, positions: Sequence[int]) -> tuple[list[int], list[int], int]:
    """The line of each byte position (ascending; a newline's counts for the text after it), the blank lines, and the number of lines."""
    lines: list[int] = []
    blank: list[int] = []
    before = 0
    offset = 0
    start = 0
    wanted = np.asarray(positions, np.int64)
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 24):
            data = np.frombuffer(chunk, np.uint8)
            ends = np.flatnonzero(data == 10)
            here = wanted[(wanted >= offset) & (wanted < offset + len(chunk))] - offset
            lines.extend((before + np.searchsorted(ends, here, "right") + 1).tolist())
            sizes = np.diff(ends + offset, prepend=start - 1)  # 1: the newline alone
            returns = (sizes == 2) & (data[np.maximum(ends - 1, 0)] == 13)
            blank.extend((np.flatnonzero((sizes == 1) | returns) + before + 1).tolist())
            before += len(ends)
            if len(ends):
                start = offset + int(ends[-1]) + 1
            offset += len(chunk)
    empty = set(blank)
    return (
        [next(n for n in range(line, before + 2) if n not in empty) for line in lines],
        blank,
        before + (start < offset),
    )


def _first_line(dialect: Dialect) -> int:
    """The line after the header, whose names may hold newlines themselves."""
    return 2 + sum(name.count("\n") for name in dialect.names) if dialect.header else 1


def _number(table: pa.Table, line: int, special: set[int]) -> tuple[npt.NDArray[np.int64], int]:
    """The line of each row, and the line after the last: rows take 1 line and one for each newline in a cell."""
    spans = np.ones(table.num_rows, np.int64)
    for column in table.columns:
        if pc.any(pc.match_substring(column, "\n")).as_py():
            spans += pc.fill_null(pc.count_substring(column, "\n"), 0).to_numpy().astype(np.int64)
    if not special:
        ends = line + np.cumsum(spans)
        return ends - spans, int(ends[-1]) if len(ends) else line
    lines = np.empty(len(spans), np.int64)
    for row, span in enumerate(spans.tolist()):
        while line in special:
            line += 1
        lines[row] = line
        line += span
    return lines, line
