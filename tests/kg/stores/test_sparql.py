"""Answers of SPARQL as values of JSON."""

import math

import pytest
from pyoxigraph import QueryResultsFormat, parse_query_results

from kg.stores.sparql import answer_of
from schema.iris import XSD

RESULTS = (
    '{"head": {"vars": ["x"]}, "results": {"bindings": '
    '[{"x": {"type": "literal", "value": "%s", "datatype": "%s"}}]}}'
)


def value(text, datatype):
    """Return a literal as an answer has it."""
    answer = answer_of(parse_query_results(RESULTS % (text, datatype), QueryResultsFormat.JSON))
    ((found,),) = answer.rows
    return found


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("-7", "integer", -7),
        ("+7", "unsignedLong", 7),
        ("0", "nonPositiveInteger", 0),
        ("1.50", "decimal", 1.5),
        ("1e3", "double", 1000.0),
        ("-INF", "float", -math.inf),
        ("true", "boolean", True),
        ("1", "boolean", True),
        ("0", "boolean", False),
        # These are not what their datatype says.
        ("yes", "boolean", "yes"),
        ("1_000", "integer", "1_000"),
        ("\u0661", "integer", "\u0661"),
        ("1_0.5", "decimal", "1_0.5"),
        ("many", "int", "many"),
        ("9" * 5_000, "integer", "9" * 5_000),
        ("2020-01-02", "date", "2020-01-02"),
    ],
)
def test_numbers_and_truth_values_have_their_type(text, name, expected):
    found = value(text, f"{XSD}{name}")
    assert (type(found), found) == (type(expected), expected)


def test_datatypes_of_other_namespaces_say_nothing():
    for name in ("integer", "boolean", "double"):
        assert value("1", f"urn:x#{name}") == "1"


def test_nan_is_a_number():
    assert math.isnan(value("NaN", f"{XSD}double"))
