"""The graph's shape, and the graph in networkx, PyKEEN and DGL."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kg.analysis import (
    Cluster,
    bipartite,
    components,
    cycles,
    dgl_graph,
    duplicate_values,
    same_value,
    shape,
    taxonomy,
    triples_factory,
)
from kg.snapshot import GraphSnapshot, read_snapshot
from kg.stores.memory import MemoryStore
from kg.stores.tables import items_table, statements_table
from schema.terms import Item, Statement

Fact = tuple[str, str, str]
LETTERS = st.sampled_from("abcdef")
FACTS = [
    ("1", "colour", "red"),
    ("1", "size", "big"),
    ("2", "colour", "red"),
    ("3", "colour", "blue"),
]


def snapshot(facts: list[Fact], items: tuple[Item, ...] = ()) -> GraphSnapshot:
    store = MemoryStore()
    store.put(items_table(items), statements_table([Statement(*fact) for fact in facts]))
    return read_snapshot(store)


def of_categories(*names: str | None) -> GraphSnapshot:
    return snapshot([], tuple(Item(str(number), None, name) for number, name in enumerate(names)))


def test_items_that_share_a_value_hang_together() -> None:
    assert components(snapshot(FACTS, (Item("4"),))) == ([2, 1], 1)


def test_an_empty_graph_has_no_parts() -> None:
    assert components(snapshot([])) == ([], 0)
    assert shape(snapshot([])).as_dict() == {
        "alone": 0,
        "counts": {"components": 0, "duplicates": 0, "cycles": 0},
        "components": [],
        "duplicates": [],
        "cycles": [],
    }


@given(st.lists(st.tuples(LETTERS, LETTERS, LETTERS), max_size=20))
def test_components_are_those_of_networkx(facts: list[Fact]) -> None:
    read = snapshot(facts)
    peers = [
        sum(kind == "item" for kind, _ in part) for part in nx.connected_components(bipartite(read))
    ]
    assert components(read)[0] == sorted(peers, reverse=True)


def test_spellings_of_one_value_are_a_cluster() -> None:
    facts = [
        ("1", "colour", "Navy Blue"),
        ("2", "colour", "navy-blue"),
        ("3", "colour", "navy-blue"),
        ("4", "colour", "navy"),
    ]
    assert duplicate_values(snapshot(facts)) == [
        Cluster("colour", {"navy-blue": 2, "Navy Blue": 1})
    ]


def test_the_same_text_under_two_properties_is_no_cluster() -> None:
    assert duplicate_values(snapshot([("1", "colour", "Orange"), ("1", "scent", "orange")])) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Navy Blue", "blue, navy"),
        ("１２ cm", "12  CM"),
        ("Straße", "STRASSE"),
        ("红 色", "色, 红"),
    ],
)
def test_values_that_mean_the_same(one: str, other: str) -> None:
    assert same_value(one) == same_value(other) != ""


@pytest.mark.parametrize(
    ("one", "other"),
    [("1.5", "5.1"), ("10 x 20", "20 x 10"), ("1.5", "15"), ("A+", "A"), ("C#", "C"), ("-", "?!")],
)
def test_values_that_do_not_mean_the_same(one: str, other: str) -> None:
    assert same_value(one) != same_value(other) or same_value(one) == ""


@given(
    st.lists(st.tuples(LETTERS, LETTERS, st.text("aA b-1.", min_size=1, max_size=4)), max_size=25)
)
def test_clusters_are_the_components_of_values_that_are_pairwise_the_same(
    facts: list[Fact],
) -> None:
    nodes = {fact[1:] for fact in facts}
    peer: nx.Graph[tuple[str, str]] = nx.Graph()
    peer.add_nodes_from(nodes)
    peer.add_edges_from(
        (a, b)
        for a in nodes
        for b in nodes
        if a[0] == b[0] and same_value(a[1]) == same_value(b[1]) != ""
    )
    expected = {
        (next(iter(part))[0], len(part)) for part in nx.connected_components(peer) if len(part) > 1
    }
    assert {
        (each.property, len(each.values)) for each in duplicate_values(snapshot(facts))
    } == expected


def test_a_taxonomy_counts_the_items_of_each_category() -> None:
    graph = taxonomy(of_categories("A > B", "A > B", "A > C", None))
    assert sorted(graph.edges) == [("A", "B"), ("A", "C")]
    assert {name: about.get("items", 0) for name, about in graph.nodes(data=True)} == {
        "A": 0,
        "B": 2,
        "C": 1,
    }


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["A > B > C"], []),
        (["A > B", "B > C > A"], [["A", "B", "C", "A"]]),
        (["Belts > Belts"], [["Belts", "Belts"]]),
    ],
)
def test_categories_that_lie_below_one_another_are_a_cycle(
    names: list[str], found: list[list[str]]
) -> None:
    assert cycles(taxonomy(of_categories(*names))) == found


def test_a_tangle_of_categories_is_one_cycle() -> None:
    tangle = [f"{a} > {b}" for a in range(30) for b in range(30) if a != b]
    assert cycles(taxonomy(of_categories(*tangle))) == [["0", "1", "0"]]


def test_pykeen_s_triples_are_the_snapshot_s() -> None:
    read = snapshot(FACTS, (Item("4"),))
    factory = triples_factory(read)
    np.testing.assert_array_equal(
        factory.mapped_triples.numpy() - [0, 0, len(read.items)], read.triples
    )
    assert factory.entity_id_to_label[0] == "item:1"
    assert (factory.num_entities, factory.num_relations) == (4 + 3, 2)


def test_dgl_s_edges_are_the_snapshot_s() -> None:
    read = snapshot(FACTS, (Item("4"),))
    graph = dgl_graph(read)
    item, value = (ends.numpy() for ends in graph.edges(etype="has"))
    np.testing.assert_array_equal(
        np.stack([item, graph.edges["has"].data["property"].numpy(), value], 1), read.triples
    )
    assert (graph.num_nodes("item"), graph.num_nodes("value"), graph.num_edges("of")) == (4, 3, 4)
