from __future__ import annotations

import numpy as np
import pytest

from kg.snapshot import GraphSnapshot
from kg.stores.memory import MemoryStore
from kg.stores.tables import items_table
from schema.decisions import DecisionLimits, Decisions
from schema.terms import Item, Provenance
from serving.cells import Cell
from serving.deciding import MIN_PROBABILITY, CellLimits
from serving.limits import limits_of_cells, read_item_sources, without_effect

from .fakes import ONTOLOGY

SNAPSHOT = GraphSnapshot(
    items=["a", "b"],
    titles=[None, None],
    categories=["home > mugs", None],
    images=[None, None],
    properties=[],
    values=[],
    triples=np.zeros((0, 3), np.int64),
    indptr=np.zeros(3, np.int64),
)
DECISIONS = Decisions(
    general=DecisionLimits(target_precision=0.97),
    properties={"kind": DecisionLimits(target_precision=0.999)},
    categories={"home": DecisionLimits(review_above=0.4)},
    sources={"shop": DecisionLimits(target_precision=1.0)},
)


def test_cells_take_the_limits_of_their_property_category_and_sources():
    limits_of = limits_of_cells(SNAPSHOT, DECISIONS, sources={"b": ("erp", "shop")})
    assert limits_of(Cell(0, "colour")) == CellLimits(0.97, 0.4)
    assert limits_of(Cell(0, "kind")) == CellLimits(0.999, 0.4)
    assert limits_of(Cell(1, "kind")) == CellLimits(1.0, MIN_PROBABILITY)


@pytest.mark.parametrize(
    ("option", "decisions", "expected"),
    [(None, Decisions(), 0.99), (None, DECISIONS, 0.97), (0.9, DECISIONS, 0.9)],
)
def test_an_option_takes_the_place_of_the_general_target(option, decisions, expected):
    limits_of = limits_of_cells(SNAPSHOT, decisions, target_precision=option)
    assert limits_of(Cell(1, "colour")).target_precision == expected


def test_an_option_leaves_special_targets_alone():
    limits_of = limits_of_cells(SNAPSHOT, DECISIONS, target_precision=0.5)
    assert limits_of(Cell(1, "kind")).target_precision == 0.999


def test_every_source_that_describes_an_item_counts():
    store = MemoryStore()
    for source in ("erp", "shop"):
        item = Item("a", title=f"from {source}", provenance=Provenance(source))
        store.put(items_table([item]), None)
    store.put(items_table([Item("b", title="from nowhere")]), None)
    sources = read_item_sources(store)
    assert set(sources["a"]) == {"erp", "shop"}
    assert "b" not in sources


def test_names_that_the_catalogue_does_not_have_are_without_effect():
    sources = {"a": ("shop",)}
    assert without_effect(DECISIONS, SNAPSHOT, ONTOLOGY, sources) == []
    mistyped = Decisions(
        properties={"colr": DecisionLimits(0.9)},
        categories={"home > mug": DecisionLimits(0.9)},
        sources={"shops": DecisionLimits(0.9)},
    )
    assert without_effect(mistyped, SNAPSHOT, ONTOLOGY, sources) == [
        "decisions.property.'colr'",
        "decisions.category.'home > mug'",
        "decisions.source.'shops'",
    ]
