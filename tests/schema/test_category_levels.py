"""What levels of a category say of a property."""

from schema.category_levels import levels_that_say, without_values
from schema.ontology import PropertySpec

KIND = PropertySpec(
    "kind", values=("Shirts", "Mugs"), counts=(2, 1), synonyms={"Shirts": ("Tops",)}
)


def test_a_level_says_a_value_however_it_is_written():
    assert levels_that_say(KIND, ["Home", "mugs", "MUGS", "tops"]) == [1, 0]
    assert levels_that_say(KIND, []) == []


def test_levels_that_say_a_value_are_left_out():
    levels = ("Home", "SHIRTS", "Tops", "Mugs")
    assert without_values(KIND, levels, ["Shirts"]) == ("Home", "Mugs")
    assert without_values(KIND, levels, ["home"]) == ("SHIRTS", "Tops", "Mugs")
    assert without_values(KIND, levels, []) == levels
