"""What a person edits in an ontology stands when it is inferred again."""

from dataclasses import replace

from schema.edits import merge_edits
from schema.ontology import Ontology, PropertySpec

COLOUR = PropertySpec("colour", values=("red", "rde"), counts=(5, 1), applies_to={"Mugs": 0.9})
BASE = Ontology([COLOUR])
GROWN = PropertySpec(
    "colour", values=("red", "blue", "rde"), counts=(9, 3, 1), applies_to={"Mugs": 0.8, "Rugs": 0.6}
)


def merged(edited, fresh=(GROWN,), base=BASE):
    return merge_edits(base, Ontology(edited), Ontology(fresh))


def test_without_edits_the_new_one_stands():
    assert merged([COLOUR]) == Ontology([GROWN])


def test_a_changed_field_stands():
    spec = merged([replace(COLOUR, cardinality="many")])["colour"]
    assert spec.cardinality == "many"
    assert "blue" in spec.values


def test_a_removed_value_stays_away_and_an_added_one_stays():
    spec = merged([replace(COLOUR, values=("red", "teal"), counts=(5, 0))])["colour"]
    assert spec.values == ("red", "blue", "teal")


def test_an_edited_share_stands():
    assert merged([replace(COLOUR, applies_to={"Mugs": 1.0})])["colour"].applies_to == {
        "Mugs": 1.0,
        "Rugs": 0.6,
    }


def test_a_removed_property_stays_away():
    assert merged([]).properties == {}


def test_properties_that_are_new_in_the_data_come_in():
    assert list(merged([COLOUR], [GROWN, PropertySpec("size")]).properties) == ["colour", "size"]


def test_a_property_added_by_hand_stays():
    assert "size" in merged([COLOUR, PropertySpec("size")]).properties


def test_an_edited_threshold_stands():
    assert merge_edits(BASE, Ontology([COLOUR], threshold=0.3), Ontology([GROWN])).threshold == 0.3
