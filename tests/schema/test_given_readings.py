"""How properties are read of which something is given."""

import pytest

from schema.given_readings import infer_reading
from schema.literals import NOTHING_GIVEN, Given, Reading
from schema.numbers import UNCLEAR

LENGTHS = ["12 cm", "30 cm", "1,5 m"]


def read(values, given, name="x"):
    return infer_reading(name, values, [1] * len(values), given=given).reading


@pytest.mark.parametrize(
    ("values", "given", "reading"),
    [
        (["1", "2"], Given("string"), Reading("string")),
        (["1", "2"], Given("decimal"), Reading("decimal")),
        (LENGTHS, Given(unit="mm"), Reading("quantity", "mm", ",")),
        (["5", "6"], Given("quantity", "cm"), Reading("quantity", "cm")),
        (["1,250", "2,500"], Given(decimal_mark=","), Reading("decimal", None, ",")),
        (["03/04/2024"], Given(date_order="mdy"), Reading("date", date_order="mdy")),
        (["1.50 EUR", "2 EUR"], Given(unit="EUR"), Reading("decimal", "EUR")),
    ],
)
def test_what_is_given_holds(values, given, reading):
    assert read(values, given) == reading


@pytest.mark.parametrize(
    ("values", "given", "words"),
    [
        (["1", "2", "tall"], Given("integer"), "1 of its 3 values are no integer, such as 'tall'"),
        (LENGTHS, Given(unit="kg"), "its values are in cm, not in kg"),
        (["1.25", "2.75"], Given(decimal_mark=","), "2 of its numbers have a decimal point"),
        (["13/01/2024"], Given(date_order="mdy"), "some of its dates have the day first"),
    ],
)
def test_what_the_values_contradict_is_said(values, given, words):
    assert words in read(values, given).remark


def test_a_remark_is_made_only_if_values_depend_on_what_is_unclear():
    given = Given(decimal_mark=UNCLEAR, remarks=(("decimal_mark", "two mappings differ"),))
    assert read(["1,250"], given).remark.startswith("two mappings differ")
    assert read(["1.25"], given) == Reading("decimal", decimal_mark=UNCLEAR)


def test_nothing_given_leaves_everything_to_the_values():
    assert read(LENGTHS, NOTHING_GIVEN) == Reading("quantity", "cm", ",")
