"""An item's ego graph: its values, how many items share each, and the items that share most."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from kg.analysis import ITEM, VALUE
from kg.stores.protocol import GraphStore
from schema.terms import TRUSTED_RANKS, Item, Statement

if TYPE_CHECKING:
    import networkx as nx

MAX_NEAREST = 5


@dataclass(frozen=True)
class Neighbourhood:
    """The items around one item.

    ``shared`` is the number of items that have each of its (property, value) pairs, the item itself
    included; ``nearest`` are other items, each with the number of pairs that they have in common.
    """

    shared: dict[tuple[str, str], int]
    nearest: list[tuple[Item, int]]


def neighbourhood(
    store: GraphStore, item: Item, statements: list[Statement], limit: int = MAX_NEAREST
) -> Neighbourhood:
    """Find the neighbourhood of an item, given its statements of all ranks.

    Reads the trusted statements of the whole store once.
    """
    pairs = {(each.property, each.value) for each in statements}
    if not pairs:
        return Neighbourhood({}, [])

    values = pa.array(sorted({value for _, value in pairs}), pa.string())
    shared: Counter[tuple[str, str]] = Counter()
    common: Counter[str] = Counter()
    for batch in store.triples(TRUSTED_RANKS):
        # Arrow finds the few statements with one of the values; their properties are compared after
        # that.
        same_value = pa.table(batch).filter(pc.is_in(batch["value"], value_set=values))
        for pair, item_ids in _items_by_pair(same_value):
            if pair in pairs:
                shared[pair] += len(item_ids)
                common.update(item_ids)
    # A Counter lets a missing key be deleted: the item may have no trusted statement.
    del common[item.id]

    ranked = sorted(common.items(), key=lambda entry: (-entry[1], entry[0]))
    nearest = []
    for item_id, count in ranked[:limit]:
        neighbour = store.item(item_id)
        if neighbour is not None:
            nearest.append((neighbour[0], count))
    return Neighbourhood(dict(shared), nearest)


def _items_by_pair(table: pa.Table) -> Iterator[tuple[tuple[str, str], list[str]]]:
    """Yield each (property, value) pair in a table with the ids of the items that have it."""
    grouped = table.group_by(["property", "value"]).aggregate([("item", "list")])
    for row in grouped.to_pylist():
        yield (row["property"], row["value"]), row["item_list"]


def ego_graph(
    item: Item, statements: list[Statement], around: Neighbourhood | None = None
) -> nx.Graph[Any]:
    """Return a graph of an item, its values, and the items that share most of them.

    - ``("item", id)``, of which the centre is the first node, has ``title`` and ``image``
    - ``("value", property, value)`` has ``items``, the number of items that have it
    - an edge from the centre to a value has ``rank`` and ``confidence``
    - an edge from the centre to another item has ``shared``, the number of common values
    """
    import networkx as nx

    graph: nx.Graph[Any] = nx.Graph()
    centre = _add_item(graph, item)
    for statement in statements:
        node = (VALUE, statement.property, statement.value)
        items = around.shared.get((statement.property, statement.value), 0) if around else 0
        graph.add_node(node, items=items)
        graph.add_edge(
            centre,
            node,
            rank=str(statement.rank),
            confidence=statement.provenance.confidence,
        )
    for neighbour, count in around.nearest if around else ():
        graph.add_edge(centre, _add_item(graph, neighbour), shared=count)
    return graph


def _add_item(graph: nx.Graph[Any], item: Item) -> tuple[str, str]:
    node = (ITEM, item.id)
    image = item.images[0] if item.images else None
    graph.add_node(node, title=item.title or "", image=image)
    return node
