"""An item's own part of the graph: its values, how many items share each, and the items that share most."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from kg.analysis import ITEM, VALUE
from kg.stores.protocol import GraphStore
from schema.terms import TRUSTED_RANKS, Item, Statement

if TYPE_CHECKING:
    import networkx as nx

NEAREST = 5


@dataclass(frozen=True)
class Neighbourhood:
    """``shared`` are the items that have each (property, value), the item itself among them; ``nearest`` others with what they share."""

    shared: dict[tuple[str, str], int]
    nearest: list[tuple[Item, int]]


def neighbourhood(
    store: GraphStore, item: Item, statements: list[Statement], most: int = NEAREST
) -> Neighbourhood:
    """Read the graph's trusted statements once, for the item's own values of every rank."""
    own = {(each.property, each.value) for each in statements}
    values = pa.array(sorted({value for _, value in own}), pa.string())
    shared: Counter[tuple[str, str]] = Counter()
    others: Counter[str] = Counter()
    for batch in store.triples(TRUSTED_RANKS) if own else ():
        near = pa.table(batch).filter(pc.is_in(batch["value"], value_set=values))
        for (name, value), group in _by_pair(near, own):
            shared[name, value] += len(group)
            others.update(group)
    del others[item.id]
    ranked = sorted(others.items(), key=lambda pair: (-pair[1], pair[0]))[:most]
    found = ((store.item(name), count) for name, count in ranked)
    return Neighbourhood(
        dict(shared), [(each[0], count) for each, count in found if each is not None]
    )


def _by_pair(table: pa.Table, own: set[tuple[str, str]]) -> Any:
    """The item's own (property, value) pairs in a table, each with the ids of the items that have it there."""
    grouped = table.group_by(["property", "value"]).aggregate([("item", "list")])
    for name, value, ids in zip(
        *(grouped[column].to_pylist() for column in ("property", "value", "item_list")), strict=True
    ):
        if (name, value) in own:
            yield (name, value), ids


def ego(
    item: Item, statements: list[Statement], around: Neighbourhood | None = None
) -> nx.Graph[Any]:
    """An item in the middle, its values around it, and beyond them the items that share most of these.

    A value's node ``("value", property, value)`` says how many ``items`` have it; an item's ``("item", id)`` has ``title`` and ``image``;
    an edge to a value has ``rank`` and ``confidence``, one between items how many values they have ``shared``.
    """
    import networkx as nx

    graph: nx.Graph[Any] = nx.Graph()
    centre = _add(graph, item)
    for each in statements:
        node = (VALUE, each.property, each.value)
        graph.add_node(
            node, items=around.shared.get((each.property, each.value), 0) if around else 0
        )
        graph.add_edge(centre, node, rank=str(each.rank), confidence=each.provenance.confidence)
    for other, count in around.nearest if around else ():
        graph.add_edge(centre, _add(graph, other), shared=count)
    return graph


def _add(graph: nx.Graph[Any], item: Item) -> tuple[str, str]:
    graph.add_node(
        (ITEM, item.id), title=item.title or "", image=item.images[0] if item.images else None
    )
    return ITEM, item.id
