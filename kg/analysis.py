"""The product graph in networkx, and what its shape says: parts that hang together, values that mean the same, loops in the taxonomy."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np

from kg.snapshot import GraphSnapshot
from schema.terms import CATEGORY_SEPARATOR, Item, Statement
from schema.wording import plain_words

if TYPE_CHECKING:
    from pykeen.triples import CoreTriplesFactory

ITEM, VALUE = "item", "value"


def bipartite(snapshot: GraphSnapshot) -> nx.MultiGraph[Any]:
    """Items and values as nodes ``("item", id)`` and ``("value", text)``; an edge a statement, whose ``property`` it has."""
    graph: nx.MultiGraph[Any] = nx.MultiGraph()
    graph.add_nodes_from((ITEM, name) for name in snapshot.items)
    graph.add_edges_from(
        ((ITEM, snapshot.items[item]), (VALUE, snapshot.values[value]), {"property": snapshot.properties[known]})
        for item, known, value in snapshot.triples.tolist()
    )
    return graph


def taxonomy(snapshot: GraphSnapshot) -> nx.DiGraph[Any]:
    """Categories by their own names, an edge from each to those below it; ``items`` counts those that are in a category itself.

    A name that stands in two places of the tree is one node, so that a loop shows.
    """
    graph: nx.DiGraph[Any] = nx.DiGraph()
    for category in snapshot.categories:
        steps = category.split(CATEGORY_SEPARATOR) if category else []
        for above, below in pairwise(steps):
            graph.add_edge(above, below)
        if steps:
            graph.add_node(steps[-1])
            graph.nodes[steps[-1]]["items"] = graph.nodes[steps[-1]].get("items", 0) + 1
    return graph


def ego(item: Item, statements: list[Statement], alike: dict[str, int] | None = None) -> nx.Graph[Any]:
    """An item in the middle, its values around it, and behind a value, where ``alike`` says so, how many items share it."""
    graph: nx.Graph[Any] = nx.Graph()
    graph.add_node((ITEM, item.id), title=item.title or item.id)
    for each in statements:
        node = (VALUE, f"{each.property}: {each.value}")
        graph.add_node(node, value=each.value, items=(alike or {}).get(each.id, 0))
        graph.add_edge((ITEM, item.id), node, property=each.property, rank=str(each.rank), confidence=each.provenance.confidence)
    return graph


@dataclass(frozen=True)
class Shape:
    """What :func:`shape` finds: sizes of the parts that hang together, largest first; spellings of one value; loops of categories."""

    components: list[int]
    alone: int
    clusters: list[tuple[str, list[str]]]
    cycles: list[list[str]]

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        clusters = [{"property": name, "values": values} for name, values in self.clusters]
        return {"components": self.components, "alone": self.alone, "clusters": clusters, "cycles": self.cycles}


def shape(snapshot: GraphSnapshot) -> Shape:
    """The shape of the graph; ``alone`` counts items without a statement."""
    sizes, alone = components(snapshot)
    return Shape(sizes, alone, duplicate_values(snapshot), [list(cycle) for cycle in nx.simple_cycles(taxonomy(snapshot))])


def components(snapshot: GraphSnapshot) -> tuple[list[int], int]:
    """How many items each connected component has, largest first, and how many items have no statement."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count, values = len(snapshot.items), len(snapshot.values)
    item, value = np.asarray(snapshot.triples[:, 0]), np.asarray(snapshot.triples[:, 2])
    edges = coo_array((np.ones(len(item), bool), (item, count + value)), shape=(count + values, count + values))
    _, label = connected_components(edges, directed=False)
    told = np.diff(snapshot.indptr) > 0
    sizes = np.bincount(label[:count][told]) if told.any() else np.zeros(0, np.int64)
    return sorted((int(size) for size in sizes if size), reverse=True), int((~told).sum())


def duplicate_values(snapshot: GraphSnapshot) -> list[tuple[str, list[str]]]:
    """Values of a property that differ in case, spacing, punctuation or the order of their words alone: (property, spellings)."""
    pairs = np.unique(np.asarray(snapshot.triples[:, 1:]), axis=0) if len(snapshot.triples) else np.zeros((0, 2), np.int64)
    spellings: dict[tuple[int, tuple[str, ...]], list[str]] = defaultdict(list)
    for known, value in pairs.tolist():
        words = tuple(sorted(plain_words(snapshot.values[value])))
        if words:
            spellings[known, words].append(snapshot.values[value])
    found = [(snapshot.properties[known], sorted(values)) for (known, _), values in spellings.items() if len(values) > 1]
    return sorted(found)


def triples_factory(snapshot: GraphSnapshot) -> CoreTriplesFactory:
    """PyKEEN's triples, without a detour through files: items are entities 0 to I - 1, values come after them."""
    import torch
    from pykeen.triples import TriplesFactory

    triples = np.array(snapshot.triples)
    triples[:, 2] += len(snapshot.items)
    names = [f"item:{name}" for name in snapshot.items] + [f"value:{text}" for text in snapshot.values]
    entities, relations = ({name: number for number, name in enumerate(each)} for each in (names, snapshot.properties))
    return TriplesFactory(torch.from_numpy(triples), entity_to_id=entities, relation_to_id=relations)
