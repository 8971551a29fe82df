"""Parse single rows of delimited text, whose cells may span lines."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

from kg.ingest.rows import BadRowError

_NEWLINE = ord("\n")


class OpenQuoteError(BadRowError):
    """A quote is opened and not closed within the text at hand."""

    def __init__(self) -> None:
        super().__init__("a quote is opened and never closed")


@dataclass(frozen=True, slots=True)
class Record:
    """The cells of a row as bytes, and the position after it."""

    cells: list[bytes]
    stop: int


class RecordParser:
    """Parses rows of text, whose signs are those that a form prepares."""

    def __init__(self, delimiter: bytes, quote: bytes) -> None:
        self.delimiter = delimiter
        self.quote = quote
        sign = re.escape(quote or b'"')
        # Possessive, so that a cell of many megabytes leaves nothing to come back to.
        self._quoted = re.compile(sign + b"((?:[^" + sign + b"]++|" + sign * 2 + b")*+)" + sign)
        self._plain = re.compile(b"[^" + re.escape(delimiter) + b"\n]*+")

    def parse(self, data: bytes, start: int) -> Record:
        """Return the row that starts at a position of lines that end with newlines.

        Raises BadRowError if there is none.
        """
        end = data.find(b"\n", start)
        if end < 0:
            end = len(data)
        if not self.quote or data.find(self.quote, start, end) < 0:
            return Record(without_return(data[start:end]).split(self.delimiter), end + 1)
        cells: list[bytes] = []
        at = start
        while True:
            if data.startswith(self.quote, at):
                match = self._quoted.match(data, at)
                if match is None:
                    raise OpenQuoteError
                cells.append(match[1].replace(self.quote * 2, self.quote))
                at = match.end()
                if data.startswith(b"\r\n", at):
                    at += 1
                ends_line = at >= len(data) or data[at] == _NEWLINE
            else:
                start_of_cell = at
                at = self._plain_end(data, at)
                ends_line = at >= len(data) or data[at] == _NEWLINE
                cell = data[start_of_cell:at]
                cells.append(without_return(cell) if ends_line else cell)
            if ends_line:
                return Record(cells, at + 1)
            if not data.startswith(self.delimiter, at):
                raise BadRowError("text after a closing quote")
            at += 1

    def _plain_end(self, data: bytes, start: int) -> int:
        match = self._plain.match(data, start)
        return match.end() if match else start


def is_line(text: bytes, line: bytes) -> bool:
    """Return whether a text is a certain line, perhaps after a byte-order mark of joined files."""
    return without_return(text).removeprefix(codecs.BOM_UTF8) == line


def without_return(line: bytes) -> bytes:
    """Return a line without a carriage return at its end."""
    return line[:-1] if line.endswith(b"\r") else line
