import pytest
from rdflib import SDO, URIRef

from kg.stores import rdf_graph
from kg.stores.rdf import RdfStore
from kg.stores.rdf_terms import PROVENANCE_GRAPH, named_node
from kg.stores.tables import items_table, statements_table
from schema.terms import Item, statement_id
from tests.contracts.journaled_contract import JournaledContract
from tests.contracts.sparql_contract import SparqlContract
from tests.contracts.store_contract import statement


class TestRdf(SparqlContract, JournaledContract):
    scheme = "rdf"
    files = "graph.oxigraph*"
    store_class = RdfStore

    def ruin_file(self, url):
        (self.published(url) / "CURRENT").write_text("nonsense")

    def fail_to_open(self, patch, reason):
        def fail(*arguments, **options):
            raise OSError(reason)

        patch.setattr(rdf_graph, "open_for_reading", fail)

    def damage_graph(self, store):
        node = named_node("statement", statement_id("b", "colour", "red"))
        quads = store._graph.quads
        for quad in list(quads.quads_for_pattern(node, None, None, PROVENANCE_GRAPH)):
            quads.remove(quad)

    @pytest.mark.filterwarnings("ignore:Dataset.default_context:DeprecationWarning")
    def test_rdflib_reads_the_store_but_cannot_write(self, store):
        store.put(items_table([Item("a", "one")]), statements_table([statement()]))
        dataset = store.dataset()
        assert [str(name) for name in dataset.objects(None, SDO.name)] == ["one"]
        (row,) = dataset.query("SELECT ?v { ?item <urn:catalograph:property:colour> ?v }")
        assert str(row.v) == "red"
        with pytest.raises(RuntimeError, match="read-write"):
            dataset.add((URIRef("urn:x"), SDO.name, URIRef("urn:y")))
