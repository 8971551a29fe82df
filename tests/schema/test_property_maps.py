"""Maps from a home's properties to a model's: proposed, written, corrected, read."""

from dataclasses import replace

import pytest

from schema import property_maps
from schema.errors import SourceNotFoundError, UsageError
from schema.ontology import Ontology, PropertySpec
from schema.property_maps import PropertyMap, propose_map, unknown_properties, write_map


def spec(name, *values, datatype="string", unit=None):
    counts = tuple(range(len(values) + 5, 5, -1))
    return PropertySpec(name, datatype, unit, values=values, counts=counts)


HOME = Ontology(
    [
        spec("Farbe", "red", "Blue", "turquois"),
        spec("base-colour", "crimson", "navy"),
        spec("Material", "oak", "steel"),
        spec("weight", "1 kg", "2 kg", datatype="quantity", unit="kg"),
        spec("motto", "hello", "world"),
        spec("EAN", "4012345000009", datatype="identifier"),
    ]
)
MODEL = Ontology(
    [
        spec("colour", "blue", "red", "turquoise"),
        spec("baseColour", "pink", "beige"),
        spec("material", "Oak", "Steel"),
        spec("height", "1 kg", "2 kg", datatype="quantity", unit="kg"),
        spec("brand", "Acme"),
    ]
)


def test_a_map_is_proposed_by_names_and_by_values():
    assert unknown_properties(HOME, MODEL) == [
        "Farbe",
        "Material",
        "base-colour",
        "motto",
        "weight",
    ]
    found = {each.property: each for each in propose_map(HOME, MODEL)}
    assert {name: each.model_property for name, each in found.items()} == {
        "Farbe": "colour",
        "Material": "material",
        "base-colour": "baseColour",
    }
    assert found["Farbe"].values == (("turquois", "turquoise"),)
    assert "values of the model" in found["Farbe"].reason
    assert "name" in found["base-colour"].reason


def test_of_very_many_properties_those_with_something_in_common_are_compared(monkeypatch):
    before = propose_map(HOME, MODEL)
    monkeypatch.setattr(property_maps, "MAX_PAIRS", 0)
    assert propose_map(HOME, MODEL) == before


def test_what_is_never_asked_needs_no_map():
    quiet = Ontology([replace(HOME["motto"], learn=False), replace(HOME["Farbe"], complete=False)])
    assert unknown_properties(quiet, MODEL) == []


def test_a_written_proposal_can_be_read(tmp_path):
    write_map(tmp_path / "map.csv", propose_map(HOME, MODEL), ["motto", "weight"])
    read = PropertyMap.read(tmp_path / "map.csv", HOME, MODEL)
    assert read.properties == {
        "Farbe": "colour",
        "Material": "material",
        "base-colour": "baseColour",
    }
    assert read.values == {"Farbe": {"turquois": "turquoise"}}


def test_the_columns_of_values_may_be_left_out(tmp_path):
    (tmp_path / "map.csv").write_text("property,model_property\nFarbe,colour\nmotto,\n")
    read = PropertyMap.read(tmp_path / "map.csv", HOME, MODEL)
    assert read == PropertyMap({"Farbe": "colour"}, {})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n1,2\n", "property,model_property"),
        ("property,model_property\nfarbe,colour\n", "this home has no property 'farbe'"),
        ("property,model_property\nFarbe,color\n", "the model has no property 'color'"),
        ("property,model_property\nFarbe,colour\nFarbe,material\n", "keep one of them"),
        (
            "property,model_property,value,model_value\nFarbe,colour,red,rouge\n",
            "no value 'rouge'",
        ),
        (
            "property,model_property,value,model_value\nFarbe,colour,a,red\nFarbe,colour,a,blue\n",
            "keep one of them",
        ),
    ],
    ids=range(6),
)
def test_a_map_that_does_not_fit_is_one_line(tmp_path, text, words):
    (tmp_path / "map.csv").write_text(text)
    with pytest.raises(UsageError) as caught:
        PropertyMap.read(tmp_path / "map.csv", HOME, MODEL)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_map_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(SourceNotFoundError, match="write-map"):
        PropertyMap.read(tmp_path / "none.csv", HOME, MODEL)
