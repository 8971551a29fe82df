"""Groups of items that belong together."""

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kg.item_groups import (
    Links,
    item_groups,
    links_of_images,
    links_of_pairs,
    links_of_titles,
    links_of_values,
)
from kg.quality.image_fingerprints import ImageFingerprints
from kg.snapshot import GraphSnapshot
from schema.errors import PropertyNotFoundError


def snapshot(titles, triples=(), values=(), properties=("brand",)):
    """Return a snapshot whose items are named 1, 2, 3, ..."""
    items = [str(number) for number in range(1, len(titles) + 1)]
    rows = np.array(triples, np.int64).reshape(-1, 3)
    bounds = np.searchsorted(rows[:, 0], np.arange(len(items) + 1))
    nothing: list[str | None] = [None] * len(items)
    return GraphSnapshot(
        items, titles, nothing, nothing, list(properties), list(values), rows, bounds
    )


def named(groups):
    return {group.name: group.items for group in groups}


def test_titles_of_the_same_words_belong_together():
    shop = snapshot(["red mug", "Mug, RED", None, "", "blue mug"])
    links = links_of_titles(shop)
    assert links.items == 2
    assert named(item_groups(shop, [links])) == {
        "1": ("1", "2"),
        "3": ("3",),
        "4": ("4",),
        "5": ("5",),
    }


def test_several_values_join_groups_and_the_first_in_the_alphabet_names_them():
    triples = [(0, 0, 1), (1, 0, 0), (1, 0, 1), (2, 0, 2), (3, 1, 2)]
    shop = snapshot([None] * 5, triples, ["Acme", "Zeta", "Oak"], ("brand", "wood"))
    links = links_of_values(shop, "brand")
    assert named(item_groups(shop, [links], "brand")) == {
        "Acme": ("1", "2"),
        "Oak": ("3",),
        "4": ("4",),
        "5": ("5",),
    }
    with pytest.raises(PropertyNotFoundError, match="'colour': choose one of brand, wood"):
        links_of_values(shop, "colour")


def test_pairs_are_transitive_and_other_items_link_nothing():
    shop = snapshot([None] * 10)
    links = links_of_pairs(shop, [("10", "9"), ("9", "2"), ("3", "x"), ("x", "4")])
    groups = named(item_groups(shop, [links]))
    # 10 is a longer id than 2: the group keeps its name when a higher number joins it.
    assert groups["2"] == ("2", "9", "10")
    assert len(groups) == 8


def test_images_and_titles_are_one_chain():
    hashes = np.array([7, 7, 0, 99 << 20, 0], np.uint64)
    shop = snapshot([None, "a", "a", None, None])
    images = links_of_images(ImageFingerprints(hashes, np.zeros((5, 3, 16, 16), np.uint8)))
    assert images.items == 2
    groups = named(item_groups(shop, [links_of_titles(shop), images]))
    assert groups == {"1": ("1", "2", "3"), "4": ("4",), "5": ("5",)}


edges = st.lists(st.tuples(st.integers(0, 11), st.integers(0, 5)), max_size=20)


@settings(max_examples=60, deadline=None)
@given(st.lists(edges, max_size=3))
def test_groups_are_the_connected_components(several):
    links = []
    graph = nx.Graph()
    graph.add_nodes_from(range(12))
    for kind, rows in enumerate(several):
        table = np.array(rows, np.int64).reshape(-1, 2)
        links.append(Links(table[:, 0], table[:, 1]))
        graph.add_edges_from((item, (kind, key)) for item, key in rows)
    expected = {
        frozenset(str(node + 1) for node in component if isinstance(node, int))
        for component in nx.connected_components(graph)
    }
    groups = item_groups(snapshot([None] * 12), links)
    assert {frozenset(group.items) for group in groups} == expected - {frozenset()}
