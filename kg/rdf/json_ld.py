"""Split JSON-LD into pieces that fit into memory, with local contexts: nothing is ever fetched."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from kg.ingest.files import SourceFile
from kg.ingest.json_stream import JsonStream, json_text
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
_NODES_PER_PIECE = 1000


def split_json_ld(file: SourceFile) -> Iterator[str]:
    """Split a file into JSON-LD documents of at most 1,000 nodes each.

    Raises DataError if the file is malformed, with the line, or if a context would have to be
    fetched.
    """
    location = file.location
    with json_text(file) as stream:
        parser = JsonStream(stream, location)
        try:
            for document in _documents(parser):
                yield local_json_ld(document, location)
        except UnicodeError:
            raise DataError(f"{location} is not valid UTF-8: convert it first") from None
        except RecursionError:
            raise DataError(
                f"{location} is nested too deep: JSON-LD of products is a few levels deep"
            ) from None


def local_json_ld(document: Any, location: str) -> str:
    """Return the text of a JSON-LD document that needs nothing to be fetched.

    Raises DataError if it has a context that would have to be, RecursionError if it is nested too
    deep, and UnicodeError if it has text that UTF-8 cannot encode.
    """
    text = json.dumps(_with_local_contexts(document, location), ensure_ascii=False)
    text.encode()
    return text


def _documents(parser: JsonStream) -> Iterator[Any]:
    if parser.peek() == "[":
        for nodes in _grouped(parser.value() for _ in parser.elements()):
            yield from nodes
    elif parser.peek() == "{":
        yield from _documents_of_object(parser)
    else:
        parser.fail("it is neither an object nor an array")
    if parser.peek():
        parser.fail("something follows its end")


def _documents_of_object(parser: JsonStream) -> Iterator[Any]:
    """Yield the nodes of an object's ``@graph`` in groups, then the rest of the object.

    A graph is only split if its context comes first, because each group needs the context.
    """
    rest: dict[str, Any] = {}
    for name in parser.members():
        if name == "@graph" and "@context" in rest and parser.peek() == "[":
            for nodes in _grouped(parser.value() for _ in parser.elements()):
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


def _with_local_contexts(value: Any, location: str) -> Any:
    """Replace the URL of schema.org's context, at any depth, by the context itself."""
    if isinstance(value, list):
        return [_with_local_contexts(element, location) for element in value]
    if not isinstance(value, dict):
        return value
    local = {}
    for name, member in value.items():
        if name == "@context":
            local[name] = _local_context(member, location)
        else:
            local[name] = _with_local_contexts(member, location)
    return local


def _local_context(context: Any, location: str) -> Any:
    if isinstance(context, list):
        return [_local_context(element, location) for element in context]
    if isinstance(context, dict) and "@import" in context:
        # The terms beside it have precedence over those that it imports.
        if not isinstance(context["@import"], str):
            raise DataError(f"{location} has an @import that is no address: it names one context")
        imported = _local_context(context["@import"], location)
        own = {name: term for name, term in context.items() if name != "@import"}
        return {**imported, **_with_local_contexts(own, location)}
    if not isinstance(context, str):
        return _with_local_contexts(context, location)
    if not _SCHEMA_ORG_CONTEXT_URL.fullmatch(context):
        raise DataError(
            f"{location} has the context {context[:80]!r}, which would have to be fetched: "
            "write the context into the file"
        )
    return SCHEMA_ORG_CONTEXT
