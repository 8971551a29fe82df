"""The product graph's shape: parts that hang together, values that mean the same, loops in the taxonomy; and the graph in networkx,
PyKEEN and DGL."""

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
# Signs that are part of a word: an A+ is no A, and C# no C.
WORD = re.compile(r"[\w+#%°&]+")


@dataclass(frozen=True)
class Cluster:
    """Spellings of what is one value of a property, each with its items, the most frequent first."""

    property: str
    values: dict[str, int]


@dataclass(frozen=True)
class Shape:
    """Items of each part that hangs together, largest first; items without a statement; spellings of one value; loops of categories."""

    components: list[int]
    alone: int
    duplicates: list[Cluster]
    cycles: list[list[str]]

    def as_dict(self, most: int | None = None) -> dict[str, Any]:
        """Plain data, of each list as many as ``most``, and how many there are."""
        lists = {
            "components": self.components[:most],
            "duplicates": [asdict(cluster) for cluster in self.duplicates[:most]],
            "cycles": self.cycles[:most],
        }
        sizes = {
            "components": len(self.components),
            "duplicates": len(self.duplicates),
            "cycles": len(self.cycles),
        }
        return {"alone": self.alone, "counts": sizes, **lists}


def shape(snapshot: GraphSnapshot) -> Shape:
    """The shape of the graph."""
    sizes, alone = components(snapshot)
    return Shape(sizes, alone, duplicate_values(snapshot), cycles(taxonomy(snapshot)))


def components(snapshot: GraphSnapshot) -> tuple[list[int], int]:
    """How many items each connected component has, largest first, and how many items have no statement."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = len(snapshot.items)
    values = len(snapshot.values)
    item = np.asarray(snapshot.triples[:, 0])
    value = np.asarray(snapshot.triples[:, 2])
    edges = coo_array(
        (np.ones(len(item), bool), (item, count + value)), shape=(count + values, count + values)
    )
    _, label = connected_components(edges, directed=False)
    told = np.diff(snapshot.indptr) > 0
    sizes = np.bincount(label[:count][told])
    return sorted(sizes[sizes > 0].tolist(), reverse=True), int((~told).sum())


def duplicate_values(snapshot: GraphSnapshot) -> list[Cluster]:
    """Values of a property that differ only as :func:`same_value` says, those that most items have first."""
    width = max(1, len(snapshot.values))
    keys, counts = np.unique(
        snapshot.triples[:, 1] * width + snapshot.triples[:, 2], return_counts=True
    )
    spellings: dict[tuple[int, str], dict[str, int]] = defaultdict(dict)
    for key, count in zip(keys.tolist(), counts.tolist(), strict=True):
        known = key // width
        text = snapshot.values[key % width]
        spellings[known, same_value(text)][text] = count
    found = [
        (known, values) for (known, sense), values in spellings.items() if sense and len(values) > 1
    ]
    clusters = [
        Cluster(
            snapshot.properties[known],
            dict(sorted(values.items(), key=lambda pair: (-pair[1], pair[0]))),
        )
        for known, values in found
    ]
    return sorted(
        clusters,
        key=lambda cluster: (-sum(cluster.values.values()), cluster.property, *cluster.values),
    )


def same_value(text: str) -> str:
    """What is alike of values that differ in case, width, spacing, punctuation and the order of words alone; "" where nothing is left.

    With digits only case, width and spacing are passed over: 1.5 is not 5.1, and 10 x 20 not 20 x 10.
    """
    plain = unicodedata.normalize("NFKC", text).casefold()
    if any(char.isdigit() for char in plain):
        return " ".join(plain.split())
    return " ".join(sorted(WORD.findall(plain)))


def bipartite(snapshot: GraphSnapshot) -> nx.MultiGraph[Any]:
    """Items and values as nodes ``("item", id)`` and ``("value", text)``; an edge a statement, whose ``property`` it has."""
    import networkx as nx

    graph: nx.MultiGraph[Any] = nx.MultiGraph()
    graph.add_nodes_from((ITEM, name) for name in snapshot.items)
    graph.add_edges_from(
        (
            (ITEM, snapshot.items[item]),
            (VALUE, snapshot.values[value]),
            {"property": snapshot.properties[known]},
        )
        for item, known, value in snapshot.triples.tolist()
    )
    return graph


def taxonomy(snapshot: GraphSnapshot) -> nx.DiGraph[Any]:
    """Categories by their own names, an edge from each to those below it; ``items`` counts those that are in a category itself.

    A name that stands in two places of the tree is one node, so that a loop shows.
    """
    import networkx as nx

    graph: nx.DiGraph[Any] = nx.DiGraph()
    for category, count in Counter(filter(None, snapshot.categories)).items():
        steps = category.split(CATEGORY_SEPARATOR)
        graph.add_edges_from(pairwise(steps))
        graph.add_node(steps[-1])
        graph.nodes[steps[-1]]["items"] = graph.nodes[steps[-1]].get("items", 0) + count
    return graph


def cycles(graph: nx.DiGraph[Any]) -> list[list[str]]:
    """One way around for every set of categories that lie below one another, its first name again at its end."""
    import networkx as nx

    found = [[name, name] for name in graph if graph.has_edge(name, name)]
    for part in nx.strongly_connected_components(graph):
        if len(part) > 1:
            start = min(part)
            inside = graph.subgraph(part)
            back = next(iter(sorted(inside.predecessors(start))))
            found.append([*nx.shortest_path(inside, start, back), start])
    return sorted(found, key=lambda names: (len(names), names))


def triples_factory(snapshot: GraphSnapshot) -> TriplesFactory:
    """PyKEEN's triples, without a detour through files: items are entities 0 to I - 1, values come after them."""
    import torch
    from pykeen.triples import TriplesFactory

    triples = np.array(snapshot.triples)
    triples[:, 2] += len(snapshot.items)
    names = [f"item:{name}" for name in snapshot.items] + [
        f"value:{text}" for text in snapshot.values
    ]
    entities, relations = (
        {name: number for number, name in enumerate(each)} for each in (names, snapshot.properties)
    )
    return TriplesFactory(
        torch.from_numpy(triples), entity_to_id=entities, relation_to_id=relations
    )


def dgl_graph(snapshot: GraphSnapshot) -> Any:
    """DGL's heterograph item -has-> value and back, ``property`` [N] on its edges, numbered as the snapshot numbers them."""
    from kg.sampling.hetero import heterograph

    item, known, value = np.array(snapshot.triples).T
    return heterograph(item, known, value, (len(snapshot.items), len(snapshot.values)))
