"""Conversions between tables, rows and records."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from kg.stores.tables import are_distinct, statement_ids
from schema.terms import statement_id

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)


@given(
    st.lists(st.tuples(texts, texts, texts, st.none() | st.just("de")), max_size=5),
    st.integers(0, 2),
)
def test_many_statement_ids_are_computed_as_one(triples, skipped):
    columns = [pa.array([triple[place] for triple in triples], pa.string()) for place in range(4)]

    found = statement_ids(*(column.slice(skipped) for column in columns))

    assert found.to_pylist() == [statement_id(*triple) for triple in triples[skipped:]]


def test_a_null_counts_as_an_empty_text():
    null = pa.array([None], pa.string())

    assert statement_ids(null, null, null, null).to_pylist() == [statement_id("", "", "")]


@given(st.lists(st.integers(0, 9), max_size=5), st.integers(0, 2))
def test_ids_are_found_distinct_only_if_they_are(numbers, skipped):
    ids = pa.array([statement_id("item", "property", str(number)) for number in numbers])
    numbers = numbers[skipped:]
    assert are_distinct(ids.cast(pa.string()).slice(skipped)) == (len(set(numbers)) == len(numbers))


def test_ids_of_another_kind_are_not_found_distinct():
    assert not are_distinct(pa.array(["a", "b"]))
    assert not are_distinct(pa.array([None, "b"]))
