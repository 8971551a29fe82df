import numpy as np
import pytest

from kg.quality.leaks import (
    HASHED_SIZE,
    Looks,
    find_leaks,
    looks_of,
    near_duplicate_images,
    told_by,
)
from kg.snapshot import read_snapshot
from kg.stores.open import open_store
from kg.stores.tables import items_table, statements_table
from schema.terms import Item, Statement


@pytest.fixture
def snapshot():
    """60 items: a kind tells the department, the last one's title is the first one's in other order, brand and maker say the same."""
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
    parts = {item: "test" if n >= 50 else "train" for n, item in enumerate(snapshot.items)}
    return find_leaks(snapshot, parts)


def test_a_title_of_the_same_words_is_a_twin(leaks):
    by = {(twin.part, twin.by): twin for twin in leaks.twins}
    assert by["test", "title"].pairs == [("59", "00")]
    assert by["validation", "title"].items == 0


def test_what_another_property_tells_is_found_and_not_the_other_way(leaks):
    found = {(each.property, each.by): each.share for each in leaks.determined}
    assert found["department", "kind"] == 1.0
    assert ("kind", "department") not in found


def test_a_value_under_two_properties_is_found(leaks):
    assert [(each.property, each.by, each.share, each.items) for each in leaks.repeated] == [
        ("maker", "brand", 1.0, 30)
    ]


def test_an_item_does_not_tell_itself():
    assert told_by(np.arange(30), np.arange(30)) == 0
    assert told_by(np.zeros(4, np.int64), np.array([1, 1, 1, 2])) == 0.75


def test_near_images_are_those_of_nearly_the_same_light_and_colour():
    rng = np.random.default_rng(0)
    plain = np.kron(rng.integers(0, 250, (3, 12, 12)), np.ones((HASHED_SIZE // 12,) * 2)).astype(
        np.uint8
    )
    images = {"a": plain, "b": plain + 3, "c": plain[:, ::-1], "d": np.roll(plain, 1, axis=0) // 2}
    looks = looks_of(["a", "b", "c", "d", None], images.get)
    assert looks.hashes[4] == 0
    train = np.arange(5) == 0
    assert near_duplicate_images(looks, train, ~train) == {1: 0}


def test_three_bits_apart_is_near_and_four_is_not():
    base = np.uint64(0x0123456789ABCDEF)
    hashes = np.array([base, base ^ np.uint64(0b111 << 30), base ^ np.uint64(0b1111 << 30)])
    train = np.array([True, False, False])
    assert near_duplicate_images(
        Looks(hashes, np.zeros((3, 3, 16, 16), np.uint8)), train, ~train
    ) == {1: 0}
