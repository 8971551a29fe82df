"""What variants inherit from their products."""

import dataclasses

import pytest

from kg.ingest.inheritance import Inheritance, inherit
from kg.stores.memory import MemoryStore
from kg.stores.protocol import PutReport
from kg.stores.references import INHERITED
from kg.stores.tables import items_table, statements_table
from schema.mapping import VARIANT_OF
from schema.terms import Item, Provenance, Rank, Statement

TSHIRT = Item("T", "T-shirt", "Tops", ("https://x/1.jpg",), "Soft")


def stated(item, property, value, **more):
    return Statement(item, property, value, provenance=Provenance("shop.csv"), **more)


@pytest.fixture
def store():
    with MemoryStore() as store:
        yield store


def put(store, items, statements):
    store.put(items_table(items), statements_table(statements))


def variant(child, parent):
    return stated(child, VARIANT_OF, parent)


def values(store, item):
    found = store.item(item)[1]
    return {each.property: each.value for each in found if each.property != VARIANT_OF}


def fields(store, id):
    """Return an item without where its fields come from."""
    return dataclasses.replace(store.item(id)[0], provenance=None, references=())


def test_a_variant_has_what_its_product_says(store):
    put(
        store,
        [TSHIRT, Item("T/S", "T-shirt S"), Item("T/M")],
        [
            variant("T/S", "T"),
            variant("T/M", "T"),
            stated("T", "material", "cotton"),
            stated("T", "size", "S, M"),
            stated("T/S", "size", "S"),
            stated("T", "gtin", "4006381333931"),
            stated("T", "material", "Baumwolle", language="de"),
        ],
    )
    report = inherit(store, "run", "now")

    assert report == Inheritance(variants=2, fields=7, statements=4)
    assert fields(store, "T/M") == Item("T/M", "T-shirt", "Tops", ("https://x/1.jpg",), "Soft")
    assert store.item("T/S")[0].title == "T-shirt S"
    # A property that a variant states is one in which they differ; a GTIN is the product's own.
    assert set(values(store, "T/M")) == {"material"}
    assert values(store, "T/S")["size"] == "S"
    tags = {each.value: each.language for each in store.item("T/M")[1]}
    assert (tags["cotton"], tags["Baumwolle"]) == (None, "de")


def test_where_a_value_comes_from_is_said(store):
    put(store, [], [variant("a", "p"), stated("p", "material", "oak")])
    inherit(store, "run", "now")
    (found,) = [each for each in store.item("a")[1] if each.property == "material"]
    assert found.rank is Rank.ASSERTED
    assert found.provenance == Provenance(
        "shop.csv", batch="run", evidence=f"{INHERITED}p", time="now"
    )


def test_inheriting_again_changes_nothing(store):
    put(store, [TSHIRT], [variant("T/S", "T"), stated("T", "material", "cotton")])
    assert inherit(store, "run", "now").statements == 1
    before = store.content_hash()
    assert inherit(store, "other", "later") == Inheritance(variants=1)
    assert store.content_hash() == before


def test_what_a_product_no_longer_says_is_taken_back(store):
    material = stated("p", "material", "oak")
    put(store, [], [variant("a", "p"), material, stated("p", "finish", "oiled")])
    inherit(store, "run", "now")
    store.retract([material.id])
    put(store, [], [stated("a", "finish", "raw")])

    assert inherit(store, "run", "now") == Inheritance(variants=1, retracted=2)
    assert values(store, "a") == {"finish": "raw"}


def test_a_value_that_a_variant_comes_to_state_is_its_own(store):
    put(store, [], [variant("a", "p"), stated("p", "finish", "oiled")])
    inherit(store, "run", "now")
    put(store, [], [stated("a", "finish", "oiled")])
    assert inherit(store, "run", "now") == Inheritance(variants=1)
    (found,) = [each for each in store.item("a")[1] if each.property == "finish"]
    assert found.provenance.evidence is None


def test_variants_of_variants_inherit_from_both(store):
    put(
        store,
        [Item("group", "Shirt", "Tops"), Item("model", "Red shirt")],
        [
            variant("model", "group"),
            variant("small", "model"),
            stated("group", "material", "cotton"),
            stated("model", "colour", "red"),
        ],
    )
    inherit(store, "run", "now")
    assert values(store, "small") == {"material": "cotton", "colour": "red"}
    assert fields(store, "small") == Item("small", "Red shirt", "Tops")
    evidence = {each.property: each.provenance.evidence for each in store.item("small")[1]}
    assert evidence["material"] == f"{INHERITED}group"


def test_variants_of_each_other_inherit_nothing(store):
    put(store, [], [variant("a", "b"), variant("b", "a"), stated("a", "colour", "red")])
    report = inherit(store, "run", "now")
    assert report == Inheritance(variants=2, circular=2)
    assert "correct their parents" in " ".join(report.notes())


def test_predictions_are_not_inherited(store):
    guess = Statement("p", "colour", "red", Rank.PREDICTED, Provenance("m", model="m"))
    put(store, [], [variant("a", "p"), guess])
    assert inherit(store, "run", "now") == Inheritance(variants=1)


def test_inherited_fields_follow_those_of_the_product(store):
    put(store, [Item("p", "Hat", "Hats")], [variant("a", "p")])
    inherit(store, "run", "now")
    assert fields(store, "a") == Item("a", "Hat", "Hats")
    put(store, [Item("p", "Cap")], [])
    assert inherit(store, "run", "now") == Inheritance(variants=1, fields=1)
    assert fields(store, "a") == Item("a", "Cap", "Hats")

    put(store, [Item("a", "Cap S", "Caps", description="Small")], [])
    assert inherit(store, "run", "now") == Inheritance(variants=1)
    assert fields(store, "a") == Item("a", "Cap S", "Caps", description="Small")
    assert store.item("a")[0].references == ()
    assert store.item("a")[0].provenance is None


def test_a_value_that_a_variant_no_longer_states_is_inherited_again(store):
    put(store, [], [variant("a", "p"), stated("p", "finish", "oiled")])
    put(store, [Item("a", "A")], [stated("a", "finish", "raw"), variant("a", "p")])
    inherit(store, "run", "now")
    assert values(store, "a") == {"finish": "raw"}
    tables = items_table([Item("a", "A")]), statements_table([variant("a", "p")])
    store.put(*tables, replaces="shop.csv")
    assert inherit(store, "run", "now") == Inheritance(variants=1, statements=1)
    assert values(store, "a") == {"finish": "oiled"}
    # What is inherited is not the source's own, and stays when the source says the same again.
    assert store.put(*tables, replaces="shop.csv") == PutReport(0, 0)


def test_without_variants_there_is_nothing_to_do(store):
    put(store, [TSHIRT], [stated("T", "colour", "red")])
    assert inherit(store, "run", "now") == Inheritance()
