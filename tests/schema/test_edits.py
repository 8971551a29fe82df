"""A person's edits to an ontology survive the next inference."""

from dataclasses import replace

import pyarrow as pa

from schema.edits import merge_edits
from schema.ontology import Ontology, PropertySpec

COLOUR = PropertySpec("colour", values=("red", "rde"), counts=(5, 1), applies_to={"Mugs": 0.9})
BASE = Ontology([COLOUR])
GROWN = PropertySpec(
    "colour", values=("red", "blue", "rde"), counts=(9, 3, 1), applies_to={"Mugs": 0.8, "Rugs": 0.6}
)


def merged(edited, inferred=(GROWN,), base=BASE):
    return merge_edits(base, Ontology(edited), Ontology(inferred))


def test_without_edits_the_inferred_ontology_is_taken():
    assert merged([COLOUR]) == Ontology([GROWN])


def test_an_edited_field_is_kept():
    spec = merged([replace(COLOUR, cardinality="many")])["colour"]
    assert spec.cardinality == "many"
    assert "blue" in spec.values


def test_a_removed_value_stays_out_and_an_added_one_stays_in():
    spec = merged([replace(COLOUR, values=("red", "teal"), counts=(5, 0))])["colour"]
    assert spec.values == ("red", "blue", "teal")


def test_an_edited_share_is_kept():
    assert merged([replace(COLOUR, applies_to={"Mugs": 1.0})])["colour"].applies_to == {
        "Mugs": 1.0,
        "Rugs": 0.6,
    }


def test_a_removed_property_stays_out():
    assert merged([]).properties == {}


def test_a_property_that_is_new_in_the_data_is_added():
    assert list(merged([COLOUR], [GROWN, PropertySpec("size")]).properties) == ["colour", "size"]


def test_a_property_added_by_hand_is_kept():
    assert "size" in merged([COLOUR, PropertySpec("size")]).properties


def test_flags_and_edited_shares_survive_the_next_inference():
    items = pa.table({"id": ["1", "2"], "category": ["Mugs", "Rugs"]})
    facts = pa.table({"item": ["1", "2"], "property": ["colour", "size"], "value": ["red", "XL"]})
    base = Ontology.infer(items, facts)
    assert base.applicable("Rugs") == ["size"]
    specs = [
        replace(base["colour"], learn=False, applies_to={"Mugs": 1.0, "Rugs": 1.0}),
        replace(base["size"], complete=False),
    ]
    edited = Ontology.from_toml(Ontology(specs, categories=base.categories).to_toml())
    again = merge_edits(base, edited, Ontology.infer(items, facts))
    assert (again["colour"].learn, again["colour"].is_learned) == (False, False)
    assert (again["size"].complete, again["size"].is_learned) == (False, True)
    assert again.applicable("Rugs") == ["colour", "size"]
    assert again["size"].has_inferred_shares
    assert not again["colour"].has_inferred_shares


def test_an_edited_threshold_is_kept():
    assert merge_edits(BASE, Ontology([COLOUR], threshold=0.3), Ontology([GROWN])).threshold == 0.3
