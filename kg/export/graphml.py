"""Export as GraphML: the bipartite graph of items and values, with an edge for each statement."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from kg.export.selection import Selection
from kg.stores.sorting import Distinct
from kg.stores.tables import STATEMENT_SCHEMA

NODE_ATTRIBUTES = ("kind", "label", "category", "image")
EDGE_ATTRIBUTES = tuple(
    name for name in STATEMENT_SCHEMA.names if name not in ("id", "item", "value")
)
ATTRIBUTE_TYPES = {"row": "long", "confidence": "double"}

_HEADER = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">\n'
)
# XML 1.0 cannot contain control characters, not even escaped ones.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_graphml(selection: Selection, path: Path) -> None:
    """Write items as nodes ``i:ID``, values as nodes ``v:HASH``, and statements as edges.

    An edge has the statement's id, property, rank and provenance.
    """
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        stream.write(_HEADER)
        stream.writelines(_attribute_declarations("node", NODE_ATTRIBUTES))
        stream.writelines(_attribute_declarations("edge", EDGE_ATTRIBUTES))
        stream.write('<graph edgedefault="directed">\n')
        stream.writelines(_item_nodes(selection))
        stream.writelines(_edges_and_value_nodes(selection))
        stream.write("</graph>\n</graphml>\n")


def _attribute_declarations(element: str, names: tuple[str, ...]) -> Iterator[str]:
    for name in names:
        kind = ATTRIBUTE_TYPES.get(name, "string")
        yield f'<key id="{name}" for="{element}" attr.name="{name}" attr.type="{kind}"/>\n'


def _item_nodes(selection: Selection) -> Iterator[str]:
    for row in selection.item_rows():
        data = {
            "kind": "item",
            "label": row["title"] or row["id"],
            "category": row["category"],
            "image": (row["images"] or [None])[0],
        }
        yield _element("node", f"id={_quoted(_item_node(row['id']))}", data)


def _edges_and_value_nodes(selection: Selection) -> Iterator[str]:
    """Yield the edges, and then each value's node once; the statements are read only once."""
    with Distinct() as values:
        for batch in selection.statement_batches():
            values.add(batch["value"])
            for row in batch.to_pylist():
                source = _quoted(_item_node(row["item"]))
                attributes = (
                    f'id="{row["id"]}" source={source} target="{_value_node(row["value"])}"'
                )
                data = {name: row[name] for name in EDGE_ATTRIBUTES}
                yield _element("edge", attributes, data)
        for text in chain.from_iterable(column.to_pylist() for column in values.batches()):
            data = {"kind": "value", "label": text}
            yield _element("node", f'id="{_value_node(text)}"', data)


def _item_node(item: str) -> str:
    return f"i:{item}"


def _value_node(text: str) -> str:
    # A hash keeps values apart that differ only in characters which XML cannot contain.
    return f"v:{hashlib.blake2b(text.encode(), digest_size=16).hexdigest()}"


def _element(name: str, attributes: str, data: Mapping[str, object]) -> str:
    children = [
        f'<data key="{key}">{escape(_valid_xml(str(value)))}</data>'
        for key, value in data.items()
        if value not in (None, "")
    ]
    return f"<{name} {attributes}>{''.join(children)}</{name}>\n"


def _quoted(text: str) -> str:
    """Return a text as a quoted attribute value whose whitespace survives."""
    return quoteattr(_valid_xml(text), {"\n": "&#10;", "\r": "&#13;", "\t": "&#9;"})


def _valid_xml(text: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
