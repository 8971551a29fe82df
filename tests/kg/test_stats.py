"""Counts and coverage of a store."""

from __future__ import annotations

from kg.stats import PropertyCoverage, read_stats
from kg.stores.memory import MemoryStore
from kg.stores.tables import items_table, statements_table
from schema.terms import Item, Provenance, Rank, Statement


def statement(item: str, value: str, rank: Rank = Rank.ASSERTED) -> Statement:
    return Statement(item, "colour", value, rank, Provenance("test"))


def test_an_empty_store_counts_nothing() -> None:
    stats = read_stats(MemoryStore())
    assert (stats.items, stats.statements, stats.ranks, stats.coverage) == (0, 0, {}, [])


def test_items_with_titles_images_and_categories_are_counted() -> None:
    store = MemoryStore()
    store.put(items_table([Item("a", "A", "X", ("a.png",)), Item("b", None, "X"), Item("c")]), None)
    stats = read_stats(store)
    assert (stats.items, stats.titles, stats.images, stats.categories) == (3, 1, 1, 1)


def test_coverage_counts_each_trusted_item_once() -> None:
    store = MemoryStore()
    facts = [
        statement("a", "red"),
        statement("a", "blue"),
        statement("b", "red", Rank.ACCEPTED),
        statement("c", "red", Rank.REJECTED),
    ]
    store.put(None, statements_table(facts))
    stats = read_stats(store)
    expected = PropertyCoverage("colour", items=2, share=2 / 3, values=2, predicted=0)
    assert stats.coverage == [expected]
    assert stats.ranks == {"accepted": 1, "asserted": 2, "rejected": 1}


def test_predicted_counts_items_without_a_trusted_value() -> None:
    store = MemoryStore()
    store.put(
        None,
        statements_table(
            [
                statement("a", "red"),
                statement("a", "blue", Rank.PREDICTED),
                statement("b", "red", Rank.PREDICTED),
            ]
        ),
    )
    (colour,) = read_stats(store).coverage
    assert (colour.items, colour.predicted) == (1, 1)
