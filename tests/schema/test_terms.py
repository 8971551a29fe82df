"""Identities of statements."""

from schema.terms import statement_id


def test_where_one_field_ends_and_the_next_begins_counts():
    assert statement_id("ab", "c", "d") != statement_id("a", "bc", "d")
