"""Delimited text, parsed line by line with Python's csv module: slow, but it loses nothing."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from kg.ingest.files import SourceFile
from kg.ingest.rows import BadRowError, TextRow
from schema.rejects import MAX_REJECT_TEXT, RejectedRow

_LOOK_AHEAD = 200  # lines that one quoted cell may span; after more, its quote was never closed


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


def read_lines(file: SourceFile, dialect: Dialect) -> Iterator[TextRow | RejectedRow]:
    """Parse a file line by line; a bad row never costs another row."""
    expects_header = dialect.has_header
    with file.open() as stream:
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
                    raise BadRowError(wrong_column_count(len(cells), dialect))
                row: TextRow | RejectedRow = TextRow(line.number, cells)
            except BadRowError as error:
                text = content.decode(errors="replace").rstrip("\r\n")[:MAX_REJECT_TEXT]
                row = RejectedRow(file.location, line.number, str(error), text)
            if expects_header:
                expects_header = False
            else:
                yield row


def _parse_record(first_line: bytes, lines: _LineReader, dialect: Dialect) -> list[str | None]:
    """Return the cells of the record that starts with ``first_line`` and may go on in ``lines``.

    Raises BadRowError, having consumed no further line, if there is no such record.
    """
    try:
        return parse_cells(first_line, dialect)
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
        # A line without a quote cannot close the cell, so it is not worth parsing the text so far.
        if quote not in line.content:
            continue
        try:
            cells = parse_cells(text, dialect)
        except _OpenQuoteError:
            continue
        except BadRowError:
            break
        if len(cells) == len(dialect.columns):
            return cells
        break
    lines.push_back(looked_at)
    raise _OpenQuoteError


def parse_cells(raw: bytes, dialect: Dialect) -> list[str | None]:
    """Return the cells of one record; raises BadRowError if it cannot be parsed."""
    try:
        text = raw.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise BadRowError("not valid UTF-8") from None
    if not dialect.quote or dialect.quote not in text:
        return [cell or None for cell in text.split(dialect.delimiter)]
    try:
        # Unless it is strict, csv accepts text after a closing quote, and a quote that is never
        # closed.
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


def wrong_column_count(count: int, dialect: Dialect) -> str:
    """Return the reason to reject a record with ``count`` cells."""
    return f"{count} columns where {len(dialect.columns)} are expected"
