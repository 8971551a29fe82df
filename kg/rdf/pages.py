"""Products in web pages: JSON-LD in scripts, microdata, and RDFa, all of which become JSON-LD.

HTML 5 defines microdata (https://html.spec.whatwg.org/multipage/microdata.html); of RDFa this is
the part called Lite (https://www.w3.org/TR/rdfa-lite/). Shops often say the same in two of these
ways, so the first that has a product counts. Nothing that a page names is fetched, and no script
is run.
"""

from __future__ import annotations

import codecs
import html
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kg.ingest.files import SourceFile
from kg.rdf import vocabulary
from kg.rdf.json_ld import local_json_ld
from schema.errors import DataError
from schema.rejects import MAX_REJECT_TEXT, RejectedRow

if TYPE_CHECKING:
    from lxml.etree import _Element

MAX_PAGE_BYTES = 64 << 20
_MAX_DEPTH = 32  # of items within items
_JSON_LD_TYPE = "application/ld+json"
_META_CHARSET = re.compile(rb"<meta[^>]+charset\s*=\s*[\"']?\s*([\w-]+)", re.IGNORECASE)
_XML_CHARSET = re.compile(rb"\A\s*<\?xml[^>]+encoding\s*=\s*[\"']([\w-]+)", re.IGNORECASE)
# Comments and CDATA around a script, which hide it from old browsers and from XML parsers.
_WRAPPING = re.compile(
    r"\A\s*(?:(?://|/\*)?\s*<!(?:--|\[CDATA\[)\s*(?:\*/)?)+"
    r"|(?:(?://|/\*)?\s*(?:-->|\]\]>)\s*(?:\*/)?)+\s*;?\s*\Z"
)
_MENTIONS_PRODUCT = re.compile(r"\b(?:Product\w*|ItemList|Offer|Vehicle)\b")


@dataclass(frozen=True)
class _Syntax:
    """The attributes of microdata or of RDFa."""

    scope: str
    type: str
    property: str
    id: str


_MICRODATA = _Syntax("itemscope", "itemtype", "itemprop", "itemid")
_RDFA = _Syntax("typeof", "typeof", "property", "resource")
# The attribute with the value of an element; of any other element it is its text.
_VALUE_ATTRIBUTES = {
    "a": "href",
    "area": "href",
    "link": "href",
    "img": "src",
    "audio": "src",
    "video": "src",
    "source": "src",
    "embed": "src",
    "iframe": "src",
    "track": "src",
    "object": "data",
    "data": "value",
    "meter": "value",
    "time": "datetime",
}


def page_documents(file: SourceFile, rejects: list[RejectedRow]) -> Iterator[str]:
    """Yield the products of a page as documents of JSON-LD.

    Scripts about products that cannot be read are added to ``rejects``. Raises DataError if the
    file is too large for a page.
    """
    root = _parse_page(file)
    if root is None:
        return
    documents = list(_script_documents(root, file, rejects))
    if not any(_has_product(document) for document in documents):
        for syntax in (_MICRODATA, _RDFA):
            items = [_item(each, syntax, root, 0) for each in _top_items(root, syntax)]
            if any(_has_product(item) for item in items):
                documents = [{"@context": "https://schema.org/", "@graph": items}]
                break
    if not documents and rejects:
        raise DataError(
            f"{file.location}, line {rejects[0].line}: {rejects[0].reason}: fix the page"
        )
    for document in documents:
        yield local_json_ld(document, file.location)


def _parse_page(file: SourceFile) -> _Element | None:
    from lxml import etree

    data = file.start(MAX_PAGE_BYTES + 1)
    if len(data) > MAX_PAGE_BYTES:
        raise DataError(
            f"{file.location} has more than {MAX_PAGE_BYTES >> 20} MB, which is too much for a page"
        )
    # Decoded here, because only some encodings are known to the parser.
    text = _decode(data)
    parser = etree.HTMLParser(encoding="utf-8", no_network=True, remove_comments=True)
    try:
        root: _Element | None = etree.fromstring(text.encode(errors="replace"), parser)
    except etree.XMLSyntaxError:  # a page without any element
        return None
    return root


def _decode(data: bytes) -> str:
    for mark, encoding in ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16")):
        if data.startswith(mark):
            return data.decode(encoding, "replace").removeprefix("\ufeff")
    if data.startswith(codecs.BOM_UTF16_BE):
        return data.decode("utf-16", "replace")
    declared = _META_CHARSET.search(data[:4096]) or _XML_CHARSET.search(data)
    encodings = [declared[1].decode()] if declared else []
    # What browsers assume is what Windows wrote.
    for encoding in (*encodings, "utf-8", "cp1252"):
        try:
            return data.decode(encoding).replace("\0", "\ufffd")
        except (LookupError, UnicodeDecodeError):
            continue
    return data.decode("utf-8", "replace").replace("\0", "\ufffd")


def _script_documents(
    root: _Element, file: SourceFile, rejects: list[RejectedRow]
) -> Iterator[Any]:
    """Yield the JSON-LD of each script that can be read."""
    for script in root.iter("script"):
        kind = (script.get("type") or "").partition(";")[0].strip().lower()
        if kind != _JSON_LD_TYPE:
            continue
        text = "".join(script.itertext())
        try:
            for document in _parse_script(text):
                # For its error: a script with a context that would be fetched costs only itself.
                local_json_ld(document, file.location)
                yield document
        except (ValueError, RecursionError, DataError) as error:
            if _MENTIONS_PRODUCT.search(text):
                # An error of ours names the file, which is said beside it.
                what = str(error).removeprefix(f"{file.location} ")
                if isinstance(error, RecursionError):
                    what = "nested too deep"
                reason = f"a script of JSON-LD that cannot be read: {' '.join(what.split())}"
                line = script.sourceline or 0
                rejects.append(
                    RejectedRow(file.location, line, reason, text.strip()[:MAX_REJECT_TEXT])
                )


def _parse_script(text: str) -> list[Any]:
    """Return the JSON values of a script; raises ValueError if they are none."""
    text = _WRAPPING.sub("", text).strip().removesuffix(";")
    try:
        return _json_values(text)
    except ValueError:
        # Some programs escape scripts like text, which browsers do not undo.
        unescaped = html.unescape(text)
        if unescaped == text:
            raise
        return _json_values(unescaped)


def _json_values(text: str) -> list[Any]:
    decoder = json.JSONDecoder(strict=False, parse_constant=_refuse_constant)
    values = []
    position = 0
    text = text.strip()
    while position < len(text):
        value, end = decoder.raw_decode(text, position)
        values.append(value)
        position = end + len(text[end:]) - len(text[end:].lstrip())
    return values


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")


def _has_product(value: Any) -> bool:
    """Return whether JSON-LD has a node whose type is that of a product."""
    pending = [value]
    while pending:
        value = pending.pop()
        if isinstance(value, list):
            pending += value
        elif isinstance(value, dict):
            types = value.get("@type", value.get("type", []))
            for each in types if isinstance(types, list) else [types]:
                if isinstance(each, str) and _local_name(each) in vocabulary.PRODUCT_NAMES:
                    return True
            pending += value.values()
    return False


def _local_name(iri: str) -> str:
    return re.split(r"[/#:]", iri)[-1]


def _top_items(root: _Element, syntax: _Syntax) -> list[_Element]:
    """Return the elements of items that are no value of another item."""
    return [
        element
        for element in root.iter()
        if element.get(syntax.scope) is not None
        and (
            element.get(syntax.property) is None
            or not any(each.get(syntax.scope) is not None for each in element.iterancestors())
        )
    ]


def _item(element: _Element, syntax: _Syntax, root: _Element, depth: int) -> dict[str, Any]:
    """Return the item of an element as a node of JSON-LD."""
    item: dict[str, Any] = {}
    types = [_type_name(each) for each in (element.get(syntax.type) or "").split()]
    if types:
        item["@type"] = types
    if identifier := (element.get(syntax.id) or "").strip():
        item["@id"] = identifier
    for part in _property_elements(element, syntax, root):
        value = _value(part, syntax, root, depth)
        if value in ("", None):
            continue
        for name in (part.get(syntax.property) or "").split():
            item.setdefault(_property_name(name), []).append(value)
    return item


def _property_elements(element: _Element, syntax: _Syntax, root: _Element) -> Iterator[_Element]:
    """Yield the elements with the properties of an item, but not those of items within it."""
    pending = list(reversed(element))
    for identifier in (element.get("itemref") or "").split()[:100]:
        referred = root.xpath("//*[@id=$id]", id=identifier)
        pending += [each for each in referred[:1] if each is not element]
    seen = set()
    while pending:
        part = pending.pop()
        if part in seen or not isinstance(part.tag, str):
            continue
        seen.add(part)
        if part.get(syntax.property) is not None:
            yield part
        if part.get(syntax.scope) is None:
            pending += reversed(part)


def _value(element: _Element, syntax: _Syntax, root: _Element, depth: int) -> Any:
    if element.get(syntax.scope) is not None:
        return _item(element, syntax, root, depth + 1) if depth < _MAX_DEPTH else None
    content = element.get("content")
    if content is None and element.tag in _VALUE_ATTRIBUTES:
        content = element.get(_VALUE_ATTRIBUTES[element.tag])
    if content is None:
        content = "".join(element.itertext())
    return " ".join(content.split())


def _type_name(type: str) -> str:
    # RDFa has the vocabulary in another attribute, or as a prefix.
    return type.removeprefix("schema:")


def _property_name(name: str) -> str:
    return _local_name(name.rstrip("/")) if "schema.org" in name else name.removeprefix("schema:")
