"""The structure of the product graph, and the graph in networkx, PyKEEN and DGL.

The structure is: connected components, near-duplicate values, and cycles in the taxonomy.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from kg.snapshot import GraphSnapshot
from schema.terms import CATEGORY_SEPARATOR

if TYPE_CHECKING:
    import networkx as nx
    from pykeen.triples import TriplesFactory

ITEM = "item"
VALUE = "value"

# Some signs are part of a word: "A+" is not "A", and "C#" is not "C".
_WORD = re.compile(r"[\w+#%°&]+")


@dataclass(frozen=True)
class DuplicateValues:
    """Spellings of the same value of a property, with the number of items that have each.

    The most frequent spelling comes first.
    """

    property: str
    values: dict[str, int]


@dataclass(frozen=True)
class GraphStructure:
    """The structure of a product graph.

    ``components`` are the sizes of the connected components in items, largest first; ``alone`` is
    the number of items without any statement; ``cycles`` are chains of categories of which each is
    a parent of the next, and the last is the first again.
    """

    components: list[int]
    alone: int
    duplicates: list[DuplicateValues]
    cycles: list[list[str]]

    def as_dict(self, limit: int | None = None) -> dict[str, Any]:
        """Return plain data: the length of each list, and its first ``limit`` entries."""
        counts = {
            "components": len(self.components),
            "duplicates": len(self.duplicates),
            "cycles": len(self.cycles),
        }
        return {
            "alone": self.alone,
            "counts": counts,
            "components": self.components[:limit],
            "duplicates": [asdict(duplicate) for duplicate in self.duplicates[:limit]],
            "cycles": self.cycles[:limit],
        }


def graph_structure(snapshot: GraphSnapshot) -> GraphStructure:
    """Analyse the structure of a graph."""
    components, alone = component_sizes(snapshot)
    cycles = category_cycles(taxonomy(snapshot))
    return GraphStructure(components, alone, duplicate_values(snapshot), cycles)


def component_sizes(snapshot: GraphSnapshot) -> tuple[list[int], int]:
    """Return how many items each connected component has, and how many items have no statement.

    Two items are connected if they have a value in common. The largest component comes first.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    item_count = len(snapshot.items)
    node_count = item_count + len(snapshot.values)
    item = np.asarray(snapshot.triples[:, 0])
    value = np.asarray(snapshot.triples[:, 2])
    edges = coo_array(
        (np.ones(len(item), bool), (item, item_count + value)), shape=(node_count, node_count)
    )
    _, component = connected_components(edges, directed=False)

    has_statement = np.diff(snapshot.indptr) > 0
    sizes = np.bincount(component[:item_count][has_statement])
    return sorted(sizes[sizes > 0].tolist(), reverse=True), int((~has_statement).sum())


def duplicate_values(snapshot: GraphSnapshot) -> list[DuplicateValues]:
    """Return the values of each property that :func:`normalized_value` maps to the same text.

    Those that concern the most items come first.
    """
    # Each distinct (property, value) as one number, with the number of items that have it.
    value_count = max(1, len(snapshot.values))
    keys, counts = np.unique(
        snapshot.triples[:, 1] * value_count + snapshot.triples[:, 2], return_counts=True
    )
    spellings: dict[tuple[int, str], dict[str, int]] = defaultdict(dict)
    for key, count in zip(keys.tolist(), counts.tolist(), strict=True):
        property_index, value_index = divmod(key, value_count)
        text = snapshot.values[value_index]
        spellings[property_index, normalized_value(text)][text] = count

    duplicates = []
    for (property_index, normalized), values in spellings.items():
        if normalized and len(values) > 1:
            by_frequency = sorted(values.items(), key=lambda pair: (-pair[1], pair[0]))
            name = snapshot.properties[property_index]
            duplicates.append(DuplicateValues(name, dict(by_frequency)))
    return sorted(
        duplicates, key=lambda each: (-sum(each.values.values()), each.property, *each.values)
    )


def normalized_value(text: str) -> str:
    """Return a text without its case, width, spacing, punctuation and word order.

    The result is "" if nothing is left. In a text with digits, only case, width and spacing are
    ignored: 1.5 is not 5.1, and 10 x 20 is not 20 x 10.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    if any(char.isdigit() for char in folded):
        return " ".join(folded.split())
    return " ".join(sorted(_WORD.findall(folded)))


def bipartite(snapshot: GraphSnapshot) -> nx.MultiGraph[Any]:
    """Return the graph of items and values in networkx.

    Nodes are ``("item", id)`` and ``("value", text)``; each statement is an edge with the attribute
    ``property``.
    """
    import networkx as nx

    graph: nx.MultiGraph[Any] = nx.MultiGraph()
    graph.add_nodes_from((ITEM, name) for name in snapshot.items)
    for item, property_index, value in snapshot.triples.tolist():
        graph.add_edge(
            (ITEM, snapshot.items[item]),
            (VALUE, snapshot.values[value]),
            property=snapshot.properties[property_index],
        )
    return graph


def taxonomy(snapshot: GraphSnapshot) -> nx.DiGraph[Any]:
    """Return the tree of categories in networkx, with edges from parents to children.

    Nodes are the categories' own names, without their parents'. A name that occurs in two places is
    one node, so that a cycle becomes visible. The attribute ``items`` counts the items that are in
    the category itself.
    """
    import networkx as nx

    graph: nx.DiGraph[Any] = nx.DiGraph()
    for category, count in Counter(filter(None, snapshot.categories)).items():
        names = category.split(CATEGORY_SEPARATOR)
        graph.add_edges_from(pairwise(names))
        graph.add_node(names[-1])
        attributes = graph.nodes[names[-1]]
        attributes["items"] = attributes.get("items", 0) + count
    return graph


def category_cycles(graph: nx.DiGraph[Any]) -> list[list[str]]:
    """Return one cycle for each set of categories that are all below one another.

    There can be exponentially many cycles in such a set, so only a short one through its first name
    is returned; that name is repeated at the end.
    """
    import networkx as nx

    cycles = [[name, name] for name in graph if graph.has_edge(name, name)]
    for component in nx.strongly_connected_components(graph):
        if len(component) > 1:
            # The smallest name, since the order of a set of texts differs between processes.
            start = min(component)
            subgraph = graph.subgraph(component)
            last = min(subgraph.predecessors(start))
            cycles.append([*nx.shortest_path(subgraph, start, last), start])
    return sorted(cycles, key=lambda names: (len(names), names))


def triples_factory(snapshot: GraphSnapshot) -> TriplesFactory:
    """Return the graph as PyKEEN's triples.

    With I items, entities 0 to I - 1 are the items, and the values follow.
    """
    import torch
    from pykeen.triples import TriplesFactory

    # A copy, because the snapshot's own array may be a memory map that is read-only.
    triples = np.array(snapshot.triples)
    triples[:, 2] += len(snapshot.items)
    entities = [f"item:{name}" for name in snapshot.items]
    entities += [f"value:{text}" for text in snapshot.values]
    return TriplesFactory(
        torch.from_numpy(triples),
        entity_to_id={name: number for number, name in enumerate(entities)},
        relation_to_id={name: number for number, name in enumerate(snapshot.properties)},
    )


def dgl_graph(snapshot: GraphSnapshot) -> Any:
    """Return the graph as DGL's heterograph with edges item -has-> value and back.

    Nodes have the snapshot's numbers, and edges have ``property`` [N].
    """
    from kg.sampling.hetero import heterograph

    item, property_index, value = np.array(snapshot.triples).T
    return heterograph(
        item,
        property_index,
        value,
        item_count=len(snapshot.items),
        candidate_count=len(snapshot.values),
    )
