"""Leakage of a split."""

import numpy as np
import pytest

from kg.quality.leaks import explained_share, find_leaks
from kg.snapshot import read_snapshot
from kg.stores.open import open_store
from kg.stores.tables import items_table, statements_table
from schema.terms import Item, Statement


@pytest.fixture
def snapshot():
    """60 items whose kind determines their department.

    The last title has the words of the first one, and of half the items brand and maker are equal.
    """
    with open_store("memory:") as store:
        titles = [f"item number {n}" for n in range(59)] + ["number 0, Item"]
        items = [Item(f"{n:02}", title) for n, title in enumerate(titles)]
        kinds = [Statement(i.id, "kind", f"k{n % 6}") for n, i in enumerate(items)]
        departments = [Statement(i.id, "department", f"d{n % 3}") for n, i in enumerate(items)]
        makers = [
            Statement(i.id, name, f"b{n % 7}")
            for n, i in enumerate(items[:30])
            for name in ("brand", "maker")
        ]
        store.put(items_table(items), statements_table(kinds + departments + makers))
        return read_snapshot(store)


@pytest.fixture
def leaks(snapshot):
    splits = {item: "test" if n >= 50 else "train" for n, item in enumerate(snapshot.items)}
    return find_leaks(snapshot, splits)


def test_titles_of_the_same_words_are_duplicates(leaks):
    by_split = {(each.part, each.by): each for each in leaks.twins}
    assert by_split["test", "title"].pairs == [("59", "00")]
    assert by_split["validation", "title"].items == 0


def test_a_determined_property_is_found_in_one_direction(leaks):
    shares = {(each.property, each.by): each.share for each in leaks.determined}
    assert shares["department", "kind"] == 1.0
    assert ("kind", "department") not in shares


def test_a_value_under_two_properties_is_found(leaks):
    (repeated,) = leaks.repeated
    assert (repeated.property, repeated.by) == ("maker", "brand")
    assert (repeated.share, repeated.items) == (1.0, 30)


def test_an_item_does_not_explain_itself():
    assert explained_share(np.arange(30), np.arange(30)) == 0
    assert explained_share(np.zeros(4, np.int64), np.array([1, 1, 1, 2])) == 0.75
