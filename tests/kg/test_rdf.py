from pyoxigraph import NamedNode

from kg.stores.rdf_terms import PROVENANCE, iri
from schema.terms import statement_id
from tests.contracts.journaled_contract import JournaledContract
from tests.contracts.sparql_contract import SparqlContract


class TestRdf(SparqlContract, JournaledContract):
    scheme, files = "rdf", "graph.oxigraph"

    def harm(self, store):
        node = iri("statement", statement_id("b", "colour", "red"))
        for quad in list(store._graph.quads.quads_for_pattern(NamedNode(node.value), None, None, PROVENANCE)):
            store._graph.quads.remove(quad)
