"""What may reach a terminal: text from files, servers and users, without what would steer it.

A title, a file's name or a server's answer may hold escape sequences, which move the cursor, change
colours, rename the window or write to the clipboard, and marks that reverse the order of the
letters. Everything that is printed passes through :func:`printable`: what Catalograph prints
itself, and, by :func:`printable_streams`, whatever else writes to the standard streams.
"""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO, cast

MAX_LINE = 2000
"""Characters of a message; a file's name or a query may have millions."""

_ASCII_ONLY = re.compile(r"[ -~\n]*")
# A zero-width joiner or non-joiner between two characters that may need it: Persian and the scripts
# of India are not readable without them, nor are many emoji. In a Latin word they only deceive.
_NEEDED_JOINER = re.compile(
    "(?<=[^\x00-\x7f\u200c\u200d])[\u200c\u200d](?=[^\x00-\x7f\u200c\u200d])"
)


def printable(value: object) -> str:
    """Return a value as text in which every character that is not for reading is replaced.

    These are control characters (C0 and C1, so every escape sequence), bidirectional and zero-width
    marks, line and paragraph separators, and characters that Unicode does not define. Line feeds
    stay, and spaces of every width; None is the empty text.
    """
    text = "" if value is None else str(value)
    # The usual case, and the fastest.
    if text.isprintable() or _ASCII_ONLY.fullmatch(text):
        return text
    needed = {match.start() for match in _NEEDED_JOINER.finditer(text)}
    return "".join(
        char
        if _is_readable(char) or char == "\n" or place in needed
        else "\N{REPLACEMENT CHARACTER}"
        for place, char in enumerate(text)
    )


def printable_line(value: object) -> str:
    """Return a value as one printable line, cut off after ``MAX_LINE`` characters."""
    line = printable(" ".join(str(value).split()))
    return line if len(line) <= MAX_LINE else line[:MAX_LINE] + "…"


def printable_json(text: str) -> str:
    """Return JSON in which every character that is not printable is escaped, as ``\\u001b``.

    It stands for the same document.
    """
    if text.isprintable():
        return text
    needed = {match.start() for match in _NEEDED_JOINER.finditer(text)}
    return "".join(
        char if _is_readable(char) or char == "\n" or place in needed else _escaped(char)
        for place, char in enumerate(text)
    )


def _is_readable(char: str) -> bool:
    # Python calls only one of the spaces printable.
    return char.isprintable() or (char.isspace() and char not in _NOT_SPACES)


_NOT_SPACES = frozenset("\t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\u2028\u2029")


def _escaped(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i] << 8 | units[i + 1]:04x}" for i in range(0, len(units), 2))


class PrintableStream(io.TextIOBase):
    """A standard stream whose every text is made printable on its way to ``stream``."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write a text; returns its length. Raises TypeError on bytes, as text streams do."""
        if not isinstance(text, str):
            raise TypeError(f"a text stream takes no {type(text).__name__}")
        self.stream.write(printable(text))
        return len(text)

    def flush(self) -> None:
        """Write out what is buffered."""
        self.stream.flush()

    def isatty(self) -> bool:
        """Return whether the stream is a terminal."""
        return self.stream.isatty()

    def fileno(self) -> int:
        """Return the number of the file behind the stream."""
        return self.stream.fileno()

    def writable(self) -> bool:
        """Return True."""
        return True

    @property
    def buffer(self) -> BinaryIO:
        """The stream of bytes, on which nothing is replaced."""
        return self.stream.buffer

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of the stream."""
        return self.stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        """How the stream deals with characters that its encoding lacks."""
        return self.stream.errors


@contextmanager
def printable_streams() -> Iterator[None]:
    """Make everything printable that Python code writes to stdout and stderr meanwhile.

    That covers libraries, warnings, logs and tracebacks, of other threads, too.
    """
    before = sys.stdout, sys.stderr
    sys.stdout = cast("TextIO", PrintableStream(sys.stdout))
    sys.stderr = cast("TextIO", PrintableStream(sys.stderr))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def open_closed_streams() -> None:
    """Open the standard streams that were closed when Python started, and lead them nowhere.

    Otherwise the next file that is opened gets the number of one, and what a library prints goes
    into it, or a child process takes it for its own stream.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free, which is this one.
            os.open(os.devnull, os.O_RDWR)
    sys.stdin = sys.stdin or Path(os.devnull).open(encoding="utf-8")  # noqa: SIM115
    sys.stdout = sys.stdout or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115


def unguarded(stream: TextIO) -> TextIO:
    """Return the stream behind a :class:`PrintableStream`, for what writes its own colours."""
    return stream.stream if isinstance(stream, PrintableStream) else stream
