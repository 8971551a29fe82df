"""Parse JSON value by value, however long the file is, without losing what numbers say.

Python's decoder takes a whole text. Here it takes what has been read so far, and more is read if
that ends in the middle of a value.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn, TextIO

from kg.ingest.files import SourceFile
from kg.ingest.scalars import WrittenFloat
from schema.errors import DataError

MAX_VALUE_CHARACTERS = 64 << 20
"""The longest value that is parsed at once."""
MAX_DIGITS = 1000
"""Longer integers stay text: Python takes time that grows with the square of their length."""
_CHUNK_CHARACTERS = 1 << 20
# An error so close to the end of the text may be due to the end: of a literal, an escape sequence.
_NEAR_END = 16
_UNTERMINATED = "Unterminated string"
_WHITE_SPACE = " \t\r\n"
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def written_integer(text: str) -> int | str:
    """Return an integer, or the text of one that is too long to be a number."""
    return int(text) if len(text) <= MAX_DIGITS else text


def merged_members(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return the members of an object; what is said under one name twice becomes a list."""
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    values: dict[str, list[Any]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return {name: _merged(several) for name, several in values.items()}


def _merged(values: list[Any]) -> Any:
    """Return the values of one name: the only one, or the list of all that differ."""
    if len(values) == 1:
        return values[0]
    distinct: list[Any] = []
    for value in values:
        for each in value if isinstance(value, list) else [value]:
            if each not in distinct:
                distinct.append(each)
    return distinct[0] if len(distinct) == 1 else distinct


def record_decoder() -> json.JSONDecoder:
    """Return a decoder that keeps how numbers are written, and all values of a repeated name."""
    return json.JSONDecoder(
        parse_float=WrittenFloat,
        parse_int=written_integer,
        object_pairs_hook=merged_members,
        # Many programs write line breaks into texts as they are.
        strict=False,
    )


def json_text(file: SourceFile) -> TextIO:
    """Open the text of a JSON file: in UTF-8, or in UTF-16 or UTF-32 by its first bytes.

    Bytes that are not UTF-8 become lone surrogates, so that they cost only the record they are in.
    """
    encoding = json.detect_encoding(file.start(4))
    errors = "surrogateescape" if encoding.startswith("utf-8") else "strict"
    return io.TextIOWrapper(file.open(), encoding, errors, newline="")


def has_lone_surrogates(text: str, value: Any) -> bool:
    """Return whether a value, or the JSON text that it was parsed from, has half a character."""
    try:
        text.encode()
        # JSON can escape half of a surrogate pair.
        if _ESCAPED_SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


class JsonStream:
    """A JSON text that is parsed value by value; what was parsed is dropped.

    What is wrong with it is a DataError with its line, after which ``consequence`` is said.
    """

    def __init__(
        self,
        stream: TextIO,
        location: str,
        decoder: json.JSONDecoder | None = None,
        consequence: str = "fix the file, nothing of it was stored",
    ) -> None:
        self._stream = stream
        self._location = location
        self._consequence = consequence
        self._buffer = ""
        self._position = 0
        self._line = 1  # of the place in the buffer up to which lines were counted
        self._counted = 0
        self._at_end = False
        self._decoder = decoder or json.JSONDecoder(parse_constant=self._refuse_constant)
        self.text_is_broken = False
        """Whether the value that was parsed last has text that UTF-8 cannot encode."""
        self.value_start = 0
        """Where the value that was parsed last starts in the text, in characters."""
        self.value_stop = 0
        """Where it ends."""
        self._dropped = 0

    @property
    def line(self) -> int:
        """The line of what comes next."""
        return self._line_of(self._position)

    def peek(self) -> str:
        """Return the next character that is not white space, or "" at the end."""
        while True:
            while (
                self._position < len(self._buffer) and self._buffer[self._position] in _WHITE_SPACE
            ):
                self._position += 1
            if self._position < len(self._buffer):
                return self._buffer[self._position]
            if not self._read_more(_CHUNK_CHARACTERS):
                return ""

    def value(self) -> Any:
        """Parse the next value."""
        size = _CHUNK_CHARACTERS
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._buffer, self._position)
                # A number at the end of the buffer may go on in the file.
                if end < len(self._buffer) or not self._read_more(size):
                    text = self._buffer[self._position : end]
                    self.text_is_broken = has_lone_surrogates(text, value)
                    self.value_start = self._dropped + self._position
                    self.value_stop = self._dropped + end
                    self._position = end
                    return value
            except json.JSONDecodeError as error:
                distance = error.pos - self._position
                may_go_on = len(self._buffer) - error.pos <= _NEAR_END or error.msg.startswith(
                    _UNTERMINATED
                )
                if not may_go_on or not self._read_more(size):
                    self.fail(error.msg, self._position + distance)
            except RecursionError:
                self.fail("nested too deep")
            if len(self._buffer) - self._position > MAX_VALUE_CHARACTERS:
                self.fail(f"a value of more than {MAX_VALUE_CHARACTERS >> 20} million characters")
            # Doubled, so that parsing a long value again and again takes linear time in all.
            size *= 2

    def elements(self) -> Iterator[None]:
        """Stop at each element of the array that comes next.

        The caller takes the element before it asks for the next one.
        """
        return self._positions_until("]")

    def members(self) -> Iterator[str]:
        """Yield the member names of the object that comes next.

        The caller takes the value of each member before it asks for the next name.
        """
        for _ in self._positions_until("}"):
            name = self.value()
            if not isinstance(name, str) or self.peek() != ":":
                self.fail("a member is a name in quotes, a colon and a value")
            self._position += 1
            yield name

    def fail(self, reason: str, position: int | None = None) -> NoReturn:
        """Raise DataError with the line of a position, by default the current one."""
        line = self._line_of(self._position if position is None else position)
        raise DataError(f"{self._location}, line {line}: not JSON ({reason}): {self._consequence}")

    def _line_of(self, position: int) -> int:
        if position >= self._counted:
            self._line += self._buffer.count("\n", self._counted, position)
            self._counted = position
            return self._line
        return self._line - self._buffer.count("\n", position, self._counted)

    def _positions_until(self, closing: str) -> Iterator[None]:
        """Yield at each element of the array or object that opens here."""
        self._position += 1
        if self.peek() == closing:
            self._position += 1
            return
        while True:
            yield
            mark = self.peek()
            self._position += 1
            if mark == closing:
                return
            if mark != ",":
                self._position -= 1
                self.fail(f"',' or {closing!r} is missing")
            # A comma after the last element, which JSON forbids and people write.
            if self.peek() == closing:
                self._position += 1
                return

    def _read_more(self, size: int) -> bool:
        """Read on, and drop what was parsed; returns False at the end of the file."""
        if self._at_end:
            return False
        self._line_of(self._position)
        chunk = self._stream.read(size)
        self._dropped += self._position
        self._buffer = self._buffer[self._position :] + chunk
        self._counted = 0
        self._position = 0
        self._at_end = not chunk
        return bool(chunk)

    def _refuse_constant(self, name: str) -> NoReturn:
        """Refuse NaN and Infinity, which Python's decoder accepts."""
        self.fail(f"{name} is not a number")
