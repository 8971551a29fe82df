from dataclasses import replace

import numpy as np
import pytest

from kg.missing_values import read_missing_values
from kg.stores.memory import MemoryStore
from kg.stores.tables import items_table, statements_table
from schema.ontology import Ontology
from schema.terms import Item, Rank, Statement

ITEMS = [
    Item("a", category="Clothes > Shirts"),
    Item("b", category="Clothes > Shirts"),
    Item("c", category="Clothes > Shoes"),
    Item("d", category="Mugs"),
    Item("e"),
]
STATEMENTS = [
    Statement("a", "colour", "red"),
    Statement("a", "colour", "blue"),
    Statement("b", "colour", "red", Rank.PREDICTED),
    Statement("c", "colour", "red", Rank.ACCEPTED),
    Statement("a", "size", "M"),
    Statement("b", "size", "L"),
    Statement("d", "height", "10 cm"),
]


@pytest.fixture
def store():
    store = MemoryStore()
    store.put(items_table(ITEMS), statements_table(STATEMENTS))
    return store


@pytest.fixture
def ontology(store):
    inferred = Ontology.infer(store.items(), store.scan())
    # Shares as a person would write them: of so few items none would be believed.
    specs = [replace(spec, inferred_shares="") for spec in inferred.properties.values()]
    return Ontology(specs, categories=inferred.categories, described=inferred.described)


def test_items_without_a_trusted_value_are_counted_in_each_category_and_its_parents(
    store, ontology
):
    found = read_missing_values(store, ontology)
    assert found.categories == ("Clothes", "Clothes > Shirts", "Clothes > Shoes", "Mugs")
    assert found.items.tolist() == [3, 2, 1, 1]
    assert found.without_category == 1
    # "colour" and "size" are expected of as many items: then by name, and "height" of one item.
    assert found.properties == ("colour", "size", "height")
    assert found.applies.tolist() == [
        [True, True, False],
        [True, True, False],
        [True, False, False],
        [False, False, True],
    ]
    missing = np.where(found.applies, found.missing, -1)
    assert missing.tolist() == [[1, 1, -1], [1, 0, -1], [0, -1, -1], [-1, -1, 0]]
    # Shirts, shoes and mugs: one shirt has no colour.
    assert found.share() == pytest.approx(1 / (2 + 2 + 1 + 1))


def test_what_is_left_out_is_counted_and_parents_stay(store, ontology):
    found = read_missing_values(store, ontology, max_categories=2, max_properties=1)
    assert found.categories == ("Clothes", "Clothes > Shirts")
    assert (found.other_categories, found.other_properties) == (2, 1)


def test_an_empty_store_misses_nothing():
    found = read_missing_values(MemoryStore(), Ontology())
    assert found.categories == found.properties == ()
    assert found.missing.shape == found.applies.shape == (0, 0)
    assert found.share() == 0
