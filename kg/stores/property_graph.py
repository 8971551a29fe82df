"""The property graph in Cypher, as far as the Ladybug and the Neo4j store share it.

    (:Item {id, title, description, category, image, images, source, ...})
        -[:HAS {id, property, language, rank, source, ...}]->(:Value {text})

Both stores hold this same graph, so that one query runs on either. In the queries here and in both
stores ``i`` is an item, ``h`` a statement (the HAS relationship) and ``v`` a value.
"""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kg.stores.protocol import Pattern
from kg.stores.tables import SOURCED_TRIPLE_SCHEMA, STATEMENT_SCHEMA

ITEM_PROPERTIES = [
    *("id", "title", "category", "image", "images"),
    *("description", "source", "batch", "row", "evidence", "time", "references"),
]
"""Properties of an item; those in the second line are in the order in which they were added."""
_ADDED_LATER = ["language", "references"]
RELATIONSHIP_PROPERTIES = [
    *(name for name in STATEMENT_SCHEMA.names if name not in ("item", "value", *_ADDED_LATER)),
    *_ADDED_LATER,
]
"""Columns of a statement that are properties of HAS; the other two are its ends."""

EXPRESSIONS = {name: f"h.{name}" for name in STATEMENT_SCHEMA.names}
EXPRESSIONS |= {"item": "i.id", "value": "v.text"}
"""The expression of each column of a statement."""

MATCH_STATEMENTS = "MATCH (i:Item)-[h:HAS]->(v:Value)"
STATEMENT_COLUMNS = ", ".join(f"{source} AS {name}" for name, source in EXPRESSIONS.items())
"""The columns that a query returns of a statement, in the order of STATEMENT_SCHEMA."""
SOURCED_COLUMNS = ", ".join(
    f"{EXPRESSIONS[name]} AS {name}" for name in SOURCED_TRIPLE_SCHEMA.names
)
TRIPLE_COLUMNS = "i.id AS item, h.property AS property, v.text AS value"

MATCH_SOURCED = {"Item": "MATCH (n:Item)", "HAS": "MATCH ()-[n:HAS]->()"}
"""What has a source, by its label."""
UNLESS_PREDICTED = {"Item": "", "HAS": "AND n.rank <> 'predicted'"}
# The text of the column is JSON with its keys in order, so that the rank stands before the source.
# A quotation mark within a name is escaped there; with the escapes put aside, the next is its end.
REFERENCES_TO_SPLIT = "replace(replace(n.references, $backslash, $first), $quote, $second)"
SOURCE_PARAMETERS = {
    "backslash": "\\\\",
    "first": "\x01",
    "quote": '\\"',
    "second": "\x02",
    "key": '"source":"',
    "closing": '"',
    "predicted": '"rank":"predicted"',
}


def written_source(text: str) -> str:
    """Return the name of a source from how REFERENCES_TO_SPLIT has it."""
    escaped = text.replace("\x01", "\\\\").replace("\x02", '\\"')
    name: str = json.loads(f'"{escaped}"')
    return name


COUNT_ITEMS = "MATCH (i:Item) RETURN count(i) AS items"
COUNT_STATEMENTS = (
    f"{MATCH_STATEMENTS} RETURN count(h) AS statements, "
    "count(DISTINCT h.property) AS properties, count(DISTINCT v.text) AS texts"
)


def text_conditions(pattern: Pattern) -> tuple[list[str], dict[str, Any]]:
    """Return the conditions on item, property and value of a pattern, and their parameters.

    The condition on ranks is left to the stores, because each spells it in its own way.
    """
    texts = pattern.texts()
    return [f"{EXPRESSIONS[name]} = ${name}" for name in texts], dict(texts)


def with_image(items: pa.Table) -> pa.Table:
    """Return items in ITEM_SCHEMA with the properties that they have in the graph."""
    lists = items["images"].combine_chunks()
    starts = lists.offsets[: len(lists)]
    has_images = pc.greater(lists.value_lengths(), 0)
    first = lists.values.take(pc.if_else(has_images, starts, pa.scalar(None, starts.type)))
    return items.append_column("image", first).select(ITEM_PROPERTIES)


def first_image(images: list[str] | None) -> str | None:
    """Return an item's main image, which has a property of its own next to the list."""
    return images[0] if images else None
