import pytest

from kg.stores import sparql_grammar
from kg.stores.sparql_grammar import END, NotDerivedError, sparql_table

SELECT = ["SELECT", "*", "{"]


def arguments(*kinds):
    """Parse kinds of tokens; return where arguments of functions begin."""
    return list(sparql_table().function_arguments(kinds))


def test_no_rule_has_two_alternatives_that_begin_alike():
    # Otherwise making the table raises ValueError.
    assert len(sparql_table().rows) > 150


def test_an_ambiguous_grammar_is_found(monkeypatch):
    monkeypatch.setattr(sparql_grammar, "GRAMMAR", "Query = 'a'? 'a'")
    with pytest.raises(ValueError, match="begin with a"):
        sparql_table.__wrapped__()


def test_queries_are_derived():
    assert arguments("ASK", "{", "}") == []
    assert arguments(*SELECT, "variable", "iri", "variable", ".", "}", "LIMIT", "integer") == []
    assert arguments("SELECT", "(", "COUNT", "(", "*", ")", "AS", "variable", ")", "{", "}") == []
    assert arguments("DESCRIBE", "iri", "iri") == []


@pytest.mark.parametrize(
    ("kinds", "position"),
    [
        ([], 0),
        (["SERVICE"], 0),
        ([*SELECT, "SERVICE", "iri", "{", "}", "}"], 3),
        ([*SELECT, "}", ";"], 4),
        ([*SELECT, "variable", "iri"], 5),
        (["ASK", "{", "FILTER", "variable", "}"], 3),
        (["SELECT", "variable", "WHERE", "{", "}", "VALUES", "variable"], 7),
    ],
)
def test_the_first_token_that_cannot_stand_is_found(kinds, position):
    with pytest.raises(NotDerivedError) as caught:
        arguments(*kinds)
    assert caught.value.position == position


def test_what_would_fit_is_named():
    with pytest.raises(NotDerivedError) as caught:
        arguments("ASK", "{", "GRAPH", "{", "}", "}")
    assert caught.value.expected == ["iri", "variable"]
    with pytest.raises(NotDerivedError) as caught:
        arguments("ASK", "{", "}", "}")
    assert END in caught.value.expected


def test_calls_are_found_but_not_lists_of_objects():
    assert arguments("ASK", "{", "FILTER", "iri", "nil", "}") == [4]
    call = ["iri", "(", "iri", "(", "variable", ")", ")"]
    assert arguments("ASK", "{", "FILTER", "(", *call, ")", "}") == [5, 7]
    assert arguments("ASK", "{", "variable", "iri", "(", "iri", ")", "}") == []


def test_nesting_does_not_recurse():
    depth = 200_000
    with pytest.raises(NotDerivedError) as caught:
        arguments("ASK", "{", "FILTER", *["("] * depth)
    assert caught.value.position == depth + 3
    assert arguments("ASK", *["{"] * depth, *["}"] * depth) == []
