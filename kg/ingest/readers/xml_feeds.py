"""XML: feeds and catalogues, in which an element stands for each product."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from kg.ingest.files import SourceFile
from kg.ingest.formats import is_rdf_xml, is_spreadsheet_xml
from kg.ingest.records import TEXT_MEMBER, RecordReader
from kg.ingest.rows import Record
from kg.ingest.xml_stream import Element, Visitor, XmlStream
from schema.errors import DataError
from schema.rejects import RejectedRow

SEARCHED_BYTES = 16 << 20
"""So much of a file is searched for the element that is a record."""
_MAX_PATHS = 20_000
# How elements are called that are products, and those that may be; compared without case.
_PRODUCT_NAMES = frozenset(
    (
        "product produkt produit producto prodotto artikel article articulo articolo offer "
        "shopitem sku productdata catalogitem"
    ).split()
)
_ENTRY_NAMES = frozenset(("item", "entry", "record", "row", "listing", "book", "o", "good", "node"))
# Elements of HTML, of which texts consist that are not in CDATA.
_HTML_NAMES = frozenset(
    (
        "a abbr b big blockquote br center code div em font h1 h2 h3 h4 h5 h6 hr i img li ol p "
        "pre s small span strike strong sub sup table tbody td tfoot th thead tr u ul"
    ).split()
)
_WHITE_SPACE = " \t\r\n"
_PREFIXES = {"http://base.google.com/ns/1.0": "g"}
"""What mappings call a namespace, whatever a file calls it."""
_XHTML = "http://www.w3.org/1999/xhtml"
_AMBIGUOUS_HTML = frozenset(("a", "b", "code", "i", "s", "table", "u"))
"""Names that other elements have, too, which then hold no text with something around them."""
_EMPTY_HTML = frozenset(("br", "hr", "img"))


class XmlReader(RecordReader):
    """Reads the elements that are records, whatever they are called.

    A record has its children by their local names, those that repeat as a list; attributes are
    ``@name``, and text beside children or attributes is ``#text``. The place of the records is
    given by the names of elements that lead to them, like ``channel/item``; after a slash, from the
    root.
    """

    suffixes = (".xml", ".rss", ".atom")

    def find_records(self, file: SourceFile) -> str:
        """Return the names that lead to the element which is a record, from the root."""
        if is_rdf_xml(file):
            raise DataError(
                f"{file.location} is RDF in XML, which is not read: convert it to Turtle or "
                "N-Triples (`rapper -o ntriples`)"
            )
        if is_spreadsheet_xml(file):
            raise DataError(
                f"{file.location} is a workbook in the XML of Excel 2003: save it as .xlsx or CSV"
            )
        survey = _Survey()
        try:
            XmlStream(file).walk(survey, SEARCHED_BYTES)
        except DataError:
            # What comes before the damage is read, and the damage is reported then.
            if not survey.ended:
                raise
        path = survey.record_path()
        if path is None:
            raise DataError(
                f"{file.location} has no element with elements in it: a record has several"
            )
        return "/" + "/".join(path)

    def records(self, file: SourceFile, path: str) -> Iterator[Record | RejectedRow]:
        """Read the elements at a place."""
        wanted = tuple(name for name in path.split("/") if name)
        consequence = "what comes after it is not read; fix the file, and load it again"
        stream = XmlStream(file, consequence)
        names = _Names(stream)
        for element in stream.elements(wanted, path.startswith("/")):
            value = names.value(element)
            yield Record(element.line, value if isinstance(value, dict) else {TEXT_MEMBER: value})


@dataclass
class _Survey(Visitor):
    """Counts the elements at each place of a file, to find that of the records.

    Attributes:
        order: the places of elements with more than text, in their order, and how many there are
        most: of each place, the most of its elements that one element has
        ended: whether an element has ended
    """

    order: Counter[tuple[str, ...]] = field(default_factory=Counter)
    most: Counter[tuple[str, ...]] = field(default_factory=Counter)
    ended: bool = False
    _open: list[Counter[str]] = field(default_factory=list)
    _attributes: list[int] = field(default_factory=list)

    def start(self, path: tuple[str, ...], attribute_count: int) -> None:
        """Count an element among those of its parent."""
        if self._open:
            siblings = self._open[-1]
            siblings[path[-1]] += 1
            if len(self.most) < _MAX_PATHS or path in self.most:
                self.most[path] = max(self.most[path], siblings[path[-1]])
        self._open.append(Counter())
        self._attributes.append(attribute_count)

    def end(self, path: tuple[str, ...], child_count: int) -> None:
        """Count an element that has fields: elements in it, or several attributes."""
        self._open.pop()
        self.ended = True
        has_fields = child_count > 0 or self._attributes[-1] > 1
        self._attributes.pop()
        if has_fields and (len(self.order) < _MAX_PATHS or path in self.order):
            self.order[path] += 1

    def record_path(self) -> tuple[str, ...] | None:
        """Return the place of the records, or None if there is nothing that could be one.

        These are the elements with the name of a product that are nearest to the root; or else the
        elements nearest to the root that repeat, of several the most frequent.
        """
        # A cut in the middle of the file leaves the elements open in which it is.
        places = [path for path in self.order if len(path) > 1]
        if not places:
            return next(iter(self.order), None)
        products = [path for path in places if _plain(path[-1]) in _PRODUCT_NAMES]
        if products:
            return self._nearest(products)
        entries = [path for path in places if _plain(path[-1]) in _ENTRY_NAMES]
        repeated = [path for path in places if self.most[path] > 1]
        outer = self._nearest(repeated) if repeated else None
        if entries:
            entry = self._nearest(entries)
            # One within an element that repeats is rather a part of that.
            if outer is None or len(entry) <= len(outer) or entry[: len(outer)] != outer:
                return entry
        if outer is not None:
            return outer
        # A single record: the element with the most elements in it.
        return max(places, key=lambda path: sum(path == each[:-1] for each in self.most))

    def _nearest(self, places: list[tuple[str, ...]]) -> tuple[str, ...]:
        depth = min(map(len, places))
        return max((path for path in places if len(path) == depth), key=lambda p: self.order[p])


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


class _Names:
    """Turns elements into values, with the names that their children have there.

    Two children of one local name and of different namespaces, like ``title`` and ``g:title``, are
    told apart by the prefix of the one that is not the parent's.
    """

    def __init__(self, stream: XmlStream) -> None:
        self._prefixes = stream.prefixes

    def value(self, element: Element) -> Any:
        """Return the value of an element: a text if it has nothing else."""
        children = [each for each in element.content if isinstance(each, Element)]
        texts = [each for each in element.content if isinstance(each, str)]
        text = "".join(texts)
        if children and _is_markup(children, text, element.name):
            value: Any = _markup(element)
            return value if not element.attributes else self._with_attributes(element, value)
        if not children and not element.attributes:
            return text
        members = self._with_attributes(element, None)
        spaces = {each.name: set[str]() for each in children}
        for each in children:
            spaces[each.name].add(each.space)
        counts: Counter[str] = Counter()
        for each in children:
            name = self._name(each, element, len(spaces[each.name]) > 1)
            value = self.value(each)
            counts[name] += 1
            if counts[name] == 1:
                members[name] = value
            elif counts[name] == 2:
                members[name] = [members[name], value]
            else:
                members[name].append(value)
        # White space between elements shapes the file; that in a text is its own.
        text = text.strip(_WHITE_SPACE) if children else text
        if text:
            members[TEXT_MEMBER] = text
        return members

    def _name(self, element: Element, parent: Element, is_ambiguous: bool) -> str:
        if not is_ambiguous or element.space == parent.space:
            return element.name
        prefix = _PREFIXES.get(element.space) or self._prefixes.get(element.space, "")
        return f"{prefix}:{element.name}" if prefix else element.name

    def _with_attributes(self, element: Element, text: Any) -> dict[str, Any]:
        members = {f"@{name}": value for name, value in element.attributes.items()}
        if text:
            members[TEXT_MEMBER] = text
        return members


def _is_markup(children: list[Element], text: str, parent: str) -> bool:
    """Return whether an element holds a text with HTML in it rather than elements of its own."""
    if any(each.space == _XHTML for each in children):
        return True
    are_html = all(each.name in _HTML_NAMES for each in children)
    is_certain = all(each.name not in _AMBIGUOUS_HTML for each in children)
    return are_html and (
        bool(text.strip(_WHITE_SPACE)) or is_certain or "desc" in parent.casefold()
    )


def _markup(element: Element) -> str:
    """Return what is in an element as the HTML that it is."""
    parts = []
    for each in element.content:
        if isinstance(each, str):
            parts.append(html.escape(each, quote=False))
            continue
        attributes = "".join(
            f' {name}="{html.escape(value)}"' for name, value in each.attributes.items()
        )
        inner = _markup(each)
        if not inner and each.name in _EMPTY_HTML:
            parts.append(f"<{each.name}{attributes}>")
        else:
            parts.append(f"<{each.name}{attributes}>{inner}</{each.name}>")
    return "".join(parts).strip(_WHITE_SPACE)


READER = XmlReader()
