"""Snapshots of a store."""

import numpy as np
import pytest

from kg.snapshot import read_snapshot
from kg.stores.open import open_store
from kg.stores.tables import items_table, statements_table
from schema.ontology import Ontology, PropertySpec
from schema.terms import Item, Rank, Statement


@pytest.fixture
def store():
    with open_store("memory:") as store:
        items = [
            Item("b", "blue lamp", "Home > Lamps", ("/b.jpg", "/b2.jpg"), "Lights up.\nBlue"),
            Item("a"),
            Item("ä", "Ärmel"),
        ]
        facts = [
            Statement("b", "colour", "blue"),
            Statement("b", "size", "blue"),
            Statement("ä", "colour", "rot"),
            Statement("a", "colour", "red", Rank.PREDICTED),
            Statement("a", "colour", "green", Rank.REJECTED),
        ]
        store.put(items_table(items), statements_table(facts))
        yield store


def test_items_have_their_titles_and_first_images(store):
    snapshot = read_snapshot(store)
    assert snapshot.items == ["a", "b", "ä"]
    assert snapshot.titles == [None, "blue lamp", "Ärmel"]
    assert snapshot.images == [None, "/b.jpg", None]


def test_details_are_read_only_if_they_are_asked_for(store):
    assert read_snapshot(store).details is None
    assert read_snapshot(store).images_of(1) == ["/b.jpg"]
    snapshot = read_snapshot(store, details=True)
    assert snapshot.details is not None
    descriptions = [snapshot.details.description(item) for item in range(3)]
    assert descriptions == [None, "Lights up.\nBlue", None]
    assert [snapshot.images_of(item) for item in range(3)] == [[], ["/b.jpg", "/b2.jpg"], []]


def test_a_category_is_a_path(store):
    snapshot = read_snapshot(store)
    assert [snapshot.category_path(item) for item in range(3)] == [(), ("Home", "Lamps"), ()]


def test_only_trusted_statements_are_read(store):
    snapshot = read_snapshot(store)
    assert snapshot.statements_of(0) == []
    assert snapshot.statements_of(1) == [("colour", "blue"), ("size", "blue")]
    assert snapshot.statements_of(2) == [("colour", "rot")]


def test_other_ranks_can_be_read(store):
    assert read_snapshot(store, ranks=[Rank.PREDICTED]).statements_of(0) == [("colour", "red")]


def test_triples_are_sorted_int64_with_an_index(store):
    snapshot = read_snapshot(store)
    assert snapshot.triples.dtype == np.int64
    assert snapshot.indptr.tolist() == [0, 0, 2, 3]
    assert snapshot.triples.tolist() == sorted(snapshot.triples.tolist())


def test_arrays_in_a_folder_are_memory_mapped(store, tmp_path):
    snapshot = read_snapshot(store, tmp_path)
    assert isinstance(snapshot.triples, np.memmap)
    np.testing.assert_array_equal(snapshot.triples, read_snapshot(store).triples)


def test_an_empty_store():
    with open_store("memory:") as store:
        snapshot = read_snapshot(store, details=True)
    assert snapshot.items == []
    assert snapshot.details is not None
    assert len(snapshot.details.descriptions) == len(snapshot.details.images) == 0
    assert snapshot.triples.shape == (0, 3)
    assert snapshot.indptr.tolist() == [0]


def test_equal_values_of_a_property_are_one_node():
    facts = [
        ("1", "weight", "1.2 kg"),
        ("1", "weight", "1200 g"),
        ("2", "weight", "1200 g"),
        ("2", "colour", "Red"),
        ("3", "colour", "red"),
        ("3", "name", "RED"),
    ]
    ontology = Ontology(
        [
            PropertySpec("weight", "quantity", "kg", values=("1.2 kg",), counts=(2,)),
            PropertySpec("colour", values=("red",), counts=(2,)),
        ]
    )
    with open_store("memory:") as store:
        items = items_table([Item(name) for name in "123"])
        store.put(items, statements_table([Statement(*fact) for fact in facts]))
        snapshot = read_snapshot(store, ontology=ontology)
        as_written = read_snapshot(store)
    assert snapshot.values == ["1.2 kg", "RED", "red"]
    assert [snapshot.statements_of(item) for item in range(3)] == [
        [("weight", "1.2 kg")],
        [("colour", "red"), ("weight", "1.2 kg")],
        [("colour", "red"), ("name", "RED")],
    ]
    assert "Red" in as_written.values
