"""The tests that every store that answers SPARQL must pass besides those of StoreContract."""

import math

import pytest

from kg.stores.protocol import SparqlQueryable
from kg.stores.query_limits import QueryLimits
from kg.stores.tables import items_table, statements_table
from schema.errors import (
    QueryLimitError,
    QueryRefusedError,
    QueryTimeoutError,
    StoreError,
    UsageError,
)
from schema.terms import Item, Rank
from tests.contracts.rows import statement
from tests.kg.stores.hostile import SPARQL


class SparqlContract:
    """A mix-in for suites with a fixture ``store``."""

    def test_has_the_optional_protocol(self, store):
        assert isinstance(store, SparqlQueryable)

    def test_sparql_reads_all_graphs_and_has_the_prefixes(self, store):
        predicted = statement(value="blue", rank=Rank.PREDICTED)
        store.put(items_table([Item("a", "one")]), statements_table([statement(), predicted]))
        text = (
            "SELECT ?name ?value { ?item schema:name ?name ; property:colour ?value } "
            "ORDER BY ?value"
        )
        assert store.sparql(text).rows == [["one", "blue"], ["one", "red"]]
        text = "SELECT ?v { GRAPH rank:predicted { ?item property:colour ?v } }"
        assert store.sparql(text).rows == [["blue"]]

    def test_sparql_reads_the_graphs_that_it_chooses(self, store):
        predicted = statement(value="blue", rank=Rank.PREDICTED)
        store.put(None, statements_table([statement(), predicted]))
        pattern = "?item property:colour ?v"
        for dataset, where, rows in (
            ("FROM rank:predicted", f"{{ {pattern} }}", [["blue"]]),
            ("FROM rank:predicted FROM rank:asserted", f"{{ {pattern} }}", [["blue"], ["red"]]),
            ("FROM NAMED rank:predicted", f"{{ GRAPH ?g {{ {pattern} }} }}", [["blue"]]),
            ("FROM NAMED rank:predicted", f"{{ {pattern} }}", []),
            ("FROM rank:predicted", f"{{ GRAPH ?g {{ {pattern} }} }}", []),
        ):
            assert store.sparql(f"SELECT ?v {dataset} {where} ORDER BY ?v").rows == rows

    def test_numbers_and_truth_values_keep_their_type(self, store):
        store.put(None, statements_table([statement(confidence=0.5, row=7)]))
        result = store.sparql("SELECT ?c ?r ?none { ?s cg:confidence ?c ; cg:row ?r }")
        assert (result.columns, result.rows) == (["c", "r", "none"], [[0.5, 7, None]])
        assert store.sparql("ASK { ?s ?p ?o }").rows == [[True]]
        (triple,) = store.sparql("CONSTRUCT { ?s cg:row ?r } WHERE { ?s cg:row ?r }").rows
        assert triple[2] == 7

    def test_failing_sparql_gives_one_line(self, store):
        # The first does not pass the guard, and the second has a meaning for no store.
        for text in ("SELECT ?x { ?x", "SELECT ?x { ?x ?y ?z } GROUP BY ?y"):
            with pytest.raises((StoreError, QueryRefusedError)) as caught:
                store.sparql(text)
            assert "\n" not in str(caught.value)

    def test_slow_sparql_is_stopped(self, store):
        store.put(None, statements_table([statement(str(number)) for number in range(200)]))
        with pytest.raises(QueryTimeoutError, match=r"within|limit"):
            store.sparql(
                "SELECT (COUNT(*) AS ?n) { ?a ?b ?c . ?d ?e ?f . ?g ?h ?i . FILTER(?a != ?g) }",
                timeout=1.0,
            )

    @pytest.mark.parametrize("timeout", [0, -1, math.nan, math.inf])
    def test_impossible_time_limit_of_sparql_is_refused(self, store, timeout):
        with pytest.raises(UsageError, match="time limit"):
            store.sparql("ASK { ?s ?p ?o }", timeout=timeout)

    def test_sparql_is_stopped_at_a_number_of_rows(self, store):
        store.put(None, statements_table([statement(str(number)) for number in range(30)]))
        for text in ("SELECT ?i { ?i a schema:Product }", "DESCRIBE ?i { ?i a schema:Product }"):
            rows = len(store.sparql(text).rows)
            assert len(store.sparql(text, limits=QueryLimits(rows=rows)).rows) == rows
            with pytest.raises(QueryLimitError, match=f"more than {rows - 1} rows"):
                store.sparql(text, limits=QueryLimits(rows=rows - 1))

    def test_sparql_is_stopped_at_a_size_of_the_answer(self, store):
        store.put(None, statements_table([statement(str(number)) for number in range(30)]))
        with pytest.raises(QueryLimitError, match="larger than 2 KB"):
            store.sparql("SELECT * { ?s ?p ?o }", limits=QueryLimits(answer_bytes=2000))

    def test_cypher_is_not_answered(self, store):
        with pytest.raises(StoreError, match="catalograph sparql"):
            store.query("MATCH (i:Item) RETURN i")

    def test_hostile_sparql_changes_nothing(self, store):
        store.put(None, statements_table([statement(), statement("b", "size", "3 cm")]))
        before = store.content_hash()
        assert len(SPARQL) >= 200
        for text in SPARQL:
            with pytest.raises((StoreError, QueryRefusedError)):
                store.sparql(text, timeout=5.0)
        assert store.content_hash() == before
