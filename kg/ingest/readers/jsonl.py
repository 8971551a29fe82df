"""JSONL: one JSON object per line."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from kg.ingest.files import SourceFile
from kg.ingest.json_stream import has_lone_surrogates, record_decoder
from kg.ingest.records import RecordReader
from kg.ingest.rows import BadRowError, Record
from schema.errors import DataError
from schema.rejects import MAX_REJECT_TEXT, RejectedRow

MAX_LINE_BYTES = 64 << 20
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Line:
    """A line: its number, its start without blanks, and whether there is more than is read."""

    number: int
    content: bytes
    too_long: bool


class JsonlReader(RecordReader):
    """Reads JSONL. A line that is no object costs only itself.

    Lines that belong to an array are read, too: a ``[`` or ``]`` alone, and commas at the end.
    """

    suffixes = (".jsonl", ".ndjson")
    is_divided = True

    def records(self, file: SourceFile, path: str) -> Iterator[Record | RejectedRow]:
        """Read the lines that are not blank, in UTF-8, or in UTF-16 by the first bytes."""
        yield from records_in(lines_of(file), file.location)


def lines_of(file: SourceFile) -> Iterator[Line]:
    """Yield the lines of a file in UTF-8 that hold something: each is a record or is rejected."""
    for line in _lines(file):
        content = line.content.strip()
        if content not in (b"", b"[", b"]", b"],"):
            yield Line(line.number, content, line.too_long)


def records_in(lines: Iterable[Line], location: str) -> Iterator[Record | RejectedRow]:
    """Yield the record of each line of a file, or the line as a rejected row."""
    decoder = record_decoder()
    for line in lines:
        try:
            if line.too_long:
                raise BadRowError(f"a line of more than {MAX_LINE_BYTES >> 20} MB")
            yield Record(line.number, _parse(line.content, decoder))
        except BadRowError as error:
            text = line.content[:MAX_REJECT_TEXT].decode(errors="replace")
            yield RejectedRow(location, line.number, str(error), text)


def _lines(file: SourceFile) -> Iterator[Line]:
    """Yield the lines of a file in UTF-8."""
    encoding = json.detect_encoding(file.start(4))
    if not encoding.startswith("utf-8"):
        with io.TextIOWrapper(file.open(), encoding, newline="\n") as text:
            yield from _decoded_lines(text, file)
        return
    number = 0
    with file.open() as stream:
        while content := stream.readline(MAX_LINE_BYTES):
            number += 1
            too_long = len(content) == MAX_LINE_BYTES and not content.endswith(b"\n")
            if too_long:
                while (rest := stream.readline(1 << 20)) and not rest.endswith(b"\n"):
                    pass
            if number == 1:
                content = content.removeprefix(_BYTE_ORDER_MARK)
            yield Line(number, content, too_long)


def _decoded_lines(stream: io.TextIOWrapper, file: SourceFile) -> Iterator[Line]:
    number = 0
    try:
        while content := stream.readline(MAX_LINE_BYTES):
            number += 1
            too_long = len(content) == MAX_LINE_BYTES and not content.endswith("\n")
            while too_long and (rest := stream.readline(1 << 20)) and not rest.endswith("\n"):
                pass
            yield Line(number, content.encode(errors="surrogatepass"), too_long)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file.location}, line {number + 1}: not valid {stream.encoding.upper()} "
            f"({error.reason}): what comes after it is not read; convert the file to UTF-8"
        ) from None


def _parse(content: bytes, decoder: json.JSONDecoder) -> dict[str, Any]:
    """Return the object of a line; raises BadRowError if it is none, or has no valid text."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise BadRowError("not valid UTF-8") from None
    try:
        value = decoder.decode(text.removesuffix(","))
    except RecursionError:
        raise BadRowError("nested too deep") from None
    except ValueError as error:
        raise BadRowError(f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise BadRowError("not a JSON object")
    if has_lone_surrogates(text, value):
        raise BadRowError("a lone surrogate: text that UTF-8 cannot encode")
    return value


READER = JsonlReader()
