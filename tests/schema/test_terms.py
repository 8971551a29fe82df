"""Identities of statements."""

from schema.terms import statement_id, statement_ids


def test_many_ids_are_computed_as_one():
    assert statement_ids(["1", "2"], ["colour", "größe"], ["red", "漢"]) == [
        statement_id("1", "colour", "red"),
        statement_id("2", "größe", "漢"),
    ]


def test_where_one_field_ends_and_the_next_begins_counts():
    assert statement_id("ab", "c", "d") != statement_id("a", "bc", "d")
