"""Split JSON-LD into pieces that fit into memory, with local contexts: nothing is ever fetched."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn, TextIO

from schema.errors import DataError

SCHEMA_ORG_CONTEXT = {
    "@vocab": "https://schema.org/",
    "schema": "https://schema.org/",
    "id": "@id",
    "type": "@type",
}
"""Replaces schema.org's context; products need no more of it."""
_SCHEMA_ORG_CONTEXT_URL = re.compile(
    r"https?://(www\.)?schema\.org(/|/docs/jsonldcontext\.jsonl?d?(json)?)?"
)
_CHUNK_CHARACTERS = 1 << 20
_NODES_PER_PIECE = 1000


def split_json_ld(path: Path) -> Iterator[str]:
    """Split a file into JSON-LD documents of at most 1,000 nodes each.

    Raises DataError if the file is malformed, with the line, or if a context would have to be
    fetched.
    """
    with path.open(encoding="utf-8-sig") as stream:
        parser = _JsonStream(stream, path)
        try:
            for document in _documents(parser):
                yield json.dumps(_with_local_contexts(document, path))
        except UnicodeDecodeError:
            raise DataError(f"{path} is not valid UTF-8: convert it first") from None
        except RecursionError:
            raise DataError(
                f"{path} is nested too deep: JSON-LD of products is a few levels deep"
            ) from None


def _documents(parser: _JsonStream) -> Iterator[Any]:
    if parser.peek() == "[":
        for nodes in _grouped(parser.elements()):
            yield from nodes
    elif parser.peek() == "{":
        yield from _documents_of_object(parser)
    else:
        parser.fail("it is neither an object nor an array")
    if parser.peek():
        parser.fail("something follows its end")


def _documents_of_object(parser: _JsonStream) -> Iterator[Any]:
    """Yield the nodes of an object's ``@graph`` in groups, then the rest of the object.

    A graph is only split if its context comes first, because each group needs the context.
    """
    rest: dict[str, Any] = {}
    for name in parser.members():
        if name == "@graph" and "@context" in rest and parser.peek() == "[":
            for nodes in _grouped(parser.elements()):
                yield {"@context": rest["@context"], "@graph": nodes}
        else:
            rest[name] = parser.value()
    yield rest


def _grouped(nodes: Iterator[Any]) -> Iterator[list[Any]]:
    group = []
    for node in nodes:
        group.append(node)
        if len(group) == _NODES_PER_PIECE:
            yield group
            group = []
    yield group


def _with_local_contexts(value: Any, path: Path) -> Any:
    """Replace the URL of schema.org's context, at any depth, by the context itself."""
    if isinstance(value, list):
        return [_with_local_contexts(element, path) for element in value]
    if not isinstance(value, dict):
        return value
    local = {}
    for name, member in value.items():
        if name == "@context":
            local[name] = _local_context(member, path)
        else:
            local[name] = _with_local_contexts(member, path)
    return local


def _local_context(context: Any, path: Path) -> Any:
    if isinstance(context, list):
        return [_local_context(element, path) for element in context]
    # A context may import another one, which would be fetched as well.
    if isinstance(context, dict) and "@import" in context:
        context = context["@import"]
    if not isinstance(context, str):
        return _with_local_contexts(context, path)
    if not _SCHEMA_ORG_CONTEXT_URL.fullmatch(context):
        raise DataError(
            f"{path} has the context {context[:80]!r}, which would have to be fetched: "
            "write the context into the file"
        )
    return SCHEMA_ORG_CONTEXT


class _JsonStream:
    """A JSON file that is parsed value by value; text that was parsed is dropped."""

    def __init__(self, stream: TextIO, path: Path) -> None:
        self._stream = stream
        self._path = path
        self._buffer = ""
        self._position = 0
        self._line = 1  # of the buffer's start
        self._at_end = False
        self._decoder = json.JSONDecoder(parse_constant=self._refuse_constant)

    def peek(self) -> str:
        """Return the next character that is not white space, or "" at the end."""
        while True:
            while self._position < len(self._buffer) and self._buffer[self._position] in " \t\r\n":
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
                    self._position = end
                    return value
            except json.JSONDecodeError as error:
                distance = error.pos - self._position
                if not self._read_more(size):
                    self.fail(error.msg, self._position + distance)
            # Doubled, so that parsing a long value again and again takes linear time in all.
            size *= 2

    def elements(self) -> Iterator[Any]:
        """Parse the elements of the array that comes next."""
        for _ in self._positions_until("]"):
            yield self.value()

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
        if position is None:
            position = self._position
        line = self._line + self._buffer.count("\n", 0, position)
        raise DataError(
            f"{self._path}, line {line}: not JSON ({reason}): "
            "fix the file, nothing of it was stored"
        )

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

    def _read_more(self, size: int) -> bool:
        """Read on, and drop what was parsed; returns False at the end of the file."""
        if self._at_end:
            return False
        self._line += self._buffer.count("\n", 0, self._position)
        chunk = self._stream.read(size)
        self._buffer = self._buffer[self._position :] + chunk
        self._position = 0
        self._at_end = not chunk
        return bool(chunk)

    def _refuse_constant(self, name: str) -> NoReturn:
        """Refuse NaN and Infinity, which Python's decoder accepts."""
        self.fail(f"{name} is not a number")
