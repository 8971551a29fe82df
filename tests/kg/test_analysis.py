"""The structure of the graph, and the graph in networkx, PyKEEN and DGL."""

from __future__ import annotations

from itertools import product

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kg.analysis import (
    DuplicateValues,
    bipartite,
    category_cycles,
    component_sizes,
    dgl_graph,
    duplicate_values,
    graph_structure,
    normalized_value,
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


def snapshot_of_categories(*names: str | None) -> GraphSnapshot:
    return snapshot([], tuple(Item(str(number), None, name) for number, name in enumerate(names)))


def test_items_that_share_a_value_are_connected() -> None:
    assert component_sizes(snapshot(FACTS, (Item("4"),))) == ([2, 1], 1)


def test_an_empty_graph_has_no_components() -> None:
    assert component_sizes(snapshot([])) == ([], 0)
    assert graph_structure(snapshot([])).as_dict() == {
        "alone": 0,
        "counts": {"components": 0, "duplicates": 0, "cycles": 0},
        "components": [],
        "duplicates": [],
        "cycles": [],
    }


@given(st.lists(st.tuples(LETTERS, LETTERS, LETTERS), max_size=20))
def test_components_are_those_of_networkx(facts: list[Fact]) -> None:
    read = snapshot(facts)
    expected = [
        sum(kind == "item" for kind, _ in component)
        for component in nx.connected_components(bipartite(read))
    ]
    assert component_sizes(read)[0] == sorted(expected, reverse=True)


def test_spellings_of_one_value_are_duplicates() -> None:
    facts = [
        ("1", "colour", "Navy Blue"),
        ("2", "colour", "navy-blue"),
        ("3", "colour", "navy-blue"),
        ("4", "colour", "navy"),
    ]
    assert duplicate_values(snapshot(facts)) == [
        DuplicateValues("colour", {"navy-blue": 2, "Navy Blue": 1})
    ]


def test_the_same_text_under_two_properties_is_no_duplicate() -> None:
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
def test_values_that_are_the_same(one: str, other: str) -> None:
    assert normalized_value(one) == normalized_value(other) != ""


@pytest.mark.parametrize(
    ("one", "other"),
    [("1.5", "5.1"), ("10 x 20", "20 x 10"), ("1.5", "15"), ("A+", "A"), ("C#", "C"), ("-", "?!")],
)
def test_values_that_are_not_the_same(one: str, other: str) -> None:
    assert normalized_value(one) != normalized_value(other) or normalized_value(one) == ""


@given(
    st.lists(st.tuples(LETTERS, LETTERS, st.text("aA b-1.", min_size=1, max_size=4)), max_size=25)
)
def test_duplicates_are_the_components_of_pairwise_equal_values(facts: list[Fact]) -> None:
    nodes = {(name, value) for _, name, value in facts}
    graph: nx.Graph[tuple[str, str]] = nx.Graph()
    graph.add_nodes_from(nodes)
    for (name, value), (other_name, other_value) in product(nodes, nodes):
        same = normalized_value(value) == normalized_value(other_value) != ""
        if name == other_name and same:
            graph.add_edge((name, value), (other_name, other_value))
    expected = {
        (next(iter(component))[0], len(component))
        for component in nx.connected_components(graph)
        if len(component) > 1
    }
    duplicates = duplicate_values(snapshot(facts))
    assert {(each.property, len(each.values)) for each in duplicates} == expected


def test_a_taxonomy_counts_the_items_of_each_category() -> None:
    graph = taxonomy(snapshot_of_categories("A > B", "A > B", "A > C", None))
    counts = {name: attributes.get("items", 0) for name, attributes in graph.nodes(data=True)}
    assert sorted(graph.edges) == [("A", "B"), ("A", "C")]
    assert counts == {"A": 0, "B": 2, "C": 1}


@pytest.mark.parametrize(
    ("names", "cycles"),
    [
        (["A > B > C"], []),
        (["A > B", "B > C > A"], [["A", "B", "C", "A"]]),
        (["Belts > Belts"], [["Belts", "Belts"]]),
    ],
)
def test_categories_that_are_below_one_another_are_a_cycle(
    names: list[str], cycles: list[list[str]]
) -> None:
    assert category_cycles(taxonomy(snapshot_of_categories(*names))) == cycles


def test_many_intertwined_categories_are_one_cycle() -> None:
    names = [f"{a} > {b}" for a in range(30) for b in range(30) if a != b]
    assert category_cycles(taxonomy(snapshot_of_categories(*names))) == [["0", "1", "0"]]


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
