"""What a store that answers SPARQL must do; each such store inherits this suite beside its own."""

import pytest

from kg.stores.tables import items_table, statements_table
from schema.errors import QueryRefusedError, QueryTimeoutError, StoreError
from schema.terms import Item, Rank
from tests.contracts.store_contract import fact
from tests.kg.stores.hostile import SPARQL


class SparqlContract:
    """Mixed into a suite with a fixture ``store``."""

    def test_sparql_answers_from_all_graphs_and_knows_the_prefixes(self, store):
        store.put(
            items_table([Item("a", "one")]),
            statements_table([fact(), fact(value="blue", rank=Rank.PREDICTED)]),
        )
        text = "SELECT ?name ?value { ?item schema:name ?name ; property:colour ?value } ORDER BY ?value"
        assert store.sparql(text).rows == [["one", "blue"], ["one", "red"]]
        assert store.sparql(
            "SELECT ?v { GRAPH rank:predicted { ?item property:colour ?v } }"
        ).rows == [["blue"]]

    def test_numbers_come_as_numbers_and_ask_as_truth(self, store):
        store.put(None, statements_table([fact(confidence=0.5, row=7)]))
        found = store.sparql("SELECT ?c ?r ?none { ?s cg:confidence ?c ; cg:row ?r }")
        assert (found.columns, found.rows) == (["c", "r", "none"], [[0.5, 7, None]])
        assert store.sparql("ASK { ?s ?p ?o }").rows == [[True]]
        (triple,) = store.sparql("CONSTRUCT { ?s cg:row ?r } WHERE { ?s cg:row ?r }").rows
        assert triple[2] == 7

    def test_sparql_that_fails_is_one_line(self, store):
        with pytest.raises(StoreError) as caught:
            store.sparql("SELECT ?x { ?x")
        assert "\n" not in str(caught.value)

    def test_sparql_that_runs_on_is_ended(self, store):
        store.put(None, statements_table([fact(str(number)) for number in range(200)]))
        with pytest.raises(QueryTimeoutError, match=r"within|limit"):
            store.sparql(
                "SELECT (COUNT(*) AS ?n) { ?a ?b ?c . ?d ?e ?f . ?g ?h ?i . FILTER(?a != ?g) }",
                timeout=1.0,
            )

    def test_no_cypher_is_answered(self, store):
        with pytest.raises(StoreError, match="catalograph sparql"):
            store.query("MATCH (i:Item) RETURN i")

    def test_hostile_sparql_changes_nothing(self, store):
        store.put(None, statements_table([fact(), fact("b", "size", "3 cm")]))
        before = store.content_hash()
        assert len(SPARQL) >= 200
        for text in SPARQL:
            with pytest.raises((StoreError, QueryRefusedError)):
                store.sparql(text, timeout=5.0)
        assert store.content_hash() == before
