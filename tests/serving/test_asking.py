"""Which cells are asked, and why the others are not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kg.snapshot import GraphSnapshot
from schema.errors import ItemNotFoundError, PropertyNotFoundError
from schema.ontology import Ontology, PropertySpec
from schema.unasked import Unasked
from serving.asking import Asking, Refusal, plan_missing, plan_named
from serving.cells import Cell

PROPERTIES = ("colour", "ean", "launched", "legs", "notes", "price", "quiet", "silent", "smell")
EVERYWHERE = {"Mugs": 1.0, "Chairs": 1.0}


def spec(name: str, datatype: str = "string", **others: Any) -> PropertySpec:
    settings: dict[str, Any] = {
        "applies_to": EVERYWHERE,
        "coverage": 1.0,
        "values": ("a",),
        "counts": (9,),
    }
    return PropertySpec(name, datatype, **{**settings, **others})


HOME = Ontology(
    [
        spec("colour"),
        spec("ean", "identifier"),
        spec("launched", "date"),
        spec("legs", "integer", applies_to={"Chairs": 1.0}, coverage=0.2),
        spec("notes", "text"),
        spec("price", "decimal", unit="EUR"),
        spec("quiet", complete=False),
        spec("silent", learn=False),
        spec("smell"),
    ],
    categories={"Mugs": 30, "Chairs": 30},
)
MODEL = Ontology(
    [spec("colour"), spec("legs", "integer"), spec("price", "decimal"), spec("handle")],
    categories={"Mugs": 99, "Chairs": 99},
)
ASKING = Asking(HOME, MODEL)


def snapshot(
    categories: list[str | None], statements: Sequence[tuple[int, str]] = ()
) -> GraphSnapshot:
    """Return items i0, i1, ...; each statement is an item's index and one of the properties."""
    triples = np.array(
        sorted((item, PROPERTIES.index(name), 0) for item, name in set(statements)), np.int64
    ).reshape(-1, 3)
    count = len(categories)
    return GraphSnapshot(
        items=[f"i{number}" for number in range(count)],
        titles=[None] * count,
        categories=categories,
        images=[None] * count,
        properties=list(PROPERTIES),
        values=["a"],
        triples=triples,
        indptr=np.searchsorted(triples[:, 0], np.arange(count + 1)),
    )


MUG = snapshot(["Mugs"])


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("colour", None),
        ("ean", Unasked.IDENTIFIER),
        ("launched", Unasked.DATE),
        ("notes", Unasked.TEXT),
        ("price", Unasked.NUMBERS),
        ("quiet", Unasked.NO_COMPLETION),
        ("silent", Unasked.NO_LEARNING),
        ("smell", Unasked.UNKNOWN),
        ("handle", None),
    ],
)
def test_a_property_has_one_reason_not_to_be_asked(name, reason):
    assert ASKING.refusal(name) == reason
    plan = plan_named(MUG, ASKING, [("i0", name)])
    if reason is None:
        assert plan.cells == [Cell(0, name)]
        assert (plan.not_asked, plan.refused) == ({}, [])
    else:
        assert (plan.cells, plan.not_asked) == ([], {reason: 1})
        assert plan.refused == [Refusal("i0", name, reason)]


@given(
    st.lists(st.sampled_from(["Mugs", "Chairs", "Mugs > Small", "Garden", None]), max_size=8),
    st.lists(st.tuples(st.integers(0, 7), st.sampled_from(PROPERTIES)), max_size=30),
)
def test_every_missing_cell_is_asked_or_counted(categories, statements):
    stated = {(item, name) for item, name in statements if item < len(categories)}
    plan = plan_missing(snapshot(categories, list(stated)), ASKING)
    missing = {(item, name) for item in range(len(categories)) for name in PROPERTIES} - stated
    asked = {(cell.item, cell.property) for cell in plan.cells if cell.property != "handle"}
    assert asked <= missing
    assert len(asked) + sum(plan.not_asked.values()) == len(missing)
    assert all(count > 0 for count in plan.not_asked.values())
    assert plan.refused == []


def test_the_counts_say_why_cells_are_not_asked():
    plan = plan_missing(snapshot(["Mugs", "Chairs"], [(0, "ean"), (1, "colour")]), ASKING)
    assert plan.cells == [Cell(0, "colour"), Cell(1, "legs")]
    assert plan.not_asked == {
        Unasked.DOES_NOT_APPLY: 1,
        Unasked.IDENTIFIER: 1,
        Unasked.DATE: 2,
        Unasked.TEXT: 2,
        Unasked.NUMBERS: 2,
        Unasked.NO_COMPLETION: 2,
        Unasked.NO_LEARNING: 2,
        Unasked.UNKNOWN: 2,
    }


def test_a_cell_that_is_named_is_asked_where_its_property_does_not_apply():
    items = snapshot(["Mugs", "Mugs"], [(0, "colour")])
    plan = plan_missing(items, ASKING, items=["i1", "i0"], properties=["colour", "legs", "ean"])
    assert plan.cells == [Cell(1, "colour"), Cell(1, "legs"), Cell(0, "legs")]
    assert plan.not_applying == {Cell(1, "legs"), Cell(0, "legs")}
    assert plan.refused == [
        Refusal("i1", "ean", Unasked.IDENTIFIER),
        Refusal("i0", "colour", Unasked.HAS_VALUE),
        Refusal("i0", "ean", Unasked.IDENTIFIER),
    ]


def test_items_and_properties_of_which_nothing_is_asked_are_refused_by_name():
    items = snapshot(["Mugs", "Mugs"], [(0, "colour"), (1, "colour")])
    plan = plan_missing(items, ASKING, properties=["colour", "legs", "notes"])
    assert (plan.cells, plan.refused) == (
        [],
        [
            Refusal(None, "colour", Unasked.HAS_VALUE),
            Refusal(None, "legs", Unasked.DOES_NOT_APPLY),
            Refusal(None, "notes", Unasked.TEXT),
        ],
    )
    every = [(0, name) for name in PROPERTIES if name != "legs"]
    plan = plan_missing(snapshot(["Mugs"], every), ASKING, items=["i0"])
    assert plan.refused == [Refusal("i0", None, Unasked.DOES_NOT_APPLY)]


def test_a_property_that_only_the_model_has_is_asked_where_the_home_says_little():
    small = Ontology([spec("colour")], categories={"Mugs": 1})
    shop = replace(MUG, properties=["colour"])
    new = Asking(small, without_legs(MODEL))
    assert Cell(0, "handle") in plan_missing(shop, new).cells
    assert plan_missing(shop, ASKING).cells == [Cell(0, "colour")]
    # Not so if the home may have it under another name, or if a person has taken it out.
    cautious = Asking(small, without_legs(MODEL), new_properties=False)
    assert plan_missing(shop, cautious).cells == [Cell(0, "colour")]
    removed = Asking(small, without_legs(MODEL), removed=["handle", "price", "legs"])
    assert plan_missing(shop, removed).cells == [Cell(0, "colour")]
    (refusal,) = plan_missing(shop, removed, properties=["handle"]).refused
    assert refusal == Refusal(None, "handle", Unasked.REMOVED)


def without_legs(model: Ontology) -> Ontology:
    return Ontology(
        [each for each in model.properties.values() if each.name != "legs"],
        categories=model.categories,
    )


def test_unknown_names_are_errors():
    with pytest.raises(ItemNotFoundError, match="'nix'"):
        plan_named(MUG, ASKING, [("nix", "colour")])
    with pytest.raises(PropertyNotFoundError, match=r"'size'.*colour"):
        plan_missing(MUG, ASKING, properties=["size"])


def test_a_property_with_several_values_is_asked_although_one_is_known() -> None:
    ontology = Ontology(
        [spec("colour", cardinality="many"), spec("smell")], categories={"Mugs": 30}
    )
    stated = snapshot(["Mugs"], [(0, "colour"), (0, "smell")])
    asking = Asking(ontology, ontology, several=["colour", "smell"])
    # The home allows a single smell.
    assert plan_missing(stated, asking).cells == [Cell(0, "colour")]
    named = plan_missing(stated, asking, items=["i0"], properties=["colour", "smell"])
    assert named.cells == [Cell(0, "colour")]
    assert [each.property for each in named.refused] == ["smell"]
    assert plan_missing(stated, Asking(ontology, ontology)).cells == []
