"""RDF and JSON-LD as a source of rows; what becomes of products is tested in tests/kg/rdf."""

from pyoxigraph import BlankNode, Literal, NamedNode, Quad, RdfFormat, serialize

from kg.ingest.readers.rdf import READER
from kg.stores.rdf_terms import PRODUCT, TYPE
from tests.contracts.reader_contract import ReaderContract


class TestRdf(ReaderContract):
    reader = READER
    file_name = "items.nq"
    broken = b"<urn:a> urn:b"
    id_column = "@item"
    keeps_order = False

    def write(self, path, rows):
        quads = []
        for number, row in enumerate(rows):
            node = NamedNode(f"urn:product:{number}") if row else BlankNode()
            quads.append(Quad(node, TYPE, PRODUCT))
            quads += [
                Quad(node, NamedNode(f"urn:property:{name}"), Literal(text))
                for name, text in (row or {}).items()
            ]
        serialize(quads, str(path), RdfFormat.N_QUADS)
