"""Reading a Ladybug graph from end to end.

Ladybug keeps the properties of a relationship twice: once at its start, an item, and once at its
end, a value. A query reads the one or the other, as the optimizer decides. Here a hint decides, so
that both are read. The hash index of a kind of nodes is a third place in which ids are kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from kg.stores.graph_scan import ROWS_AT_ONCE, VALUE_SCHEMA, Content, GraphScan, Inconsistency, Part
from kg.stores.ladybug_database import execute
from kg.stores.ladybug_graph import LadybugGraph
from kg.stores.protocol import Counts
from kg.stores.tables import ITEM_SCHEMA, STATEMENT_SCHEMA

IMAGE = pa.field("image", pa.string())
"""The main image, which the graph keeps beside the list of images."""
NODES_AT_ONCE = 50_000
# What these return depends on the version that made the graph.
STATEMENTS_FROM_ITEMS = (
    "MATCH (i:Item)-[h:HAS]->(v:Value) "
    "WHERE offset(id(i)) >= $start AND offset(id(i)) < $stop "
    "HINT (i JOIN h) JOIN v RETURN "
)
STATEMENTS_FROM_VALUES = (
    "MATCH (i:Item)-[h:HAS]->(v:Value) "
    "WHERE offset(id(v)) >= $start AND offset(id(v)) < $stop "
    "AND offset(id(i)) >= $first AND offset(id(i)) < $last "
    "HINT (v JOIN h) JOIN i RETURN "
)


@dataclass(frozen=True)
class Nodes:
    """A kind of nodes: its label, and the property that is its key."""

    label: str
    key: str
    not_found: Inconsistency

    def count_statements(self, end: str) -> str:
        """Return the query for the place of each node with statements, and their number."""
        start = "(n)-[h:HAS]->()" if end == "start" else "(n)<-[h:HAS]-()"
        return (
            f"MATCH (n:{self.label}) MATCH {start} "
            "RETURN offset(id(n)) AS place, count(*) AS statements"
        )


ITEMS = Nodes("Item", "id", Inconsistency.ITEM_NOT_FOUND)
VALUES = Nodes("Value", "text", Inconsistency.VALUE_NOT_FOUND)


class LadybugScan(GraphScan):
    """The file ``graph.lbug`` in a store's folder, read from end to end."""

    compared = (Content.ITEMS, Content.STATEMENTS, Content.SECOND_COPY)

    def __init__(self, path: Path) -> None:
        self._graph = LadybugGraph(path, read_only=True)
        self._wrong_images: list[str] = []

    def version(self) -> int:
        """Return the journal's version that the graph shows, or -1 if it shows none."""
        return self._graph.applied_version()

    def counts(self) -> Counts:
        """Return the sizes of the graph."""
        return self._graph.counts()

    def parts(self, content: Content) -> list[Part]:
        """Return the parts of a content."""
        if content is Content.ITEMS:
            return _ranges(content, self._graph.places(ITEMS.label))
        if content is Content.VALUES:
            return _ranges(content, self._graph.places(VALUES.label))
        if content is Content.STATEMENTS:
            return self._statement_parts(content, ITEMS, "start")
        return self._statement_parts(content, VALUES, "end")

    def read(self, part: Part) -> Iterator[pa.Table]:
        """Yield the rows of a part."""
        params = {"start": part.start, "stop": part.stop}
        columns = self._graph.statement_columns
        if part.content is Content.ITEMS:
            where = "offset(id(i)) >= $start AND offset(id(i)) < $stop"
            text = (
                f"MATCH (i:Item) WHERE {where} RETURN {self._graph.item_columns}, i.image AS image"
            )
            items = self._table(text, params, ITEM_SCHEMA.append(IMAGE))
            self._wrong_images += _wrong_images(items)
            yield items.select(ITEM_SCHEMA.names)
        elif part.content is Content.VALUES:
            where = "offset(id(v)) >= $start AND offset(id(v)) < $stop"
            text = f"MATCH (v:Value) WHERE {where} RETURN v.text AS text"
            yield self._table(text, params, VALUE_SCHEMA)
        elif part.content is Content.STATEMENTS:
            yield self._table(STATEMENTS_FROM_ITEMS + columns, params, STATEMENT_SCHEMA)
        else:
            # One value can have a large share of all statements, so they are read by items, too.
            for first, last in self._item_steps(part):
                more = {**params, "first": first, "last": last}
                yield self._table(STATEMENTS_FROM_VALUES + columns, more, STATEMENT_SCHEMA)

    def inconsistencies(self) -> Iterator[tuple[Inconsistency, list[str]]]:
        """Look up every item and every value by its key; the items have been read before."""
        for nodes in (ITEMS, VALUES):
            places = self._graph.places(nodes.label)
            for start in range(0, places, NODES_AT_ONCE):
                yield nodes.not_found, self._not_found(nodes, start)
        yield Inconsistency.WRONG_IMAGE, self._wrong_images

    def close(self) -> None:
        """Release the file."""
        self._graph.close()

    def _table(self, text: str, params: dict[str, Any], schema: pa.Schema) -> pa.Table:
        """Run a query; return its rows, whose texts may be damaged and not be UTF-8."""
        connection = self._graph.connect()
        try:
            table = execute(connection, text, params).get_as_arrow()
        finally:
            connection.close()
        return table.select(schema.names).cast(schema) if table.num_rows else schema.empty_table()

    def _statement_parts(self, content: Content, nodes: Nodes, end: str) -> list[Part]:
        places = np.zeros(self._graph.places(nodes.label), np.int64)
        schema = pa.schema([("place", pa.int64()), ("statements", pa.int64())])
        table = self._table(nodes.count_statements(end), {}, schema)
        places[table["place"].to_numpy()] = table["statements"].to_numpy()
        return _parts_of(content, places)

    def _item_steps(self, part: Part) -> list[tuple[int, int]]:
        """Return ranges of items from which the statements of some values are read together."""
        text = (
            "MATCH (n:Value) WHERE offset(id(n)) >= $start AND offset(id(n)) < $stop "
            "MATCH (n)<-[h:HAS]-() RETURN count(*) AS statements"
        )
        (row,) = self._graph.rows(text, {"start": part.start, "stop": part.stop})
        steps = max(1, -(-int(row["statements"]) // ROWS_AT_ONCE))
        ends = np.linspace(0, self._graph.places(ITEMS.label), steps + 1).astype(int).tolist()
        return list(pairwise(ends))

    def _not_found(self, nodes: Nodes, start: int) -> list[str]:
        """Return the keys of nodes that are not found by their key, or of which another one is."""
        key = nodes.key
        text = (
            f"MATCH (n:{nodes.label}) WHERE offset(id(n)) >= $start AND offset(id(n)) < $stop "
            f"RETURN n.{key} AS key, offset(id(n)) AS place"
        )
        schema = pa.schema([("key", pa.string()), ("place", pa.int64())])
        there = self._table(text, {"start": start, "stop": start + NODES_AT_ONCE}, schema)
        if not there.num_rows:
            return []
        text = (
            f"LOAD FROM $rows MATCH (n:{nodes.label} {{{key}: wanted}}) "
            f"RETURN offset(id(n)) AS place, n.{key} AS key"
        )
        rows = pa.table({"wanted": there["key"]})
        found = self._table(text, {"rows": rows}, schema)
        if _ordered(there).equals(_ordered(found)):
            return []
        found_pairs = set(_pairs(found))
        return [key for key, place in _pairs(there) if (key, place) not in found_pairs]


def _ranges(content: Content, places: int) -> list[Part]:
    return [
        Part(content, start, min(start + NODES_AT_ONCE, places))
        for start in range(0, places, NODES_AT_ONCE)
    ]


def _parts_of(content: Content, statements: NDArray[np.int64]) -> list[Part]:
    """Divide nodes with so many statements [N] into parts of about ROWS_AT_ONCE statements."""
    ends = np.cumsum(statements)
    parts = []
    start = 0
    while start < len(statements):
        before = int(ends[start - 1]) if start else 0
        # At least one node, however many statements it has.
        stop = max(start + 1, int(np.searchsorted(ends, before + ROWS_AT_ONCE, side="right")))
        parts.append(Part(content, start, stop))
        start = stop
    return parts


def _wrong_images(items: pa.Table) -> list[str]:
    """Return the ids of items whose main image is not the first of their images."""
    has_images = pc.greater(pc.fill_null(pc.list_value_length(items["images"]), 0), 0)
    with_images = items.filter(has_images)
    without = items.filter(pc.invert(has_images))
    first = pc.list_flatten(pc.list_slice(with_images["images"], 0, 1))
    is_first = pc.fill_null(pc.equal(first, with_images["image"]), False)
    return [
        *_readable(with_images["id"].filter(pc.invert(is_first))),
        *_readable(without["id"].filter(without["image"].is_valid())),
    ]


def _readable(texts: pa.ChunkedArray) -> list[str]:
    """Return texts that may be damaged, with what is not UTF-8 replaced."""
    return [(text or b"").decode(errors="replace") for text in texts.cast(pa.binary()).to_pylist()]


def _ordered(pairs: pa.Table) -> pa.Table:
    return pairs.take(pc.sort_indices(pairs, [("place", "ascending")])).combine_chunks()


def _pairs(table: pa.Table) -> Iterator[tuple[str, int]]:
    return zip(_readable(table["key"]), table["place"].to_pylist(), strict=True)
