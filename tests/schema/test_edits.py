"""A person's edits to an ontology survive the next inference."""

from dataclasses import replace

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


def test_an_edited_threshold_is_kept():
    assert merge_edits(BASE, Ontology([COLOUR], threshold=0.3), Ontology([GROWN])).threshold == 0.3
