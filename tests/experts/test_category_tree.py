"""The tree of categories: its levels, and probabilities that never exceed a parent's."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from experts.category_tree import CategoryTree, level_name
from schema.terms import path_prefixes

PATHS = ("Home > Kitchen > Mugs", "Home > Kitchen > Plates", "Home", "Toys > Dolls")
TREE = CategoryTree(PATHS)


def test_levels_have_the_nodes_above_each_path():
    assert [level.nodes for level in TREE.levels] == [
        ("Home", "Toys"),
        ("Home > Kitchen", "Home", "Toys > Dolls"),
        ("Home > Kitchen > Mugs", "Home > Kitchen > Plates", "Home", "Toys > Dolls"),
    ]
    assert len(TREE.parents) == 2
    assert level_name(1) == "category level 1"


def test_nodes_sum_what_is_below_them():
    sums = [level.sums(np.array([0.4, 0.3, 0.2, 0.1])) for level in TREE.levels]
    np.testing.assert_allclose(sums[0], [0.9, 0.1])
    np.testing.assert_allclose(sums[1], [0.7, 0.2, 0.1])
    np.testing.assert_allclose(sums[2], [0.4, 0.3, 0.2, 0.1])


def test_levels_are_found_by_name_whatever_the_case():
    named = TREE.with_level(" kitchen ")
    assert named is not None
    assert named.tolist() == [True, True, False, False]
    assert TREE.with_level("garden") is None


names = st.sampled_from(["a", "b", "c"])
paths = st.lists(names, min_size=1, max_size=3).map(" > ".join)


@given(st.sets(paths, min_size=1, max_size=8), st.integers(0, 1000))
def test_no_node_is_more_probable_than_its_parent(known, seed):
    tree = CategoryTree(tuple(sorted(known)))
    probabilities = np.random.default_rng(seed).dirichlet(np.ones(len(tree.paths)))
    found: dict[str, float] = {}
    for level in tree.levels:
        sums = level.sums(probabilities)
        np.testing.assert_allclose(sums.sum(), 1)
        for node, probability in zip(level.nodes, sums.tolist(), strict=True):
            # A path that is also a parent is first all that is below it, and then itself.
            found[node] = max(found.get(node, 0), probability)
    for node, probability in found.items():
        for parent in path_prefixes(node)[:-1]:
            assert found[parent] >= probability - 1e-9
