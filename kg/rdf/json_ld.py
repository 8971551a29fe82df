"""JSON-LD in parts that fit into memory, its contexts local: no address is ever fetched."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn, TextIO

from schema.errors import DataError

SCHEMA_ORG = {
    "@vocab": "https://schema.org/",
    "schema": "https://schema.org/",
    "id": "@id",
    "type": "@type",
}
"""Stands for schema.org's context, of which a product needs no more."""
_KNOWN = re.compile(r"https?://(www\.)?schema\.org(/|/docs/jsonldcontext\.jsonl?d?(json)?)?")
_CHUNK = 1 << 20
_NODES = 1000


def parts(path: Path) -> Iterator[str]:
    """A file as JSON-LD documents of some nodes each; raises DataError naming file and line, or a context that would have to be fetched."""
    with path.open(encoding="utf-8-sig") as stream:
        text = _Text(stream, path)
        try:
            yield from (json.dumps(_local(document, path)) for document in _documents(text))
        except UnicodeDecodeError:
            raise DataError(f"{path} is not valid UTF-8: convert it first") from None
        except RecursionError:
            raise DataError(
                f"{path} is nested too deep: JSON-LD of products is a few levels deep"
            ) from None


def _documents(text: _Text) -> Iterator[Any]:
    if text.peek() == "[":
        for nodes in _grouped(text.elements()):
            yield from nodes
    elif text.peek() == "{":
        yield from _of_object(text)
    else:
        text.fail("it is neither an object nor an array")
    if text.peek():
        text.fail("something follows its end")


def _of_object(text: _Text) -> Iterator[Any]:
    """An object's ``@graph`` by groups where its context stands before it, and whatever else the object says."""
    rest: dict[str, Any] = {}
    for name in text.members():
        if name == "@graph" and "@context" in rest and text.peek() == "[":
            yield from (
                {"@context": rest["@context"], "@graph": nodes}
                for nodes in _grouped(text.elements())
            )
        else:
            rest[name] = text.value()
    yield rest


def _grouped(nodes: Iterator[Any]) -> Iterator[list[Any]]:
    group = []
    for node in nodes:
        group.append(node)
        if len(group) == _NODES:
            yield group
            group = []
    yield group


def _local(found: Any, path: Path) -> Any:
    """The document with schema.org's context written out."""
    if isinstance(found, list):
        return [_local(each, path) for each in found]
    if not isinstance(found, dict):
        return found
    return {
        name: _context(each, path) if name == "@context" else _local(each, path)
        for name, each in found.items()
    }


def _context(found: Any, path: Path) -> Any:
    if isinstance(found, list):
        return [_context(each, path) for each in found]
    if isinstance(found, dict) and "@import" in found:
        found = found["@import"]
    if not isinstance(found, str):
        return _local(found, path)
    if not _KNOWN.fullmatch(found):
        raise DataError(
            f"{path} has the context {found[:80]!r}, which would have to be fetched: write the context into the file"
        )
    return SCHEMA_ORG


class _Text:
    """JSON read from a file value by value."""

    def __init__(self, stream: TextIO, path: Path) -> None:
        self._stream = stream
        self._path = path
        self._buffer = ""
        self._at = 0
        self._line = 1
        self._ended = False
        self._decoder = json.JSONDecoder(parse_constant=self._no_number)

    def peek(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            while self._at < len(self._buffer) and self._buffer[self._at] in " \t\r\n":
                self._at += 1
            if self._at < len(self._buffer):
                return self._buffer[self._at]
            if not self._more(_CHUNK):
                return ""

    def value(self) -> Any:
        """The next value."""
        size = _CHUNK
        self.peek()
        while True:
            try:
                found, end = self._decoder.raw_decode(self._buffer, self._at)
                if end < len(self._buffer) or not self._more(size):
                    self._at = end
                    return found
            except json.JSONDecodeError as error:
                if not self._more(size):
                    self.fail(error.msg, error.pos)
            size *= 2

    def elements(self) -> Iterator[Any]:
        """The elements of the array that comes next."""
        yield from (self.value() for _ in self._until("]"))

    def members(self) -> Iterator[str]:
        """The names of the members of the object that comes next; the value of each is to be taken in between."""
        for _ in self._until("}"):
            name = self.value()
            if not isinstance(name, str) or self.peek() != ":":
                self.fail("a member is a name in quotes, a colon and a value")
            self._at += 1
            yield name

    def fail(self, reason: str, at: int | None = None) -> NoReturn:
        """Raise DataError on what stands here."""
        line = self._line + self._buffer.count("\n", 0, self._at if at is None else at)
        raise DataError(
            f"{self._path}, line {line}: not JSON ({reason}): mend the file, nothing of it was stored"
        )

    def _until(self, closing: str) -> Iterator[None]:
        """Once for each part of the brackets that open here."""
        self._at += 1
        if self.peek() == closing:
            self._at += 1
            return
        while True:
            yield
            mark = self.peek()
            self._at += 1
            if mark == closing:
                return
            if mark != ",":
                self._at -= 1
                self.fail(f"',' or {closing!r} is missing")

    def _more(self, size: int) -> bool:
        """Read on; what was used is let go."""
        if self._ended:
            return False
        self._line += self._buffer.count("\n", 0, self._at)
        chunk = self._stream.read(size)
        self._buffer = self._buffer[self._at :] + chunk
        self._at = 0
        self._ended = not chunk
        return bool(chunk)

    def _no_number(self, name: str) -> NoReturn:
        self.fail(f"{name} is no number")
