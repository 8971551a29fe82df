"""One-to-one matches, and clusters of items that are all the same product.

Shapes: M pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from schema.arrays import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    import networkx as nx


@dataclass(frozen=True)
class Cluster:
    """Rows that matches join, and the lowest probability of a match that is needed to join them."""

    rows: tuple[int, ...]
    weakest: float


def one_to_one(
    left: IntArray, right: IntArray, probability: FloatArray, matched: BoolArray
) -> BoolArray:
    """Return which of M pairs are kept if no item may be in two of those that are kept.

    Of the ``matched`` pairs [M], those are kept whose probabilities have the greatest sum.
    """
    import networkx as nx

    kept = np.zeros(len(left), bool)
    for group in _groups(left, right, probability, matched):
        for edge in nx.max_weight_matching(group, weight="probability"):
            kept[group.edges[edge]["place"]] = True
    return kept


def clusters(
    left: IntArray, right: IntArray, probability: FloatArray, matched: BoolArray
) -> list[Cluster]:
    """Return the groups of rows that ``matched`` pairs [M] join, the largest first.

    The weakest match of a group is the lowest one of its maximum spanning tree: without it the
    group would be two.
    """
    import networkx as nx

    found = []
    for group in _groups(left, right, probability, matched):
        needed = nx.maximum_spanning_edges(group, weight="probability", data=True)
        weakest = min(edge["probability"] for _, _, edge in needed)
        found.append(Cluster(tuple(sorted(group.nodes)), weakest))
    return sorted(found, key=lambda cluster: (-len(cluster.rows), cluster.rows))


def _groups(
    left: IntArray, right: IntArray, probability: FloatArray, matched: BoolArray
) -> Iterator[nx.Graph]:
    """Yield the connected parts of the graph of matched pairs."""
    import networkx as nx

    graph = nx.Graph()
    for place in np.flatnonzero(matched).tolist():
        graph.add_edge(
            int(left[place]), int(right[place]), place=place, probability=float(probability[place])
        )
    for nodes in nx.connected_components(graph):
        yield graph.subgraph(nodes)
