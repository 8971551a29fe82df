"""Read XML element by element, in flat memory, and without what is dangerous in it.

No entity is declared, expanded or fetched, whoever wrote the file: an XML entity can name any file
of this machine, or expand to gigabytes (https://owasp.org/www-community/vulnerabilities/). Only the
five of XML itself are known, and the names that HTML has for characters, which feeds use without
declaring them.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.entities import html5
from typing import TYPE_CHECKING, BinaryIO

from kg.ingest.files import SourceFile
from schema.errors import DataError

if TYPE_CHECKING:
    from pyexpat import XMLParserType

MAX_DEPTH = 256
"""How deep elements may be nested."""
MAX_TAG_BYTES = 8 << 20
"""The longest tag or comment: the parser reads one anew with every chunk."""
MAX_RECORD_CHARACTERS = 64 << 20
"""The largest element that is kept in memory, names and texts together."""
_CHUNK_BYTES = 1 << 17
_DECLARATION = re.compile(rb"\A\s*<\?xml[^>]*?encoding\s*=\s*[\"']([\w.:-]+)[\"']")
_DECLARED_ENCODING = re.compile(r"(\A\s*<\?xml[^>]*?)\s+encoding\s*=\s*([\"'])[\w.:-]+\2")
_ENTITY = re.compile(r"&(?!(?:amp|lt|gt|quot|apos);)([A-Za-z][A-Za-z0-9]{1,31});")
_OPEN_ENTITY = re.compile(r"&[A-Za-z0-9]{0,32}\Z")
_SPECIAL = frozenset("<>&\"'")
_SEPARATOR = " "  # between a namespace and a name; neither may have a space


@dataclass(slots=True)
class Element:
    """An element that is kept: its line, name, attributes, and its texts and elements in order.

    ``space`` is its namespace, and ``prefix`` what stands for that in the file.
    """

    line: int
    name: str
    space: str
    attributes: dict[str, str] = field(default_factory=dict)
    content: list[str | Element] = field(default_factory=list)


class XmlStream:
    """The elements of an XML file, of which those that ``wanted`` names are kept and yielded.

    What is wrong with the file is a DataError with its line, after which ``consequence`` is said.
    """

    def __init__(self, file: SourceFile, consequence: str = "fix the file") -> None:
        self._file = file
        self._consequence = consequence
        self.prefixes: dict[str, str] = {}
        """The prefix of each namespace of the file; "" for that of names without one."""

    def elements(self, wanted: tuple[str, ...], is_anchored: bool) -> Iterator[Element]:
        """Yield the elements to which the names of ``wanted`` lead, in the order of the file.

        The names are those of the last elements on the way or, if it is anchored, of all.
        """
        handler = _Handler(self, wanted, is_anchored)
        with self._file.open() as stream:
            for _ in self._parse(stream, handler):
                yield from handler.take()

    def walk(self, visitor: Visitor, max_bytes: int) -> None:
        """Show the elements at the start of the file to a visitor."""
        handler = _Walker(self, visitor)
        with self._file.open() as stream:
            for fed in self._parse(stream, handler):
                if fed >= max_bytes:
                    break

    def fail(self, reason: str, line: int) -> DataError:
        """Return the error of a line."""
        return DataError(f"{self._file.location}, line {line}: {reason}: {self._consequence}")

    def _parse(self, stream: BinaryIO, handler: _BaseHandler) -> Iterator[int]:
        """Parse a stream; yield the number of bytes so far after each chunk of it."""
        from pyexpat import ExpatError, errors

        parser = handler.parser
        fed = 0
        chunks = _utf8_chunks(stream, self)
        try:
            while True:
                chunk = next(chunks, b"")
                parser.Parse(chunk, not chunk)
                fed += len(chunk)
                if fed - max(parser.CurrentByteIndex, 0) > MAX_TAG_BYTES:
                    raise self.fail(
                        f"a tag or comment of more than {MAX_TAG_BYTES >> 20} MB",
                        parser.CurrentLineNumber,
                    )
                yield fed
                if not chunk:
                    return
        except DataError:
            # What was complete before it is read.
            yield fed
            raise
        except ExpatError as error:
            yield fed
            if error.code == errors.codes[errors.XML_ERROR_NO_ELEMENTS] and not fed:
                raise DataError(
                    f"{self._file.location} is empty: there is nothing to read"
                ) from None
            what = errors.messages.get(error.code, "not well-formed")
            raise self.fail(f"broken XML ({what})", error.lineno) from None


class Visitor:
    """Is shown the elements of a file; a subclass counts them."""

    def start(self, path: tuple[str, ...], attribute_count: int) -> None:
        """See the start of the element to which ``path`` leads, the root's name first."""

    def end(self, path: tuple[str, ...], child_count: int) -> None:
        """See the end of an element with so many elements in it."""


class _BaseHandler:
    """What the parser calls."""

    def __init__(self, stream: XmlStream) -> None:
        from pyexpat import ParserCreate

        self._stream = stream
        self.path: list[str] = []
        parser = ParserCreate("utf-8", _SEPARATOR)
        self.parser: XMLParserType = parser
        parser.buffer_text = True
        parser.ordered_attributes = True
        # Those that a document type gives to elements could be long, and repeated without end.
        parser.specified_attributes = True
        # With a document type that is not read, unknown entities are skipped and not an error.
        parser.UseForeignDTD(True)
        parser.ExternalEntityRefHandler = self._external
        parser.EntityDeclHandler = self._entity
        parser.SkippedEntityHandler = self._skipped
        parser.StartNamespaceDeclHandler = self._namespace
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text

    def _external(self, *_: object) -> int:
        # Nothing is read in its place. 1 stands for success.
        return 1

    def _entity(self, *_: object) -> None:
        raise self._stream.fail(
            "declares an entity, which can be used to read other files or to fill the memory",
            self.parser.CurrentLineNumber,
        )

    def _namespace(self, prefix: str | None, uri: str | None) -> None:
        known = self._stream.prefixes
        # The first prefix counts; a name without one is the shortest.
        if uri and len(known) < 1000:
            known.setdefault(uri, prefix or "")

    def _start(self, name: str, attributes: list[str]) -> None:
        raise NotImplementedError

    def _end(self, name: str) -> None:
        raise NotImplementedError

    def _text(self, text: str) -> None:
        return

    def _skipped(self, name: str, is_parameter: bool) -> None:
        if not is_parameter:
            # A name that nobody knows stays as it is written.
            self._text(html5.get(f"{name};", f"&{name};"))

    def _push(self, name: str) -> None:
        self.path.append(name)
        if len(self.path) > MAX_DEPTH:
            raise self._stream.fail(
                f"elements are nested more than {MAX_DEPTH} deep", self.parser.CurrentLineNumber
            )


class _Walker(_BaseHandler):
    def __init__(self, stream: XmlStream, visitor: Visitor) -> None:
        super().__init__(stream)
        self._visitor = visitor
        self._counts: list[int] = []

    def _start(self, name: str, attributes: list[str]) -> None:
        if self._counts:
            self._counts[-1] += 1
        self._push(name.rpartition(_SEPARATOR)[2])
        self._counts.append(0)
        self._visitor.start(tuple(self.path), len(attributes) // 2)

    def _end(self, name: str) -> None:
        self._visitor.end(tuple(self.path), self._counts.pop())
        self.path.pop()


class _Handler(_BaseHandler):
    """Keeps the wanted elements until they are taken."""

    def __init__(self, stream: XmlStream, wanted: tuple[str, ...], is_anchored: bool) -> None:
        super().__init__(stream)
        self._wanted = list(wanted)
        self._is_anchored = is_anchored
        self._open: list[Element] = []  # the wanted element, and those in it on the way down
        self._size = 0
        self._done: list[Element] = []

    def take(self) -> list[Element]:
        """Return the elements that are complete."""
        done = self._done
        self._done = []
        return done

    def _start(self, name: str, attributes: list[str]) -> None:
        space, _, local = name.rpartition(_SEPARATOR)
        self._push(local)
        if not self._open:
            path = self.path
            is_wanted = path[-len(self._wanted) :] == self._wanted
            if not is_wanted or (self._is_anchored and len(path) != len(self._wanted)):
                return
            self._size = 0
        element = Element(self.parser.CurrentLineNumber, local, space)
        for position in range(0, len(attributes), 2):
            attribute = attributes[position].rpartition(_SEPARATOR)[2]
            element.attributes[attribute] = attributes[position + 1]
            self._grow(len(attribute) + len(attributes[position + 1]))
        self._grow(len(local) + 64)
        if self._open:
            self._open[-1].content.append(element)
        self._open.append(element)

    def _end(self, name: str) -> None:
        self.path.pop()
        if self._open:
            element = self._open.pop()
            if not self._open:
                self._done.append(element)

    def _text(self, text: str) -> None:
        if self._open:
            self._grow(len(text))
            self._open[-1].content.append(text)

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > MAX_RECORD_CHARACTERS:
            raise self._stream.fail(
                f"a record of more than {MAX_RECORD_CHARACTERS >> 20} million characters "
                f"({self._open[0].name if self._open else self.path[-1]!r})",
                self.parser.CurrentLineNumber,
            )


def _utf8_chunks(stream: BinaryIO, xml: XmlStream) -> Iterator[bytes]:
    """Yield the bytes of XML in chunks, in UTF-8 whatever its encoding is.

    The parser knows few encodings itself.
    """
    start = stream.read(_CHUNK_BYTES)
    encoding = _encoding(start)
    try:
        decoder = codecs.getincrementaldecoder(encoding)()
    except LookupError:
        raise xml.fail(f"unknown encoding {encoding[:40]!r}", 1) from None
    chunk = start
    line = 1
    is_first = True
    held_back = ""
    while chunk:
        try:
            text = held_back + decoder.decode(chunk)
        except UnicodeDecodeError as error:
            line += chunk.count(b"\n", 0, error.start)
            raise xml.fail(f"not valid {encoding} as it says it is", line) from None
        line += chunk.count(b"\n")
        if is_first:
            # The text is in another encoding now than it says.
            text = _DECLARED_ENCODING.sub(r"\1", text.lstrip("\ufeff"))
            text = text.lstrip() if text.lstrip().startswith("<?xml") else text
            is_first = False
        chunk = stream.read(_CHUNK_BYTES)
        cut = _OPEN_ENTITY.search(text) if chunk else None
        held_back = cut[0] if cut else ""
        text = text[: len(text) - len(held_back)]
        yield _ENTITY.sub(_character, text).encode(errors="surrogatepass") or b" "


def _character(entity: re.Match[str]) -> str:
    """Return the character that HTML has for a name, and any other name as it is.

    The parser would tell of unknown names in texts, but drop them from attributes without a word.
    """
    character = html5.get(f"{entity[1]};", "<")
    return entity[0] if character in _SPECIAL else character


def _encoding(start: bytes) -> str:
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF32_LE, "utf-32"),
        (codecs.BOM_UTF32_BE, "utf-32"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if start.startswith(mark):
            return encoding
    if start.startswith(b"<\0"):
        return "utf-16-le"
    if start.startswith(b"\0<"):
        return "utf-16-be"
    declared = _DECLARATION.search(start[:1024])
    if declared is None:
        return "utf-8"
    name = declared[1].decode("ascii", "replace")
    # One that takes two bytes for each character cannot be declared in ASCII.
    return "utf-8" if name.lower().startswith(("utf-16", "utf-32", "ucs")) else _windows(name)


def _windows(name: str) -> str:
    """Return the encoding that a name stands for: programs say ISO-8859-1 and write cp1252."""
    try:
        known = codecs.lookup(name).name
    except LookupError:
        return name
    return "cp1252" if known == "iso8859-1" else known
