import pytest
from pyoxigraph import NamedNode
from rdflib import SDO, URIRef

from kg.stores.rdf_terms import PROVENANCE, iri
from kg.stores.tables import items_table, statements_table
from schema.terms import Item, statement_id
from tests.contracts.journaled_contract import JournaledContract
from tests.contracts.sparql_contract import SparqlContract
from tests.contracts.store_contract import fact


class TestRdf(SparqlContract, JournaledContract):
    scheme = "rdf"
    files = "graph.oxigraph"

    def harm(self, store):
        node = iri("statement", statement_id("b", "colour", "red"))
        for quad in list(
            store._graph.quads.quads_for_pattern(NamedNode(node.value), None, None, PROVENANCE)
        ):
            store._graph.quads.remove(quad)

    @pytest.mark.filterwarnings("ignore:Dataset.default_context:DeprecationWarning")
    def test_it_is_read_in_rdflibs_api_which_cannot_write(self, store):
        store.put(items_table([Item("a", "one")]), statements_table([fact()]))
        dataset = store.dataset()
        assert [str(name) for name in dataset.objects(None, SDO.name)] == ["one"]
        (row,) = dataset.query("SELECT ?v { ?item <urn:catalograph:property:colour> ?v }")
        assert str(row.v) == "red"
        with pytest.raises(RuntimeError, match="read-write"):
            dataset.add((URIRef("urn:x"), SDO.name, URIRef("urn:y")))
