"""JSON: a list of objects, at the top of a document or within it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from kg.ingest.files import SourceFile
from kg.ingest.json_stream import JsonStream, json_text, record_decoder
from kg.ingest.records import RecordReader
from kg.ingest.rows import Record
from schema.errors import DataError
from schema.rejects import MAX_REJECT_TEXT, RejectedRow

ANY_NAME = "*"
"""In the place of records: the members of an object, whatever their names are."""
KEY_MEMBER = "@key"
"""The member of a record with the name that it has in such an object."""
_MAX_SEARCH_DEPTH = 8
_MAX_NAMES = 1000  # of the members of an object that are remembered
_LOOKED_AT = 20  # elements of a list, to find what is in them
# How lists are called that hold the products of a document; compared without case.
_PRODUCT_LISTS = frozenset(
    (
        "products product items item articles article goods skus listings offers catalog catalogue "
        "artikel produkte produits articulos productos prodotti articoli producten produtos"
    ).split()
)
_OTHER_LISTS = frozenset(
    ("data", "results", "records", "rows", "entries", "hits", "docs", "documents", "nodes", "edges")
)
_ID_MEMBERS = frozenset(("id", "sku", "gtin", "ean", "asin", "code", "productid", "itemid"))
_TITLE_MEMBERS = frozenset(("title", "name", "productname", "itemname", "label"))


@dataclass(frozen=True, slots=True)
class LocatedRecord:
    """A record, or what is none, and where in the text of its file it starts and ends.

    Positions are counted in characters, without a byte-order mark.
    """

    record: Record | RejectedRow
    start: int
    stop: int


@dataclass(frozen=True)
class _Place:
    """A list of objects in a document: the names that lead to it, and its length."""

    path: tuple[str, ...]
    count: int

    @property
    def rank(self) -> tuple[int, int]:
        """What is preferred: lists of products by their name, and then the longest."""
        name = next((each for each in reversed(self.path) if each != ANY_NAME), "")
        return _name_rank(name), self.count


@dataclass
class _Found:
    """What is found in an object.

    Attributes:
        places: the lists of objects in it
        scalars: the names of its own values, in lower case
        names: the names of its members
        damage: what is wrong with the document from some place on
    """

    places: list[_Place] = field(default_factory=list)
    scalars: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    damage: DataError | None = None


@dataclass
class _Members:
    """The members of an object that may hold a record each, as in {"4711": {..}, "4712": {..}}."""

    count: int = 0
    objects: int = 0
    shared: set[str] = field(default_factory=set)
    fewest: int = 0

    def add_object(self, found: _Found) -> None:
        """Add a member that is an object."""
        self.objects += 1
        self.shared = found.names if self.objects == 1 else self.shared & found.names
        self.fewest = min(self.fewest or len(found.names), len(found.names))

    def are_alike(self) -> bool:
        """Return whether all are objects whose members have mostly the same names."""
        are_objects = self.objects == self.count and self.objects > 1
        return are_objects and bool(self.shared) and 2 * len(self.shared) >= self.fewest


class JsonReader(RecordReader):
    """Reads JSON documents of any size: what was read is dropped.

    The records are the elements of an array, the longest list of objects in an object, or several
    objects one after another. In a place such as ``categories/products`` lists on the way need no
    name of their own, ``*`` is any name, and ``~1`` a slash in a name (RFC 6901).
    """

    suffixes = (".json",)

    def find_records(self, file: SourceFile) -> str:
        """Return the names that lead to the records, joined by slashes."""
        with json_text(file) as stream:
            parser = JsonStream(stream, file.location, record_decoder())
            try:
                return _find_path(parser, file)
            except UnicodeDecodeError:
                raise _not_decodable(file) from None

    def records(self, file: SourceFile, path: str) -> Iterator[Record | RejectedRow]:
        """Read the records at a place."""
        return (located.record for located in self.located_records(file, path))

    def located_records(self, file: SourceFile, path: str) -> Iterator[LocatedRecord]:
        """Read the records at a place, each with its position in the text of the file."""
        names = [_unescaped(name) for name in path.split("/")] if path else []
        with json_text(file) as stream:
            consequence = "what comes after it is not read; fix the file, and load it again"
            parser = JsonStream(stream, file.location, record_decoder(), consequence)
            try:
                # One value at the top, or several one after another.
                while parser.peek():
                    for line, value in _values_at(parser, names, 0):
                        record = _record(file, line, value, parser.text_is_broken)
                        yield LocatedRecord(record, parser.value_start, parser.value_stop)
            except UnicodeDecodeError:
                raise _not_decodable(file) from None


def _not_decodable(file: SourceFile) -> DataError:
    return DataError(f"{file.location} is not valid text in its encoding: convert it to UTF-8")


def _record(file: SourceFile, line: int, value: Any, is_broken: bool) -> Record | RejectedRow:
    if isinstance(value, dict) and not is_broken:
        return Record(line, value)
    reason = "not valid UTF-8, or a lone surrogate" if is_broken else "not a JSON object"
    text = str(value)[:MAX_REJECT_TEXT].encode(errors="replace").decode()
    return RejectedRow(file.location, line, reason, text)


def _values_at(parser: JsonStream, names: Sequence[str], depth: int) -> Iterator[tuple[int, Any]]:
    """Yield the line and value of each record at a place, of which ``depth`` names are behind."""
    mark = parser.peek()
    if mark == "[" and (depth == len(names) or depth < _MAX_SEARCH_DEPTH):
        for _ in parser.elements():
            if depth < len(names):
                yield from _values_at(parser, names, depth)
            else:
                parser.peek()
                yield parser.line, parser.value()
    elif mark == "{" and depth < len(names):
        for name in parser.members():
            if names[depth] == name:
                yield from _values_at(parser, names, depth + 1)
            elif names[depth] == ANY_NAME:
                yield from _named_values(parser, names, depth, name)
            else:
                parser.value()
    else:
        line = parser.line
        value = parser.value()
        if depth == len(names):
            yield line, value


def _named_values(
    parser: JsonStream, names: Sequence[str], depth: int, name: str
) -> Iterator[tuple[int, Any]]:
    """Yield the values of a member with any name; of a record, with that name."""
    if depth + 1 < len(names):
        yield from _values_at(parser, names, depth + 1)
        return
    parser.peek()
    line = parser.line
    value = parser.value()
    yield line, {KEY_MEMBER: name, **value} if isinstance(value, dict) else value


def _find_path(parser: JsonStream, file: SourceFile) -> str:
    mark = parser.peek()
    if mark == "[":
        return _joined(_path_in_list(parser))
    if mark != "{":
        if not mark:
            raise DataError(f"{file.location} is empty: a document of JSON has a list of objects")
        parser.fail("it is neither an object nor an array")
    found = _Found()
    _search(parser, (), 0, found)
    places = found.places
    if found.damage is not None and not places:
        raise found.damage
    # A single product has lists of objects, too: of its variants, or its images.
    if _is_product(found):
        places = [place for place in places if place.rank[0] == 2]
    if not places:
        return ""
    return _joined(max(places, key=lambda place: place.rank).path)


def _joined(names: Sequence[str]) -> str:
    return "/".join(name.replace("~", "~0").replace("/", "~1") for name in names)


def _unescaped(name: str) -> str:
    return name.replace("~1", "/").replace("~0", "~")


def _path_in_list(parser: JsonStream) -> tuple[str, ...]:
    """Return the names that lead from the elements of a list to the records: usually none."""
    elements: list[Any] = []
    try:
        for _ in parser.elements():
            elements.append(parser.value())
            if len(elements) == _LOOKED_AT:
                break
    except DataError:
        # What comes before the damage is read, and the damage is reported then.
        if not elements:
            raise
    return _inner_path(elements)


def _inner_path(elements: Sequence[Any]) -> tuple[str, ...]:
    """Return the name of a list of products in the elements of a list, such as of categories."""
    for element in elements:
        if not isinstance(element, dict):
            continue
        for name, value in element.items():
            if _name_rank(name) == 2 and isinstance(value, list) and value:
                names = {_plain(each) for each in element}
                is_list = all(isinstance(each, dict) for each in value)
                if is_list and not (names & _ID_MEMBERS and names & _TITLE_MEMBERS):
                    return (name,)
    return ()


def _search(parser: JsonStream, path: tuple[str, ...], depth: int, found: _Found) -> None:
    """Find the lists of objects in the object that comes next, but not in the objects of a list."""
    members = _Members()
    try:
        for name in parser.members():
            members.count += 1
            if members.count <= _MAX_NAMES:
                found.names.add(name)
            mark = parser.peek()
            if mark == "{" and depth < _MAX_SEARCH_DEPTH:
                inner = _Found()
                _search(parser, (*path, name), depth + 1, inner)
                members.add_object(inner)
                # Of many objects with lists of their own, the lists need not be kept.
                if members.objects <= _LOOKED_AT:
                    found.places += inner.places
                found.damage = inner.damage
            elif mark == "[":
                _search_list(parser, (*path, name), found)
            elif parser.value() is not None and members.count <= _MAX_NAMES:
                found.scalars.add(_plain(name))
            if found.damage is not None:
                break
    except DataError as error:
        found.damage = error
    if members.are_alike():
        found.places = [_Place((*path, ANY_NAME), members.objects)]


def _search_list(parser: JsonStream, path: tuple[str, ...], found: _Found) -> None:
    objects = 0
    first: list[Any] = []
    try:
        for _ in parser.elements():
            value = parser.value()
            if isinstance(value, dict):
                objects += 1
                if len(first) < _LOOKED_AT:
                    first.append(value)
    except DataError as error:
        found.damage = error
    if objects:
        inner = _inner_path(first) if _name_rank(path[-1]) < 2 else ()
        found.places.append(_Place((*path, *inner), objects))


def _is_product(found: _Found) -> bool:
    return bool(found.scalars & _ID_MEMBERS) and bool(found.scalars & _TITLE_MEMBERS)


def _name_rank(name: str) -> int:
    plain = _plain(name)
    if plain in _PRODUCT_LISTS:
        return 2
    return 1 if plain in _OTHER_LISTS else 0


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


READER = JsonReader()
