"""Text of any encoding as blocks of whole lines in UTF-8, in bounded memory.

Everything after this works on UTF-8, in which an ASCII sign is never a part of another sign, as it
is in Shift-JIS or GB18030. What cannot be decoded becomes bytes that are not valid UTF-8, so that
the row that has them is found and rejected.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from kg.ingest.readers.encodings import Encoding

BLOCK_BYTES = 1 << 21
"""About the size of a block. Larger ones are not read faster."""

MAX_LINE_BYTES = 1 << 26
"""The longest line, and so the longest cell. A longer one is passed over in flat memory."""

_START_BYTES = 1000


@dataclass(frozen=True, slots=True)
class LongLine:
    """A line of more than ``MAX_LINE_BYTES``, of which only the start is kept."""

    start: bytes


def read_blocks(
    stream: BinaryIO, encoding: Encoding, any_line_end: bool, block_bytes: int = BLOCK_BYTES
) -> Iterator[bytes | LongLine]:
    r"""Yield a text as blocks of whole lines in UTF-8, each of which ends with ``\n``.

    With ``any_line_end`` every carriage return becomes a newline, unless one follows.
    """
    stream.read(encoding.mark_bytes)
    chunks = utf8_chunks(iter(lambda: stream.read(block_bytes), b""), encoding.name)
    if any_line_end:
        chunks = _with_newlines(chunks)
    yield from _whole_lines(chunks)


def utf8_chunks(chunks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """Decode chunks of bytes and yield them in UTF-8, with invalid bytes where they were invalid.

    Text that is in UTF-8 already is not checked.
    """
    if encoding == "utf-8":
        yield from chunks
        return
    decoder = codecs.getincrementaldecoder(encoding)(errors=_MARK_INVALID)
    for chunk in chunks:
        yield decoder.decode(chunk).encode("utf-8", "surrogatepass")
    yield decoder.decode(b"", True).encode("utf-8", "surrogatepass")


def _mark_invalid(error: UnicodeError) -> tuple[str, int]:
    """Replace bytes that cannot be decoded by lone surrogates, which UTF-8 has no bytes for.

    Unlike Python's "surrogateescape" also bytes of ASCII, which UTF-16 can have there.
    """
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(chr(0xDC00 + byte) for byte in error.object[error.start : error.end]), error.end


_MARK_INVALID = "catalograph.mark-invalid"
codecs.register_error(_MARK_INVALID, _mark_invalid)


def _with_newlines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    ends_with_return = False
    for chunk in chunks:
        if ends_with_return:
            chunk = b"\r" + chunk
        # The next chunk may start with the newline that belongs to it.
        ends_with_return = chunk.endswith(b"\r")
        if ends_with_return:
            chunk = chunk[:-1]
        yield chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if ends_with_return:
        yield b"\n"


def _whole_lines(chunks: Iterable[bytes]) -> Iterator[bytes | LongLine]:
    parts: list[bytes] = []
    size = 0
    passing_over = False
    for chunk in chunks:
        if passing_over:
            end = chunk.find(b"\n")
            if end < 0:
                continue
            passing_over = False
            chunk = chunk[end + 1 :]
        end = chunk.rfind(b"\n") + 1
        if end:
            yield b"".join((*parts, chunk[:end]))
            parts = []
            size = 0
        if end < len(chunk):
            parts.append(chunk[end:])
            size += len(parts[-1])
        if size > MAX_LINE_BYTES:
            yield LongLine(parts[0][:_START_BYTES])
            parts = []
            size = 0
            passing_over = True
    if parts:
        yield b"".join((*parts, b"\n"))
