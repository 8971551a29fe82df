"""Export as GraphML: the bipartite graph of items and values, an edge a statement."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from kg.export.selection import Chosen
from kg.stores.sorting import Distinct
from kg.stores.tables import STATEMENT_SCHEMA

_ABOUT = [name for name in STATEMENT_SCHEMA.names if name not in ("id", "item", "value")]
_TYPES = {"row": "long", "confidence": "double"}
# XML 1.0 has no control characters, not even escaped ones.
_UNSAYABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<graphml xmlns="http://graphml.graphdrawing.org/xmlns">\n'


def write_graphml(chosen: Chosen, path: Path) -> None:
    """Items are nodes ``i:ID``, values nodes ``v:HASH``; an edge has the statement's id, property, rank and provenance."""
    keys = [("node", name, "string") for name in ("kind", "label", "category", "image")]
    keys += [("edge", name, _TYPES.get(name, "string")) for name in _ABOUT]
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        stream.write(_HEAD)
        stream.writelines(
            f'<key id="{name}" for="{of}" attr.name="{name}" attr.type="{kind}"/>\n'
            for of, name, kind in keys
        )
        stream.write('<graph edgedefault="directed">\n')
        stream.writelines(_nodes(chosen))
        stream.writelines(_edges(chosen))
        stream.write("</graph>\n</graphml>\n")


def _nodes(chosen: Chosen) -> Iterator[str]:
    for row in chosen.item_rows():
        about = {
            "kind": "item",
            "label": row["title"] or row["id"],
            "category": row["category"],
            "image": (row["images"] or [None])[0],
        }
        yield _element("node", f"id={_attribute('i:' + row['id'])}", about)


def _edges(chosen: Chosen) -> Iterator[str]:
    """The edges, and after them the values' nodes, each once."""
    with Distinct() as values:
        for batch in chosen.statement_batches():
            values.add(batch["value"])
            for row in batch.to_pylist():
                ends = f'id="{row["id"]}" source={_attribute("i:" + row["item"])} target="{_value(row["value"])}"'
                yield _element("edge", ends, {name: row[name] for name in _ABOUT})
        for text in chain.from_iterable(column.to_pylist() for column in values.batches()):
            yield _element("node", f'id="{_value(text)}"', {"kind": "value", "label": text})


def _element(name: str, attributes: str, about: dict[str, Any]) -> str:
    said = (
        f'<data key="{key}">{escape(_sayable(str(value)))}</data>'
        for key, value in about.items()
        if value not in (None, "")
    )
    return f"<{name} {attributes}>{''.join(said)}</{name}>\n"


def _value(text: str) -> str:
    return "v:" + hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _attribute(text: str) -> str:
    return quoteattr(_sayable(text), {"\n": "&#10;", "\r": "&#13;", "\t": "&#9;"})


def _sayable(text: str) -> str:
    return _UNSAYABLE.sub("\N{REPLACEMENT CHARACTER}", text)
