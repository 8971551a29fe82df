"""An item's neighbourhood and its ego graph."""

from __future__ import annotations

from kg.drawing.ego import Neighbourhood, ego_graph, neighbourhood
from kg.stores.memory import MemoryStore
from kg.stores.tables import items_table, statements_table
from schema.terms import Item, Provenance, Rank, Statement

RED = Statement("1", "colour", "red")
BIG = Statement("1", "size", "big", Rank.PREDICTED, Provenance("m", confidence=0.9))
MUG = Item("1", "A mug", "Mugs", ("a.png", "b.png"))


def around(*others: Statement) -> Neighbourhood:
    store = MemoryStore()
    store.put(items_table([MUG]), statements_table([RED, BIG, *others]))
    return neighbourhood(store, MUG, [RED, BIG])


def test_every_value_counts_the_items_that_have_it() -> None:
    found = around(
        Statement("2", "colour", "red"),
        Statement("3", "size", "big"),
        Statement("3", "name", "red"),
    )
    assert found.shared == {("colour", "red"): 2, ("size", "big"): 1}


def test_untrusted_statements_are_not_shared() -> None:
    assert around(Statement("2", "colour", "red", Rank.REJECTED)).nearest == []


def test_the_nearest_items_share_most_values() -> None:
    found = around(
        Statement("2", "colour", "red"),
        Statement("3", "colour", "red"),
        Statement("3", "size", "big"),
    )
    assert [(item.id, count) for item, count in found.nearest] == [("3", 2), ("2", 1)]


def test_the_number_of_nearest_items_is_limited() -> None:
    others = [Statement(f"x{number}", "colour", "red") for number in range(9)]
    assert len(around(*others).nearest) == 5


def test_an_item_without_statements_has_no_neighbours() -> None:
    assert neighbourhood(MemoryStore(), MUG, []) == Neighbourhood({}, [])


def test_the_ego_graph_has_the_item_its_values_and_its_neighbours() -> None:
    graph = ego_graph(MUG, [RED, BIG], around(Statement("2", "colour", "red")))
    assert dict(graph.nodes) == {
        ("item", "1"): {"title": "A mug", "image": "a.png"},
        ("item", "2"): {"title": "", "image": None},
        ("value", "colour", "red"): {"items": 2},
        ("value", "size", "big"): {"items": 0},
    }
    assert graph.edges[("item", "1"), ("value", "size", "big")] == {
        "rank": "predicted",
        "confidence": 0.9,
    }
    assert graph.edges[("item", "1"), ("item", "2")] == {"shared": 1}
